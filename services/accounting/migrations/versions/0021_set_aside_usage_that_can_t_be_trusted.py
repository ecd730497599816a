"""Set aside usage that can't be trusted."""

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"


def upgrade() -> None:
    op.create_table(
        "anomalies",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("run", sa.String(), nullable=False),
        sa.Column("hour", sa.BigInteger(), nullable=False, comment="Seconds since the epoch."),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("fingerprint", sa.String(), nullable=False),
        sa.Column("job", sa.String(), nullable=False),
        sa.Column("usage", sa.Text(), nullable=False),
        sa.Column("site", sa.String(), nullable=True),
        sa.Column("provider", sa.String(), nullable=True),
        sa.Column("organization", sa.String(), nullable=True),
        sa.Column("found_at", sa.BigInteger(), nullable=False),
        sa.Column("settled_at", sa.BigInteger(), nullable=True),
        sa.Column("settled_by", sa.String(), nullable=True),
        sa.Column("words", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_anomalies")),
    )
    op.create_index("ix_anomalies_job", "anomalies", ["job"])
    op.create_index(
        "ix_anomalies_open",
        "anomalies",
        ["hour"],
        sqlite_where=sa.text("state = 'open'"),
        postgresql_where=sa.text("state = 'open'"),
    )
    op.create_index(
        "ix_anomalies_run_hour_revision_fingerprint",
        "anomalies",
        ["run", "hour", "revision", "fingerprint"],
        unique=True,
    )
