"""Keep how what was filed is reviewed and paid."""

import sqlalchemy as sa
from alembic import op

revision = "0048"
down_revision = "0047"


def upgrade() -> None:
    op.create_table(
        "reimbursement_evidence",
        sa.Column("reimbursement", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("media_type", sa.String(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.String(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.Column("stored_at", sa.BigInteger(), nullable=False),
        sa.Column("stored_by", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(
            ["reimbursement"], ["reimbursements.id"], name=op.f("fk_reimbursement_evidence_reimbursement")
        ),
        sa.PrimaryKeyConstraint("reimbursement", "name", name=op.f("pk_reimbursement_evidence")),
    )
    op.create_table(
        "reimbursement_reviews",
        sa.Column("reimbursement", sa.String(), nullable=False),
        sa.Column("stage", sa.BigInteger(), nullable=False),
        sa.Column("passed", sa.Boolean(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("rule", sa.String(), nullable=True),
        sa.Column("remedy", sa.Text(), nullable=True),
        sa.Column("reviewed_at", sa.BigInteger(), nullable=False),
        sa.Column("reviewed_by", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(
            ["reimbursement"], ["reimbursements.id"], name=op.f("fk_reimbursement_reviews_reimbursement")
        ),
        sa.PrimaryKeyConstraint("reimbursement", "stage", name=op.f("pk_reimbursement_reviews")),
    )
    with op.batch_alter_table("reimbursements", schema=None) as batch_op:
        batch_op.add_column(sa.Column("reference", sa.String(), nullable=True))
        batch_op.add_column(sa.Column("paid_on", sa.Date(), nullable=True))
        batch_op.add_column(sa.Column("paid_at", sa.BigInteger(), nullable=True))
        batch_op.add_column(sa.Column("paid_by", sa.String(), nullable=True))
