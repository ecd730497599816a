"""Keep what is clawed back of vouchers."""

import sqlalchemy as sa
from alembic import op

revision = "0044"
down_revision = "0043"


def upgrade() -> None:
    op.create_table(
        "voucher_clawbacks",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("voucher", sa.String(), nullable=False),
        sa.Column("period", sa.String(), nullable=False),
        sa.Column("organization", sa.String(), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("made_at", sa.BigInteger(), nullable=False),
        sa.Column("made_by", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(["voucher"], ["vouchers.id"], name=op.f("fk_voucher_clawbacks_voucher")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_voucher_clawbacks")),
    )
    with op.batch_alter_table("voucher_clawbacks", schema=None) as batch_op:
        batch_op.create_index("ix_voucher_clawbacks_period", ["period"], unique=False)
        batch_op.create_index("ix_voucher_clawbacks_voucher", ["voucher"], unique=False)
