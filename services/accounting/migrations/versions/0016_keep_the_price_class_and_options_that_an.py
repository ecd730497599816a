"""Keep the price class and options that an attempt was placed by."""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"


def upgrade() -> None:
    with op.batch_alter_table("attempts", schema=None) as batch_op:
        batch_op.add_column(
            sa.Column("price_class", sa.String(), nullable=True, comment="The organization's, when it was placed.")
        )
        batch_op.add_column(
            sa.Column(
                "options", sa.Text(), server_default="{}", nullable=False, comment="Of its target, what tariffs go by."
            )
        )
