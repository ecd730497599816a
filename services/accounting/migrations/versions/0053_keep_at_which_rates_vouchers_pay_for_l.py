"""Keep at which rates vouchers pay for lines."""

import sqlalchemy as sa
from alembic import op

revision = "0053"
down_revision = "0052"

COMMENT = (
    "At which it pays for what the line is of; null: a discount goes by the shares of what it is off, or it was judged before "
    "this was kept."
)


def upgrade() -> None:
    for table in ("line_shares", "reimbursement_shares"):
        op.add_column(table, sa.Column("rate", sa.BigInteger(), nullable=True, comment=COMMENT))
