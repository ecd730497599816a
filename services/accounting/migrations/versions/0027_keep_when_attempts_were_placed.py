"""Keep when attempts were placed."""

import sqlalchemy as sa
from alembic import op

revision = "0027"
down_revision = "0026"


def upgrade() -> None:
    op.add_column("attempts", sa.Column("placed_at", sa.BigInteger(), nullable=True, comment="Null: it isn't known."))
