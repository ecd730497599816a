"""Keep the zone of a price list."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    with op.batch_alter_table("price_lists", schema=None) as batch_op:
        batch_op.add_column(
            sa.Column(
                "zone",
                sa.String(),
                server_default="Asia/Shanghai",
                nullable=False,
                comment="Whose clocks and days the windows of the tariffs go by.",
            )
        )
