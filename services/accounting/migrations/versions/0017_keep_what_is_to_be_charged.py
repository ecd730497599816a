"""Keep what is to be charged."""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"


def upgrade() -> None:
    op.create_table(
        "charges_due",
        sa.Column("job", sa.String(), nullable=False),
        sa.Column("run", sa.String(), nullable=False),
        sa.Column("hour", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("before", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("job", "run", "hour", name=op.f("pk_charges_due")),
    )
    op.create_table(
        "charges_failed",
        sa.Column("job", sa.String(), nullable=False),
        sa.Column("error", sa.Text(), nullable=False),
        sa.Column("tried_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("job", name=op.f("pk_charges_failed")),
    )
