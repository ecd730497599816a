"""Keep at which rates vouchers pay for lines."""

import sqlalchemy as sa
from alembic import op

revision = "0053"
down_revision = "0052"

COMMENT = "At which it pays for what the line is of; null: a discount goes by the shares of what it is off."


def upgrade() -> None:
    for table in ("line_shares", "reimbursement_shares"):
        op.add_column(table, sa.Column("rate", sa.BigInteger(), nullable=True, comment=COMMENT))
        # of a line above 100 yuan that is the rate; of a smaller one it is one by which all of it has the same share
        op.execute(
            f"UPDATE {table} SET rate = (SELECT CAST(ROUND({table}.share * 10000.0 / lines.amount) AS BIGINT) FROM lines "
            f"WHERE lines.id = {table}.line AND lines.kind = 'usage' AND lines.amount <> 0)"
        )
