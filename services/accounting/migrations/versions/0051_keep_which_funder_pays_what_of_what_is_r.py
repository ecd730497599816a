"""Keep which funder pays what of what is reimbursed."""

import sqlalchemy as sa
from alembic import op

revision = "0051"
down_revision = "0050"


def upgrade() -> None:
    with op.batch_alter_table("reimbursements", schema=None) as batch_op:
        batch_op.add_column(
            sa.Column("funders", sa.Text(), server_default="[]", nullable=False, comment="As the contract has them.")
        )
