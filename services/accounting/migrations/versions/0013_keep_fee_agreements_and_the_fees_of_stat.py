"""Keep fee agreements and the fees of statements."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    op.create_table(
        "fee_agreements",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("provider", sa.String(), nullable=False),
        sa.Column("rate", sa.BigInteger(), nullable=False, comment="In hundredths of a percent."),
        sa.Column("floor", sa.BigInteger(), nullable=False),
        sa.Column("starts_at", sa.BigInteger(), nullable=False),
        sa.Column("ends_at", sa.BigInteger(), nullable=True),
        sa.Column("made_at", sa.BigInteger(), nullable=False),
        sa.Column("made_by", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_fee_agreements")),
    )
    op.create_index("ix_fee_agreements_provider_starts_at", "fee_agreements", ["provider", "starts_at"])
    # no batch_alter_table: it would make the table anew, without its guards
    op.add_column("statements", sa.Column("fee", sa.Text()))
