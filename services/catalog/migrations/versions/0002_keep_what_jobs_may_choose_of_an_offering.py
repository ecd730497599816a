"""Keep what jobs may choose of an offering."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    with op.batch_alter_table("offerings", schema=None) as batch_op:
        batch_op.add_column(sa.Column("choices", sa.Text(), server_default="{}", nullable=False))
