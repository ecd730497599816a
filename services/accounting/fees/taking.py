"""Taking a period's fee from a provider: within the transaction that closes it, once what the provider is owed for it is known."""

from datetime import datetime
from typing import Any

from sqlalchemy import Row
from sqlalchemy.orm import Session

from caravan.contracts.fees import StatementFee
from caravan.contracts.tax import PLATFORM, SupplyCategory, TaxTreatment
from caravan.kernel.money import Money
from services.accounting.fees.arithmetic import fee_of
from services.accounting.fees.models import FeeAgreementRow
from services.accounting.ledger import service as ledger
from services.accounting.periods import dated
from services.accounting.tax.spreading import tax_of
from services.accounting.tax.supplies import Supply, Tax, settled


def take(tx: Session, period: Row[Any], provider: str, gross: int, statement: str, at: datetime) -> StatementFee | None:
    """Book the fee for `gross` fen of `period` by the agreement that it goes by; None without one. `statement` is the provider's.

    Raises LookupError where the platform's service is not taxed by any rule.
    """
    agreement = dated.of_period(tx, FeeAgreementRow, period.ends_at, provider=provider)
    if agreement is None:
        return None
    tax = settled(tx, Supply(period.id, PLATFORM), SupplyCategory.PLATFORM_SERVICE, period.ends_at)
    fee = of_gross(agreement, gross, tax)
    ledger.fee(tx, provider=provider, net_fen=fee.net.fen, tax_fen=fee.tax.fen, reference=statement, at=at)
    return fee


def of_gross(agreement: Row[Any], gross: int, tax: Tax) -> StatementFee:
    """The fee that an agreement (a row of `fee_agreements`) makes of a gross in fen."""
    amount = fee_of(gross, agreement.rate, agreement.floor)
    part = tax_of(amount, tax.rate)
    return StatementFee(
        agreement=agreement.id,
        rate=agreement.rate,
        floor=Money(agreement.floor),
        amount=Money(amount),
        net=Money(amount - part),
        tax=Money(part),
        tax_treatment=TaxTreatment(tax.treatment),
        tax_rate=tax.rate,
    )
