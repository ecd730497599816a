"""Keep with each run the first second that is billed, and find a job's first by it. Lines stay as they are until a fact changes them."""

import json
from datetime import datetime

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"

_STATED = """
SELECT run, spans FROM usage_records JOIN runs ON runs.id = usage_records.run
WHERE outcome IS NULL OR outcome NOT IN ('site', 'lost', 'duplicate') ORDER BY run, hour DESC
"""


def upgrade() -> None:
    with op.batch_alter_table("runs", schema=None) as batch_op:
        batch_op.add_column(
            sa.Column(
                "billable_from",
                sa.BigInteger(),
                nullable=True,
                comment="The first second held; null: none, or the provider bears the run.",
            )
        )
        batch_op.drop_index("ix_runs_job")
        batch_op.create_index("ix_runs_job_billable_from_id", ["job", "billable_from", "id"], unique=False)

    first: dict[str, int] = {}
    for run, stored in op.get_bind().execute(sa.text(_STATED)):
        spans = json.loads(stored)
        if spans:
            first[run] = int(datetime.fromisoformat(spans[0]["start"]).timestamp())
    if first:
        keep = sa.text("UPDATE runs SET billable_from = :second WHERE id = :run")
        op.get_bind().execute(keep, [{"run": run, "second": second} for run, second in first.items()])
