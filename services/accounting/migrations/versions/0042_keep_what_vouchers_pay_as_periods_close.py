"""Keep what vouchers pay as periods close."""

import sqlalchemy as sa
from alembic import op

revision = "0042"
down_revision = "0041"


def upgrade() -> None:
    op.create_table(
        "line_shares",
        sa.Column("line", sa.String(), nullable=False),
        sa.Column("voucher", sa.String(), nullable=False),
        sa.Column("share", sa.BigInteger(), nullable=False),
        sa.Column("paid", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["voucher"], ["vouchers.id"], name=op.f("fk_line_shares_voucher")),
        sa.PrimaryKeyConstraint("line", "voucher", name=op.f("pk_line_shares")),
    )
    with op.batch_alter_table("line_shares", schema=None) as batch_op:
        batch_op.create_index("ix_line_shares_voucher_line", ["voucher", "line"], unique=False)

    op.create_table(
        "voucher_settlements",
        sa.Column("period", sa.String(), nullable=False),
        sa.Column("voucher", sa.String(), nullable=False),
        sa.Column("starts_at", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("year", sa.BigInteger(), nullable=False),
        sa.Column("organization", sa.String(), nullable=False),
        sa.Column("programme", sa.String(), nullable=False),
        sa.Column("claimed", sa.BigInteger(), nullable=False),
        sa.Column("on_lines", sa.BigInteger(), nullable=False),
        sa.Column("earlier", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["voucher"], ["vouchers.id"], name=op.f("fk_voucher_settlements_voucher")),
        sa.PrimaryKeyConstraint("period", "voucher", "starts_at", name=op.f("pk_voucher_settlements")),
    )
    with op.batch_alter_table("voucher_settlements", schema=None) as batch_op:
        batch_op.create_index("ix_voucher_settlements_voucher", ["voucher"], unique=False)

    subsidy = sa.Column(
        "subsidy", sa.BigInteger(), nullable=True, comment="Put on as the period closes, where vouchers pay."
    )
    op.add_column("lines", subsidy)
