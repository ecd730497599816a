"""Keep how a reseller buys an attempt."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    with op.batch_alter_table("attempts", schema=None) as batch_op:
        batch_op.add_column(
            sa.Column(
                "resale",
                sa.Text(),
                nullable=True,
                comment="How a reseller buys it; null: the provider sells to the organization.",
            )
        )
        batch_op.add_column(
            sa.Column("resale_worst_fen", sa.BigInteger(), nullable=True, comment="As worst_fen, of the reseller's.")
        )

    with op.batch_alter_table("jobs", schema=None) as batch_op:
        batch_op.add_column(
            sa.Column(
                "reseller",
                sa.Text(),
                nullable=True,
                comment="The organization and its project that buy what it sells on, by the agreement at the submission.",
            )
        )
        batch_op.add_column(
            sa.Column(
                "resale_fen",
                sa.BigInteger(),
                nullable=True,
                comment="As hold_fen, of the reseller's; null: it was never asked for any.",
            )
        )
        batch_op.add_column(
            sa.Column(
                "resale_granted_fen", sa.BigInteger(), nullable=True, comment="As granted_fen, of the reseller's."
            )
        )
