"""Keep what is filed of vouchers that reimburse."""

import sqlalchemy as sa
from alembic import op

revision = "0046"
down_revision = "0045"


def upgrade() -> None:
    op.create_table(
        "reimbursements",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("organization", sa.String(), nullable=False),
        sa.Column("programme", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("clawed_back", sa.BigInteger(), nullable=False, comment="Is taken off amount."),
        sa.Column("spans", sa.Text(), nullable=False, comment="As the contract has them."),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("filed_at", sa.BigInteger(), nullable=False),
        sa.Column("filed_by", sa.String(), nullable=False),
        sa.CheckConstraint("amount > 0", name=op.f("ck_reimbursements_amount")),
        sa.ForeignKeyConstraint(["programme"], ["programmes.id"], name=op.f("fk_reimbursements_programme")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_reimbursements")),
    )
    with op.batch_alter_table("reimbursements", schema=None) as batch_op:
        batch_op.create_index("ix_reimbursements_organization_id", ["organization", "id"], unique=False)
        batch_op.create_index(
            "ix_reimbursements_pending",
            ["organization", "programme"],
            unique=True,
            sqlite_where=sa.text("state IN ('filed', 'under_review', 'approved')"),
            postgresql_where=sa.text("state IN ('filed', 'under_review', 'approved')"),
        )
        batch_op.create_index("ix_reimbursements_state_id", ["state", "id"], unique=False)
