"""Keep volume discounts."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.add_column("price_lists", sa.Column("volume_discounts", sa.Text(), server_default="{}", nullable=False))
