"""Keep programmes and their pools."""

import sqlalchemy as sa
from alembic import op

revision = "0034"
down_revision = "0033"


def upgrade() -> None:
    op.create_table(
        "programmes",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("starts_at", sa.BigInteger(), nullable=False),
        sa.Column("ends_at", sa.BigInteger(), nullable=False),
        sa.Column("terms", sa.Text(), nullable=False, comment="The draft without its pools."),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("published_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_programmes")),
    )
    op.create_table(
        "programme_pools",
        sa.Column("programme", sa.String(), nullable=False),
        sa.Column("year", sa.BigInteger(), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("committed", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("committed >= 0 AND committed <= amount", name=op.f("ck_programme_pools_committed")),
        sa.ForeignKeyConstraint(["programme"], ["programmes.id"], name=op.f("fk_programme_pools_programme")),
        sa.PrimaryKeyConstraint("programme", "year", name=op.f("pk_programme_pools")),
    )
