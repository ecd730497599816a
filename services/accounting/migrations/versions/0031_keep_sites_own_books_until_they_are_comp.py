"""Keep sites' own books until they are compared."""

import sqlalchemy as sa
from alembic import op

revision = "0031"
down_revision = "0030"


def upgrade() -> None:
    op.create_table(
        "site_books",
        sa.Column("site", sa.String(), nullable=False),
        sa.Column("starts_at", sa.BigInteger(), nullable=False),
        sa.Column("page", sa.BigInteger(), nullable=False),
        sa.Column("ends_at", sa.BigInteger(), nullable=False),
        sa.Column("last", sa.Boolean(), nullable=False),
        sa.Column("as_of", sa.BigInteger(), nullable=False),
        sa.Column("keeps_all", sa.Boolean(), nullable=False),
        sa.Column("runs", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("site", "starts_at", "page", name=op.f("pk_site_books")),
    )
    with op.batch_alter_table("reconciliations", schema=None) as batch_op:
        batch_op.add_column(
            sa.Column(
                "differing",
                sa.BigInteger(),
                server_default="0",
                nullable=False,
                comment="How many of what was found lies between the sites' books and these.",
            )
        )
        batch_op.add_column(sa.Column("sites", sa.Text(), server_default="[]", nullable=False))
