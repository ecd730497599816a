"""Keep why vouchers are revoked."""

import sqlalchemy as sa
from alembic import op

revision = "0041"
down_revision = "0040"


def upgrade() -> None:
    op.add_column("vouchers", sa.Column("revoked_at", sa.BigInteger(), nullable=True))
    op.add_column("vouchers", sa.Column("revoked_by", sa.String(), nullable=True))
    op.add_column("vouchers", sa.Column("revoke_reason", sa.Text(), nullable=True))
