"""Keep the second in which a hold was used up."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    with op.batch_alter_table("holds", schema=None) as batch_op:
        batch_op.add_column(sa.Column("overrun_from", sa.BigInteger(), nullable=True))
    # not known here, so every second lies before it: the next fact of such a job computes it
    op.execute("UPDATE holds SET overrun_from = 9223372036854775807 WHERE overrun")
    with op.batch_alter_table("holds", schema=None) as batch_op:
        batch_op.drop_column("overrun")
