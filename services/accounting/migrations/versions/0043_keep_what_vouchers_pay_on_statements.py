"""Keep what vouchers pay on statements."""

import sqlalchemy as sa
from alembic import op

revision = "0043"
down_revision = "0042"


def upgrade() -> None:
    redemptions = sa.Column(
        "redemptions", sa.Text(), nullable=True, comment="Of vouchers, as redemptions.reading has them."
    )
    op.add_column("statements", redemptions)
