"""Keep the tiers of offerings and which accelerators are domestic."""

import sqlalchemy as sa
from alembic import op

revision = "0035"
down_revision = "0034"


def upgrade() -> None:
    op.create_table(
        "offerings",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("provider", sa.String(), nullable=False),
        sa.Column("tier", sa.String(), nullable=False),
        sa.Column("accelerator", sa.String(), nullable=True),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_offerings")),
    )
    op.add_column("accelerators", sa.Column("domestic", sa.Boolean(), server_default=sa.false(), nullable=False))
    # take the catalog's snapshot anew: its offerings and accelerators have passed by here already
    op.execute("DELETE FROM feed_cursors WHERE feed = 'catalog'")
