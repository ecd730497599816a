"""Keep grants and when the time of runs was up."""

import sqlalchemy as sa
from alembic import op

revision = "0023"
down_revision = "0022"


def upgrade() -> None:
    op.add_column(
        "attempts", sa.Column("grant", sa.Text(), nullable=True, comment="Of each run; null: it isn't known.")
    )
    op.add_column(
        "runs",
        sa.Column(
            "time_up",
            sa.BigInteger(),
            nullable=True,
            comment="From which second on it has held something for longer than it was granted; null: it hasn't.",
        ),
    )
