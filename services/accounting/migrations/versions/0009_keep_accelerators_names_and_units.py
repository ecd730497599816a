"""Keep accelerators' names and units."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    op.create_table(
        "accelerators",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("unit", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_accelerators")),
    )
    # take the catalog's snapshot anew: its accelerators have passed by here already
    op.execute("DELETE FROM feed_cursors WHERE feed = 'catalog'")
