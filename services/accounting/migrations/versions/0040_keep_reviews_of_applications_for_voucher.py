"""Keep reviews of applications for vouchers."""

import sqlalchemy as sa
from alembic import op

revision = "0040"
down_revision = "0039"


def upgrade() -> None:
    op.create_table(
        "voucher_reviews",
        sa.Column("application", sa.String(), nullable=False),
        sa.Column("stage", sa.BigInteger(), nullable=False),
        sa.Column("passed", sa.Boolean(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("rule", sa.String(), nullable=True),
        sa.Column("remedy", sa.Text(), nullable=True),
        sa.Column("reviewed_at", sa.BigInteger(), nullable=False),
        sa.Column("reviewed_by", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(
            ["application"], ["voucher_applications.id"], name=op.f("fk_voucher_reviews_application")
        ),
        sa.PrimaryKeyConstraint("application", "stage", name=op.f("pk_voucher_reviews")),
    )
