"""Keep how far fees have come that are due when paid."""

import sqlalchemy as sa
from alembic import op

revision = "0032"
down_revision = "0031"


def upgrade() -> None:
    op.create_table(
        "fee_dues",
        sa.Column("statement", sa.String(), nullable=False),
        sa.Column("provider", sa.String(), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("tax_rate", sa.BigInteger(), nullable=False, comment="In hundredths of a percent."),
        sa.Column("due", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("statement", name=op.f("pk_fee_dues")),
    )
    op.create_table(
        "fee_shares",
        sa.Column("statement", sa.String(), nullable=False),
        sa.Column("organization", sa.String(), nullable=False),
        sa.Column("period", sa.String(), nullable=False),
        sa.Column("weight", sa.BigInteger(), nullable=False),
        sa.Column("paid", sa.BigInteger(), nullable=False),
        sa.Column("gross", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["statement"], ["fee_dues.statement"], name=op.f("fk_fee_shares_statement")),
        sa.PrimaryKeyConstraint("statement", "organization", name=op.f("pk_fee_shares")),
    )
    with op.batch_alter_table("fee_shares", schema=None) as batch_op:
        batch_op.create_index("ix_fee_shares_organization_statement", ["organization", "statement"], unique=False)

    with op.batch_alter_table("fee_agreements", schema=None) as batch_op:
        batch_op.add_column(sa.Column("due", sa.String(), server_default="at_close", nullable=False))
