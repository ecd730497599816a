"""Reading lines: as the contract has them, and listed."""

from collections.abc import Collection, Sequence
from decimal import Decimal
from typing import Any, Final

from sqlalchemy import ColumnElement, Row, and_, literal_column, or_, select
from sqlalchemy.orm import Session

from caravan.contracts.prices import Component
from caravan.contracts.statements import BearerKind, BearerReason, Line, LineKind, UsageLine
from caravan.kernel.money import Money
from caravan.kernel.pages import Listing, Page
from caravan.kernel.runtime import Runtime
from services.accounting.charging.models import LineRow

RESOLD: Final = LineRow.reseller != literal_column("''")
"""As the indexes of resellers have it: a bound value would not let a database see that it may use them."""


def parties_see(table: Any, organizations: Collection[str], providers: Collection[str]) -> ColumnElement[bool]:
    """What of a table with `organization`, `provider` and `reseller` these are parties of: who buys, and who sells.

    A provider is no party of what a reseller has sold on.
    """
    resold = table.reseller != literal_column("''")
    return or_(
        table.organization.in_(organizations),
        and_(table.provider.in_(providers), ~resold),
        and_(table.reseller.in_(organizations), resold),
    )


def sold_by(seller: str) -> ColumnElement[bool]:
    """Whether a line is owed to `seller`, a provider or a reseller."""
    if seller.startswith("org_"):
        return and_(LineRow.reseller == seller, RESOLD)
    return and_(LineRow.provider == seller, ~RESOLD)


def seller_of(row: Any) -> str:
    """Whom a line (a row of `lines`) is owed to."""
    return str(row.reseller or row.provider)


def shown(row: Row[Any]) -> Line:
    """A row of `lines` as the contract has it."""
    return Line(
        id=row.id,
        kind=LineKind(row.kind),
        period=row.period,
        organization=row.organization,
        provider=row.provider,
        seller=seller_of(row),
        project=row.project or None,
        job=row.job or None,
        component=Component(row.component),
        accelerator=row.accelerator or None,
        price_list=row.price_list,
        price_list_revision=row.price_list_revision,
        tariff=row.tariff or None,
        window=row.pricing_window or None,
        bearer=BearerKind(row.bearer),
        reason=BearerReason(row.reason) if row.reason else None,
        unit_price=Decimal(row.unit_price) if row.unit_price else None,
        quantity=row.quantity,
        amount=Money(row.amount),
        basis=None if row.basis is None else Money(row.basis),
        attempt=row.attempt or None,
        corrects=row.corrects or None,
        tax=None if row.tax is None else Money(row.tax),
        tax_treatment=row.tax_treatment,
        tax_rate=row.tax_rate,
        subsidy=None if row.subsidy is None else Money(row.subsidy),
    )


def shown_of_job(row: Row[Any]) -> UsageLine:
    """A row of `lines` that is of a job."""
    return UsageLine.model_validate(dict(shown(row)))


class LineService:
    """Shows lines to those whose they are: the organization that bears them, and who sold."""

    def __init__(self, runtime: Runtime) -> None:
        self._db = runtime.db

    async def list_lines(
        self,
        listing: Listing,
        parties: tuple[frozenset[str], frozenset[str]] | None,
        seller: str | None,
        **equal: str | None,
    ) -> Page[Line]:
        """Lines that these organizations or providers are parties of (None: all), oldest first.

        Of these what `seller` sold, and of which the columns `equal` have these values.
        """
        rows = await self._db.read(_lines, listing, parties, seller, equal)
        return listing.page([shown(row) for row in rows], key=lambda line: (line.id,))


def _lines(
    tx: Session,
    listing: Listing,
    parties: tuple[frozenset[str], frozenset[str]] | None,
    seller: str | None,
    equal: dict[str, str | None],
) -> Sequence[Row[Any]]:
    columns = LineRow.__table__.c
    query = select(LineRow.__table__).order_by(LineRow.id).limit(listing.fetch)
    if parties is not None:
        query = query.where(parties_see(LineRow, *parties))
    if seller is not None:
        query = query.where(sold_by(seller))
    for name, value in equal.items():
        if value is not None:
            query = query.where(columns[name] == value)
    if listing.after:
        query = query.where(LineRow.id > listing.after[0])
    return tx.execute(query).all()
