"""Keep who bears what was preempted."""

import sqlalchemy as sa
from alembic import op

revision = "0036"
down_revision = "0035"


def upgrade() -> None:
    comment = "As its offering said when it was placed."
    op.add_column(
        "attempts",
        sa.Column("preempted_borne_by", sa.String(), server_default="provider", nullable=False, comment=comment),
    )
