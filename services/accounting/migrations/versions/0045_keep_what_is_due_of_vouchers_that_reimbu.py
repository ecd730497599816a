"""Keep what is due of vouchers that reimburse."""

import sqlalchemy as sa
from alembic import op

revision = "0045"
down_revision = "0044"


def upgrade() -> None:
    op.create_table(
        "reimbursement_dues",
        sa.Column("period", sa.String(), nullable=False),
        sa.Column("voucher", sa.String(), nullable=False),
        sa.Column("starts_at", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("year", sa.BigInteger(), nullable=False),
        sa.Column("organization", sa.String(), nullable=False),
        sa.Column("programme", sa.String(), nullable=False),
        sa.Column("claimed", sa.BigInteger(), nullable=False),
        sa.Column("on_lines", sa.BigInteger(), nullable=False),
        sa.Column("earlier", sa.BigInteger(), nullable=False),
        sa.Column("reimbursement", sa.String(), nullable=True),
        sa.ForeignKeyConstraint(["voucher"], ["vouchers.id"], name=op.f("fk_reimbursement_dues_voucher")),
        sa.PrimaryKeyConstraint("period", "voucher", "starts_at", name=op.f("pk_reimbursement_dues")),
    )
    with op.batch_alter_table("reimbursement_dues", schema=None) as batch_op:
        batch_op.create_index(
            "ix_reimbursement_dues_organization_programme", ["organization", "programme"], unique=False
        )
        batch_op.create_index("ix_reimbursement_dues_reimbursement", ["reimbursement"], unique=False)
        batch_op.create_index("ix_reimbursement_dues_voucher", ["voucher"], unique=False)

    op.create_table(
        "reimbursement_shares",
        sa.Column("line", sa.String(), nullable=False),
        sa.Column("voucher", sa.String(), nullable=False),
        sa.Column("starts_at", sa.BigInteger(), nullable=False),
        sa.Column("share", sa.BigInteger(), nullable=False),
        sa.Column("paid", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["voucher"], ["vouchers.id"], name=op.f("fk_reimbursement_shares_voucher")),
        sa.PrimaryKeyConstraint("line", "voucher", name=op.f("pk_reimbursement_shares")),
    )
    with op.batch_alter_table("reimbursement_shares", schema=None) as batch_op:
        batch_op.create_index("ix_reimbursement_shares_voucher_line", ["voucher", "line"], unique=False)
