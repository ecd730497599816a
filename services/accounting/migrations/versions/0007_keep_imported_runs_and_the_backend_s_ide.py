"""Keep imported runs, and the backend's identity of those metered."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.create_table(
        "imported_runs",
        sa.Column("site", sa.String(), nullable=False),
        sa.Column("identity", sa.String(), nullable=False),
        sa.Column("provider", sa.String(), nullable=False),
        sa.Column("account", sa.String(), nullable=False),
        sa.Column("user_name", sa.String(), nullable=False),
        sa.Column("starts_at", sa.BigInteger(), nullable=False),
        sa.Column("ends_at", sa.BigInteger(), nullable=False),
        sa.Column("nodes", sa.BigInteger(), nullable=False),
        sa.Column("cpus", sa.BigInteger(), nullable=False),
        sa.Column("memory_mib", sa.BigInteger(), nullable=False),
        sa.Column("accelerators", sa.Text(), nullable=False),
        sa.Column("organization", sa.String(), nullable=True),
        sa.Column("project", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("site", "identity", name=op.f("pk_imported_runs")),
    )
    with op.batch_alter_table("imported_runs", schema=None) as batch_op:
        batch_op.create_index("ix_imported_runs_ends_at", ["ends_at"], unique=False)

    with op.batch_alter_table("runs", schema=None) as batch_op:
        batch_op.add_column(
            sa.Column("identity", sa.String(), nullable=True, comment="The backend's own; null until usage tells it.")
        )
        batch_op.create_index("ix_runs_identity", ["identity"], unique=False)

    with op.batch_alter_table("usage_records", schema=None) as batch_op:
        batch_op.create_index("ix_usage_records_hour", ["hour"], unique=False)
