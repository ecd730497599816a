"""Taking a period's fee from a provider: within the transaction that closes it, once what the provider is owed for it is known."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Row, select
from sqlalchemy.orm import Session

from caravan.contracts.fees import FeeDue, StatementFee
from caravan.contracts.tax import PLATFORM, SupplyCategory, TaxTreatment
from caravan.kernel.money import ZERO, Money
from services.accounting.charging.models import LineRow
from services.accounting.fees import paying
from services.accounting.fees.arithmetic import fee_of
from services.accounting.fees.models import FeeAgreementRow
from services.accounting.ledger import service as ledger
from services.accounting.periods import dated
from services.accounting.tax.supplies import Supply, Tax, known, settled


def take(tx: Session, period: Row[Any], statement: Mapping[str, Any], at: datetime) -> StatementFee | None:
    """Book the fee for a provider's statement of `period`, which is about to be written, by the agreement that it goes by.

    None without one. Raises LookupError where the platform's service is not taxed by any rule.
    """
    provider = statement["party_id"]
    agreement = dated.of_period(tx, FeeAgreementRow, period.ends_at, provider=provider)
    if agreement is None:
        return None
    tax = settled(tx, Supply(period.id, PLATFORM), SupplyCategory.PLATFORM_SERVICE, period.ends_at)
    fee = of_gross(agreement, statement["gross"], tax)
    due = paying.begin(tx, statement, fee) if waits(fee) else fee.amount.fen
    net, part = paying.split(due, fee.tax_rate)
    later = fee.amount.fen - due
    ledger.fee(tx, provider=provider, net_fen=net, tax_fen=part, later_fen=later, reference=statement["id"], at=at)
    return fee


def is_untaxed(tx: Session, period: Row[Any]) -> bool:
    """Whether `take` would raise for a provider with lines in `period`."""
    providers = tx.scalars(select(LineRow.provider).where(LineRow.period == period.id).distinct()).all()
    takes = any(dated.of_period(tx, FeeAgreementRow, period.ends_at, provider=one) for one in providers)
    supply = Supply(period.id, PLATFORM)
    return takes and known(tx, supply, SupplyCategory.PLATFORM_SERVICE, period.ends_at) is None


def waits(fee: StatementFee) -> bool:
    """For what it was taken of to be paid. What comes back doesn't."""
    return fee.due is FeeDue.WHEN_PAID and fee.amount > ZERO


def of_gross(agreement: Row[Any], gross: int, tax: Tax) -> StatementFee:
    """The fee that an agreement (a row of `fee_agreements`) makes of a gross in fen."""
    amount = fee_of(gross, agreement.rate, agreement.floor)
    net, part = paying.split(amount, tax.rate)
    return StatementFee(
        agreement=agreement.id,
        rate=agreement.rate,
        floor=Money(agreement.floor),
        amount=Money(amount),
        net=Money(net),
        tax=Money(part),
        tax_treatment=TaxTreatment(tax.treatment),
        tax_rate=tax.rate,
        due=FeeDue(agreement.due),
    )
