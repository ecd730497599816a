"""List usage by hour and run."""

from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    with op.batch_alter_table("usage_records", schema=None) as batch_op:
        batch_op.drop_index("ix_usage_records_hour")
        batch_op.drop_index("ix_usage_records_job")
        batch_op.create_index("ix_usage_records_hour_run", ["hour", "run"], unique=False)
        batch_op.create_index("ix_usage_records_job_hour_run", ["job", "hour", "run"], unique=False)
