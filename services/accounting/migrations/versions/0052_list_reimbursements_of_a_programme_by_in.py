"""List reimbursements of a programme by index."""

from alembic import op

revision = "0052"
down_revision = "0051"


def upgrade() -> None:
    with op.batch_alter_table("reimbursements", schema=None) as batch_op:
        batch_op.create_index("ix_reimbursements_programme_id", ["programme", "id"], unique=False)
