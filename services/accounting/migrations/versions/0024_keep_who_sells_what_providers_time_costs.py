"""Keep who sells what providers' time costs."""

import sqlalchemy as sa
from alembic import op

revision = "0024"
down_revision = "0023"

_RESOLD = sa.text("reseller <> ''")


def upgrade() -> None:
    for table, name in (
        ("credit_notes", "reseller"),
        ("credit_notes", "reseller_name"),
        ("lines", "reseller"),
        ("price_lists", "reseller"),
    ):
        op.add_column(table, sa.Column(name, sa.String(), server_default=sa.text("''"), nullable=False))
    for name, table, columns in (
        ("ix_credit_notes_reseller_id", "credit_notes", ["reseller", "id"]),
        ("ix_lines_period_reseller_job_id", "lines", ["period", "reseller", "job", "id"]),
        ("ix_lines_reseller_id", "lines", ["reseller", "id"]),
    ):
        op.create_index(name, table, columns, sqlite_where=_RESOLD, postgresql_where=_RESOLD)
    op.add_column("statements", sa.Column("sold", sa.Boolean(), server_default=sa.false(), nullable=False))
    op.drop_index("ix_statements_period_party_id", "statements")
    op.create_index("ix_statements_period_party_party_id", "statements", ["period", "party", "party_id"], unique=True)
    if op.get_bind().dialect.name == "sqlite":
        op.execute("DROP TRIGGER statements_replace")
        op.execute(
            "CREATE TRIGGER statements_replace BEFORE INSERT ON statements WHEN EXISTS (SELECT 1 FROM statements"
            " WHERE id = NEW.id OR number = NEW.number"
            " OR (period = NEW.period AND party = NEW.party AND party_id = NEW.party_id))"
            " BEGIN SELECT RAISE(ABORT, 'statements is append-only'); END"
        )
