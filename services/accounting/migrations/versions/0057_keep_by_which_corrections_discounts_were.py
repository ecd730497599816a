"""Keep by which price corrections volume discounts were settled: by none yet, also of those that are applied."""

import sqlalchemy as sa
from alembic import op

revision = "0057"
down_revision = "0056"


def upgrade() -> None:
    op.add_column(
        "price_correction_work", sa.Column("settled", sa.Boolean(), server_default=sa.false(), nullable=False)
    )
