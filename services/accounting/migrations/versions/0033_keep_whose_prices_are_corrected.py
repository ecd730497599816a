"""Keep whose prices are corrected."""

import sqlalchemy as sa
from alembic import op

revision = "0033"
down_revision = "0032"


def upgrade() -> None:
    comment = "Whose prices they are; null: the provider's."
    op.add_column("price_corrections", sa.Column("reseller", sa.String(), nullable=True, comment=comment))
    op.create_index("ix_price_corrections_reseller_id", "price_corrections", ["reseller", "id"])
