"""Keep who bears what was preempted."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    with op.batch_alter_table("attempts", schema=None) as batch_op:
        batch_op.add_column(
            sa.Column(
                "preempted_borne_by",
                sa.String(),
                server_default="provider",
                nullable=False,
                comment="As its offering said when it was placed.",
            )
        )
