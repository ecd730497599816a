"""Keep how a reseller buys what it sells."""

import sqlalchemy as sa
from alembic import op

revision = "0026"
down_revision = "0025"


def upgrade() -> None:
    op.add_column(
        "attempts",
        sa.Column("resale", sa.Text(), nullable=True, comment="How a reseller buys it; null: the provider sells."),
    )
    op.add_column(
        "attempts", sa.Column("wholesale_list", sa.String(), nullable=True, comment="The price list in `resale`.")
    )
