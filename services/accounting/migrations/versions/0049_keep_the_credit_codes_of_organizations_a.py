"""Keep the credit codes of organizations and providers."""

import sqlalchemy as sa
from alembic import op

revision = "0049"
down_revision = "0048"


def upgrade() -> None:
    for table in ("organizations", "providers"):
        op.add_column(table, sa.Column("credit_code", sa.String(), nullable=True))
        op.create_index(f"ix_{table}_credit_code", table, ["credit_code"], unique=False)
        # older than what the snapshot has of them, which is the version that is here
        op.execute(f"UPDATE {table} SET version = 0")
    if op.get_bind().dialect.name == "postgresql":
        op.alter_column("vouchers", "affiliates", comment="As declared: ids and credit codes.")
    # take the catalog's snapshot anew: its organizations and providers have passed by here already
    op.execute("DELETE FROM feed_cursors WHERE feed = 'catalog'")
