"""Keep for which lines of earlier periods vouchers pay more or less."""

import sqlalchemy as sa
from alembic import op

revision = "0056"
down_revision = "0055"

BEFORE = (
    "INSERT INTO earlier_lines (voucher, line, period, starts_at, fen) "
    "SELECT settled.voucher, coalesce(credit_notes.line, ''), settled.period, settled.starts_at, settled.earlier "
    "FROM {table} AS settled LEFT JOIN credit_notes ON credit_notes.id = settled.period WHERE settled.earlier <> 0"
)
"""What credit notes gave back is of their lines. What closes settled is of none that is known: their next one finds them."""
ENDS = "When the usage of its job in the period ended; null: it was closed before this was kept."


def upgrade() -> None:
    op.create_table(
        "earlier_lines",
        sa.Column("voucher", sa.String(), nullable=False),
        sa.Column("line", sa.String(), nullable=False),
        sa.Column("period", sa.String(), nullable=False),
        sa.Column("starts_at", sa.BigInteger(), nullable=False),
        sa.Column("fen", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["voucher"], ["vouchers.id"], name=op.f("fk_earlier_lines_voucher")),
        sa.PrimaryKeyConstraint("voucher", "line", "period", name=op.f("pk_earlier_lines")),
    )
    with op.batch_alter_table("earlier_lines", schema=None) as batch_op:
        batch_op.create_index("ix_earlier_lines_line", ["line"], unique=False)
        batch_op.create_index("ix_earlier_lines_period", ["period"], unique=False)
    for table in ("voucher_settlements", "reimbursement_dues"):
        op.execute(BEFORE.format(table=table))
    for table in ("line_shares", "reimbursement_shares"):
        op.add_column(table, sa.Column("ends_at", sa.BigInteger(), nullable=True, comment=ENDS))
