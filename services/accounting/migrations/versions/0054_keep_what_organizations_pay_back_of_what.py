"""Keep what organizations pay back of what was reimbursed."""

from alembic import op

revision = "0054"
down_revision = "0053"


def upgrade() -> None:
    with op.batch_alter_table("reimbursements", schema=None) as batch_op:
        batch_op.drop_constraint(op.f("ck_reimbursements_amount"), type_="check")
        batch_op.create_check_constraint(
            op.f("ck_reimbursements_amount"), "(state = 'repaid') = (amount < 0) AND amount <> 0"
        )
