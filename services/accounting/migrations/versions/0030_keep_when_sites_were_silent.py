"""Keep when sites were silent."""

import sqlalchemy as sa
from alembic import op

from caravan.kernel import clock

revision = "0030"
down_revision = "0029"


def upgrade() -> None:
    op.create_table(
        "silences",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("site", sa.String(), nullable=False),
        sa.Column("provider", sa.String(), nullable=False),
        sa.Column("since", sa.BigInteger(), nullable=False),
        sa.Column("found_at", sa.BigInteger(), nullable=False),
        sa.Column("until", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_silences")),
    )
    lasting = sa.text("until IS NULL")
    op.create_index(
        "ix_silences_open", "silences", ["site"], unique=True, sqlite_where=lasting, postgresql_where=lasting
    )
    op.create_index("ix_silences_provider_id", "silences", ["provider", "id"])
    op.create_index(
        "ix_attempts_open",
        "attempts",
        ["site"],
        sqlite_where=sa.text("ended = 0"),
        postgresql_where=sa.text("NOT ended"),
    )
    op.add_column(
        "site_progress",
        sa.Column(
            "moved_at",
            sa.BigInteger(),
            server_default="0",
            nullable=False,
            comment="By accounting's clock; at first when it was given an attempt.",
        ),
    )
    # when sites spoke before isn't known: they are listened for from now on
    progress = sa.table("site_progress", sa.column("moved_at", sa.BigInteger()))
    op.execute(progress.update().values(moved_at=clock.to_microseconds(clock.now())))
