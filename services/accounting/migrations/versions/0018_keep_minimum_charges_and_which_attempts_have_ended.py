"""Keep minimum charges and which attempts have ended."""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"

_TRIGGERS = sa.text("SELECT sql FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'lines' ORDER BY name")


def upgrade() -> None:
    with op.batch_alter_table("attempts", schema=None) as batch_op:
        batch_op.add_column(
            sa.Column(
                "ended",
                sa.Boolean(),
                server_default=sa.false(),
                nullable=False,
                comment="The books of all its runs are closed.",
            )
        )

    with op.batch_alter_table("holds", schema=None) as batch_op:
        batch_op.add_column(sa.Column("minimum", sa.Boolean(), server_default=sa.false(), nullable=False))

    # SQLite makes the table anew, and drops its triggers with the old one
    connection = op.get_bind()
    triggers = connection.scalars(_TRIGGERS).all() if connection.dialect.name == "sqlite" else []
    with op.batch_alter_table("lines", schema=None) as batch_op:
        batch_op.add_column(
            sa.Column(
                "attempt", sa.String(), server_default="", nullable=False, comment="Which a minimum charge is of."
            )
        )
        batch_op.drop_constraint("uq_lines_key", type_="unique")
        batch_op.create_unique_constraint(
            "uq_lines_key",
            [
                "job",
                "period",
                "corrects",
                "organization",
                "provider",
                "project",
                "price_list",
                "component",
                "accelerator",
                "tariff",
                "pricing_window",
                "bearer",
                "reason",
                "attempt",
            ],
        )
    for trigger in triggers:
        op.execute(trigger)
