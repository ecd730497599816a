"""Keep volume discounts."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    # not in batches: SQLite would make the tables anew, without the guards of lines
    op.add_column("lines", sa.Column("kind", sa.String(), server_default="usage", nullable=False))
    op.add_column("lines", sa.Column("basis", sa.BigInteger(), nullable=True, comment="Of a volume discount alone."))
    op.create_index(
        "ix_lines_corrects",
        "lines",
        ["corrects", "organization"],
        unique=False,
        sqlite_where=sa.text("corrects <> ''"),
        postgresql_where=sa.text("corrects <> ''"),
    )
    op.add_column("price_lists", sa.Column("created_at", sa.BigInteger(), server_default="0", nullable=False))
    op.add_column("price_lists", sa.Column("volume_discounts", sa.Text(), server_default="{}", nullable=False))
