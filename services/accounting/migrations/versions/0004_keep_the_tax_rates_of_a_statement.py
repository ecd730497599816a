"""Keep the tax rates of a statement."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    with op.batch_alter_table("statements", schema=None) as batch_op:
        batch_op.add_column(
            sa.Column("rates", sa.Text(), server_default="{}", nullable=False, comment="In hundredths of a percent.")
        )
