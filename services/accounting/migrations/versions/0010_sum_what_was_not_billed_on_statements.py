"""Sum what was not billed on statements."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    # not in a batch, which may recreate the table without its triggers
    op.add_column("statements", sa.Column("notional", sa.BigInteger(), server_default="0", nullable=False))
