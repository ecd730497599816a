"""Keep what holds are made of."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    with op.batch_alter_table("attempts", schema=None) as batch_op:
        batch_op.add_column(
            sa.Column("use", sa.Text(), nullable=True, comment="HoldUse, of what worst_fen is made; null: not known.")
        )

    with op.batch_alter_table("jobs", schema=None) as batch_op:
        batch_op.add_column(
            sa.Column(
                "hold_ahead",
                sa.Text(),
                server_default="[]",
                nullable=False,
                comment="HoldRequest.ahead, as asked last.",
            )
        )
