"""Keep the modes of sites."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.create_table(
        "site_modes",
        sa.Column("site", sa.String(), nullable=False),
        sa.Column("starts_at", sa.BigInteger(), nullable=False),
        sa.Column("mode", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(["site"], ["sites.id"], name=op.f("fk_site_modes_site")),
        sa.PrimaryKeyConstraint("site", "starts_at", name=op.f("pk_site_modes")),
    )
    with op.batch_alter_table("price_lists", schema=None) as batch_op:
        batch_op.add_column(
            sa.Column(
                "modes",
                sa.Text(),
                server_default="[]",
                nullable=False,
                comment="The site's as they were published then; none where all its time is billed.",
            )
        )
