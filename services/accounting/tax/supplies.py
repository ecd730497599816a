"""How what a seller supplied in a period is taxed: by the rule of the period's last second, and for good once a statement has it."""

from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Row, insert, select
from sqlalchemy.orm import Session

from caravan.contracts.problems import TaxRuleMissing
from caravan.contracts.tax import PLATFORM, SupplyCategory, TaxTreatment
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
    columns = (LineRow.provider, LineRow.reseller, LineRow.corrects)
    rows = tx.execute(select(*columns).where(LineRow.period == period.id).distinct()).all()
    supplies = {Supply(period.id, seller_of(row)) for row in rows}
    supplies |= {Supply(row.corrects, seller_of(row)) for row in rows if row.corrects}
    ends = {supply.period: periods.find(tx, supply.period).ends_at for supply in supplies}
    compute = SupplyCategory.COMPUTE_SERVICE
    return {supply: settled(tx, supply, compute, ends[supply.period]) for supply in sorted(supplies)}


def settled(tx: Session, supply: Supply, category: SupplyCategory, ends_at: datetime) -> Tax:
    """The tax of a supply of the period that ends at `ends_at`, kept from now on. Raises LookupError while there is none."""
    key = {"period": supply.period, "seller": supply.seller, "category": category.value}
    kept = tx.execute(select(SupplyTax.treatment, SupplyTax.rate).filter_by(**key)).one_or_none()
    if kept is not None:
        return Tax(*kept)
    rule = dated.of_period(tx, TaxRuleRow, ends_at, seller=supply.seller, category=category.value)
    tax = _of_catalog(tx, supply.seller) if rule is None else Tax(rule.treatment, rule.rate or 0)
    tx.execute(insert(SupplyTax).values(**key, **tax._asdict()))
    return tax


def check_platform_is_taxed(tx: Session, at: datetime) -> None:
    """Raises TaxRuleMissing unless some rule holds for the platform's own service at `at`: the catalog has no rate of it."""
    service = {"seller": PLATFORM, "category": SupplyCategory.PLATFORM_SERVICE.value}
    if dated.holding(tx, TaxRuleRow, at, **service) is None:
        raise TaxRuleMissing


def _of_catalog(tx: Session, seller: str) -> Tax:
    rate = tx.scalars(select(ProviderCopy.tax_rate).where(ProviderCopy.id == seller)).one_or_none()
    if rate is None:
        raise LookupError(f"the tax rate of {seller} is not known here yet")
    return Tax(TaxTreatment.TAXED.value, rate)
