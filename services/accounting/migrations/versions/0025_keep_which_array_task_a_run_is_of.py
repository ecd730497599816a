"""Keep which array task a run is of."""

import sqlalchemy as sa
from alembic import op

revision = "0025"
down_revision = "0024"


def upgrade() -> None:
    op.add_column(
        "runs",
        sa.Column(
            "task_index", sa.BigInteger(), nullable=True, comment="Of its array task; null until usage tells it."
        ),
    )
    op.create_index("ix_runs_job_task_index", "runs", ["job", "task_index"])
