"""Keep of which days sites' own books were reported."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    with op.batch_alter_table("site_states", schema=None) as batch_op:
        batch_op.add_column(
            sa.Column(
                "books_through",
                sa.BigInteger(),
                nullable=True,
                comment="The site's own books were reported of each day before it.",
            )
        )
