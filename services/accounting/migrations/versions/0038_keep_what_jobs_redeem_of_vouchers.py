"""Keep what jobs redeem of vouchers."""

import sqlalchemy as sa
from alembic import op

revision = "0038"
down_revision = "0037"


def upgrade() -> None:
    op.create_table(
        "redemptions",
        sa.Column("job", sa.String(), nullable=False),
        sa.Column("organization", sa.String(), nullable=False),
        sa.Column("voucher", sa.String(), nullable=False),
        sa.Column("pledged", sa.BigInteger(), nullable=False),
        sa.Column("redeemed", sa.BigInteger(), nullable=False),
        sa.Column("settled", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.CheckConstraint("redeemed >= 0 AND redeemed <= pledged", name=op.f("ck_redemptions_redeemed")),
        sa.ForeignKeyConstraint(["voucher"], ["vouchers.id"], name=op.f("fk_redemptions_voucher")),
        sa.PrimaryKeyConstraint("job", name=op.f("pk_redemptions")),
    )
    with op.batch_alter_table("redemptions", schema=None) as batch_op:
        batch_op.create_index("ix_redemptions_voucher_job", ["voucher", "job"], unique=False)

    with op.batch_alter_table("funds", schema=None) as batch_op:
        batch_op.add_column(sa.Column("granted", sa.BigInteger(), server_default="0", nullable=False))
        batch_op.add_column(sa.Column("redeemed", sa.BigInteger(), server_default="0", nullable=False))
