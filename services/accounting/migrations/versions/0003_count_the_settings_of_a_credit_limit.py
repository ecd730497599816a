"""Count the settings of a credit limit."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    with op.batch_alter_table("funds", schema=None) as batch_op:
        batch_op.add_column(sa.Column("credit_version", sa.BigInteger(), server_default="0", nullable=False))
