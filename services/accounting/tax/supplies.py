"""How what a seller supplied in a period is taxed: by the rule of the period's last second, and for good once a statement has it.

What late usage first bills of a seller in a closed period that no rule of it holds in, and none can any more, goes by the rule of the
period that it stands in.
"""

from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Row, select
from sqlalchemy.orm import Session

from caravan.contracts.problems import TaxRuleMissing
from caravan.contracts.tax import PLATFORM, SupplyCategory, TaxTreatment
from caravan.kernel.feed import upsert
from services.accounting.charging.models import LineRow
from services.accounting.charging.reading import seller_of
from services.accounting.periods import dated
from services.accounting.periods import service as periods
from services.accounting.tax.models import SupplyTax, TaxRuleRow
from services.accounting.usage.models import ProviderCopy


class Tax(NamedTuple):
    """How it is taxed; `rate` in hundredths of a percent, 0 where it isn't."""

    treatment: str
    rate: int


class Supply(NamedTuple):
    """What one seller sold in one period."""

    period: str
    seller: str


def of_lines(tx: Session, period: Row[Any]) -> dict[Supply, Tax]:
    """The tax of what each seller on the lines of `period` supplied in it, and in the periods that those lines correct.

    Raises LookupError while a seller has neither a rule nor a rate.
    """
    compute = SupplyCategory.COMPUTE_SERVICE
    return {
        supply: settled(tx, supply, compute, ends_at, stands_until=period.ends_at)
        for supply, ends_at in _supplies(tx, period)
    }


def untaxed(tx: Session, period: Row[Any]) -> set[str]:
    """The sellers for which `of_lines` would raise."""
    compute = SupplyCategory.COMPUTE_SERVICE
    return {
        supply.seller
        for supply, ends_at in _supplies(tx, period)
        if known(tx, supply, compute, ends_at, stands_until=period.ends_at) is None
    }


def _supplies(tx: Session, period: Row[Any]) -> list[tuple[Supply, datetime]]:
    """What the lines of `period` are of, and where its periods end."""
    columns = (LineRow.provider, LineRow.reseller, LineRow.corrects)
    rows = tx.execute(select(*columns).where(LineRow.period == period.id).distinct()).all()
    supplies = {Supply(period.id, seller_of(row)) for row in rows}
    supplies |= {Supply(row.corrects, seller_of(row)) for row in rows if row.corrects}
    ends = {supply.period: periods.find(tx, supply.period).ends_at for supply in supplies}
    return [(supply, ends[supply.period]) for supply in sorted(supplies)]


def known(
    tx: Session, supply: Supply, category: SupplyCategory, ends_at: datetime, stands_until: datetime | None = None
) -> Tax | None:
    """The tax of a supply as it is kept, or else as `settled` would keep it."""
    tax = (
        _kept(tx, supply, category) or _by_rule(tx, supply.seller, category, ends_at) or _of_catalog(tx, supply.seller)
    )
    if tax is None and stands_until is not None:
        return _by_rule(tx, supply.seller, category, stands_until)
    return tax


def settled(
    tx: Session, supply: Supply, category: SupplyCategory, ends_at: datetime, stands_until: datetime | None = None
) -> Tax:
    """The tax of a supply of the period that ends at `ends_at`, kept from now on. Raises LookupError while there is none.

    `stands_until`: where the period ends in which the supply's lines stand.
    """
    tax = known(tx, supply, category, ends_at, stands_until)
    if tax is None:
        raise LookupError(f"how {supply.seller} is taxed is not known here yet: post a tax rule of it")
    key = {"period": supply.period, "seller": supply.seller, "category": category.value}
    tx.execute(upsert(tx, SupplyTax).values(**key, **tax._asdict()).on_conflict_do_nothing())
    return tax


def check_platform_is_taxed(tx: Session, at: datetime) -> None:
    """Raises TaxRuleMissing unless some rule holds for the platform's own service at `at`: the catalog has no rate of it."""
    service = {"seller": PLATFORM, "category": SupplyCategory.PLATFORM_SERVICE.value}
    if dated.holding(tx, TaxRuleRow, at, **service) is None:
        raise TaxRuleMissing


def _kept(tx: Session, supply: Supply, category: SupplyCategory) -> Tax | None:
    key = {"period": supply.period, "seller": supply.seller, "category": category.value}
    kept = tx.execute(select(SupplyTax.treatment, SupplyTax.rate).filter_by(**key)).one_or_none()
    return None if kept is None else Tax(*kept)


def _by_rule(tx: Session, seller: str, category: SupplyCategory, ends_at: datetime) -> Tax | None:
    rule = dated.of_period(tx, TaxRuleRow, ends_at, seller=seller, category=category.value)
    return None if rule is None else Tax(rule.treatment, rule.rate or 0)


def _of_catalog(tx: Session, seller: str) -> Tax | None:
    rate = tx.scalars(select(ProviderCopy.tax_rate).where(ProviderCopy.id == seller)).one_or_none()
    return None if rate is None else Tax(TaxTreatment.TAXED.value, rate)
