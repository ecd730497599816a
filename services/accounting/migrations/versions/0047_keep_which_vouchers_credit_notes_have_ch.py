"""Keep which vouchers credit notes have changed."""

import sqlalchemy as sa
from alembic import op

revision = "0047"
down_revision = "0046"


def upgrade() -> None:
    op.add_column(
        "vouchers",
        sa.Column(
            "unsettled",
            sa.Boolean(),
            server_default=sa.false(),
            nullable=False,
            comment="The next close looks at its claims: a credit note has changed them, or jobs had pledged what they need.",
        ),
    )
    op.create_index(
        "ix_vouchers_unsettled",
        "vouchers",
        ["organization"],
        unique=False,
        sqlite_where=sa.text("unsettled = 1"),
        postgresql_where=sa.text("unsettled"),
    )
