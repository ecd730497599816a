"""List applications of a programme by index."""

from alembic import op

revision = "0050"
down_revision = "0049"


def upgrade() -> None:
    for columns in (["programme", "id"], ["programme", "state", "id"]):
        op.create_index(f"ix_voucher_applications_{'_'.join(columns)}", "voucher_applications", columns, unique=False)
