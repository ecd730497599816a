"""Keep what speaks against stated usage."""

import sqlalchemy as sa
from alembic import op

import caravan.kernel.database

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    with op.batch_alter_table("runs", schema=None) as batch_op:
        batch_op.add_column(
            sa.Column(
                "marks",
                sa.Text(),
                server_default="{}",
                nullable=False,
                comment="Hour -> mark of the spans of that revision.",
            )
        )
        batch_op.add_column(
            sa.Column(
                "aside",
                sa.Text(),
                server_default="{}",
                nullable=False,
                comment="Hour -> last revision of what something speaks against, and the mark of what was last told of it.",
            )
        )
        batch_op.add_column(
            sa.Column(
                "start_told",
                caravan.kernel.database.Instant(),
                nullable=True,
                comment="When it started, as last told; null: as started_at.",
            )
        )
        batch_op.add_column(
            sa.Column(
                "end_told",
                caravan.kernel.database.Instant(),
                nullable=True,
                comment="When it ended, as last told: it may be before its start.",
            )
        )
        batch_op.drop_constraint("uq_runs_site_backend_identity", type_="unique")
        batch_op.create_unique_constraint(
            "uq_runs_site_backend_identity_attempt_index", ["site", "backend_identity", "attempt", "index"]
        )
