"""Reading the lines of a statement, in the order in which they stand on it: by job, then line; what is of no job comes first."""

from collections.abc import Iterator, Sequence
from typing import Any, Final

from sqlalchemy import Row, Select, select, true, tuple_
from sqlalchemy.orm import Session
from sqlalchemy.orm.attributes import InstrumentedAttribute

from caravan.contracts.statements import BearerKind, StatementParty
from caravan.contracts.tax import SupplyCategory
from services.accounting.charging.models import LineRow
from services.accounting.charging.reading import RESOLD, seller_of
from services.accounting.periods.models import PeriodRow
from services.accounting.tax.models import SupplyTax
from services.accounting.usage.models import JobName, OrganizationCopy, ProjectCopy, ProviderCopy

BATCH: Final = 1000
PARTY_COLUMN: Final[dict[str, InstrumentedAttribute[str]]] = {
    StatementParty.ORGANIZATION: LineRow.organization,
    StatementParty.PROVIDER: LineRow.provider,
    StatementParty.RESELLER: LineRow.reseller,
}
"""Who is that party of a line."""
_SOLD: Final = {
    StatementParty.PROVIDER: LineRow.reseller == "",
    StatementParty.RESELLER: RESOLD,
}
"""Which lines stand on sellers' statements: a provider has none of what was sold on."""


def by_party(tx: Session, period: str, party: StatementParty) -> Iterator[Row[Any]]:
    """All lines of a period, those of one party together; read in batches, so that memory doesn't grow with them.

    Batches by key, not by a server's cursor: SQLAlchemy doesn't wrap what asyncpg raises while it fetches from one, so that a
    serialization failure there would not be seen as one.
    """
    return _in_batches(tx, _lines().where(LineRow.period == period, _SOLD.get(party, true())), PARTY_COLUMN[party])


_TAXED: Final = (
    *("organization", "job", "id", "kind", "provider", "reseller", "component", "accelerator", "price_list", "tariff"),
    *("pricing_window", "attempt", "corrects", "amount", "tax", "tax_treatment", "tax_rate"),
)


def billed(tx: Session, period: str) -> Iterator[Row[Any]]:
    """What tax needs of the lines of a period that organizations bear, those of one organization together; read as `by_party`."""
    columns, corrected = LineRow.__table__.c, PeriodRow.__table__
    query = select(*(columns[name] for name in _TAXED), corrected.c.starts_at.label("corrects_from")).outerjoin(
        corrected, corrected.c.id == LineRow.corrects
    )
    borne = (LineRow.period == period) & (LineRow.bearer == BearerKind.ORGANIZATION)
    return _in_batches(tx, query.where(borne), LineRow.organization)


def _in_batches(tx: Session, query: Select[*tuple[Any, ...]], column: InstrumentedAttribute[str]) -> Iterator[Row[Any]]:
    after = ("", "", "")
    query = query.order_by(column, LineRow.job, LineRow.id).limit(BATCH)
    while rows := tx.execute(query.where(tuple_(column, LineRow.job, LineRow.id) > tuple_(*after))).all():
        yield from rows
        last = rows[-1]
        after = (getattr(last, column.key), last.job, last.id)


def of_statement(tx: Session, statement: Row[Any], after: tuple[Any, ...] | None, limit: int) -> Sequence[Row[Any]]:
    """Up to `limit` lines of a statement behind the key `after` (job, line)."""
    own = PARTY_COLUMN[statement.party] == statement.party_id
    query = _lines().where(LineRow.period == statement.period, own, _SOLD.get(statement.party, true()))
    if after is not None:
        query = query.where(tuple_(LineRow.job, LineRow.id) > tuple_(*after))
    return tx.execute(query.order_by(LineRow.job, LineRow.id).limit(limit)).all()


def counterparty(party: StatementParty, row: Row[Any]) -> str:
    """Who stands on the other side of a line, on a statement of this kind."""
    return seller_of(row) if party == StatementParty.ORGANIZATION else str(row.organization)


def names_in(tx: Session, period: str) -> dict[str, str]:
    """Names of the parties, projects and corrected periods of a period's lines as they are now; an id that has none names itself."""
    names: dict[str, str] = {}
    for column, table in (
        (LineRow.organization, OrganizationCopy),
        (LineRow.provider, ProviderCopy),
        (LineRow.reseller, OrganizationCopy),
        (LineRow.project, ProjectCopy),
        (LineRow.corrects, PeriodRow),
    ):
        ids = select(column.label("id")).where(LineRow.period == period, column != "").distinct().subquery()
        rows = tx.execute(select(ids.c.id, table.name).outerjoin(table, table.id == ids.c.id))
        names |= {row.id: row.name or row.id for row in rows}
    return names


def rates_in(tx: Session, period: str) -> dict[str, int]:
    """The tax rates at which sellers supplied in a period, in hundredths of a percent."""
    compute = SupplyTax.category == SupplyCategory.COMPUTE_SERVICE
    rows = tx.execute(select(SupplyTax.seller, SupplyTax.rate).where(SupplyTax.period == period, compute))
    return {row.seller: row.rate for row in rows}


def _lines() -> Select[*tuple[Any, ...]]:
    return select(*LineRow.__table__.c, JobName.name.label("job_name")).outerjoin(JobName, JobName.job == LineRow.job)
