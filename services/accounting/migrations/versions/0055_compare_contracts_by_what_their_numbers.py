"""Compare contracts by what their numbers say, however they are typed."""

import sqlalchemy as sa
from alembic import op

from services.accounting.vouchers.contract_keys import contract_key

revision = "0055"
down_revision = "0054"

_LIVES = "contract_key IS NOT NULL AND contract_repeats IS NULL AND state NOT IN ('refused', 'withdrawn')"


def upgrade() -> None:
    op.add_column("voucher_applications", sa.Column("contract_key", sa.String(), nullable=True))
    op.add_column(
        "voucher_applications",
        sa.Column(
            "contract_repeats",
            sa.String(),
            nullable=True,
            comment="The earlier application with the same contract, of before keys were compared.",
        ),
    )
    applications = sa.table(
        "voucher_applications",
        *map(
            sa.column,
            ("id", "programme", "organization", "state", "contract_number", "contract_key", "contract_repeats"),
        ),
    )
    numbered = sa.select(applications).where(applications.c.contract_number.is_not(None)).order_by(applications.c.id)
    first: dict[tuple[str, str, str], str] = {}
    for row in op.get_bind().execute(numbered).all():
        key, repeats = contract_key(row.contract_number), None
        if row.state not in ("refused", "withdrawn"):
            earlier = first.setdefault((row.programme, row.organization, key), row.id)
            repeats = None if earlier == row.id else earlier
        values = {"contract_key": key, "contract_repeats": repeats}
        op.execute(applications.update().where(applications.c.id == row.id).values(values))
    op.drop_index("ix_voucher_applications_contract", "voucher_applications")
    op.create_index(
        "ix_voucher_applications_contract",
        "voucher_applications",
        ["programme", "organization", "contract_key"],
        unique=True,
        sqlite_where=sa.text(_LIVES),
        postgresql_where=sa.text(_LIVES),
    )
