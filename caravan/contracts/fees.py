"""Fee agreements: what the platform keeps of what providers are owed."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from caravan.contracts.base import Instant, Model, Name, Second
from caravan.contracts.ids import FeeAgreementId, ProviderId
from caravan.contracts.parties import TaxRate
from caravan.contracts.tax import TaxTreatment
from caravan.kernel.money import ZERO, Money

FeeRate = Annotated[int, Field(ge=0, le=10000, strict=True)]
"""In hundredths of a percent: 500 is 5 %."""


class FeeDue(StrEnum):
    AT_CLOSE = "at_close"
    WHEN_PAID = "when_paid"
    """As organizations pay the statements that have what it was taken of, the oldest first."""


class FeeAgreementDraft(Model):
    """The fee of the periods whose last second lies in [starts_at, ends_at): `rate` of the provider's gross, and at least `floor`.

    Never more than the gross. Where several agreements hold, the one that starts last does, and of these the one that was made last.
    """

    provider: ProviderId
    rate: FeeRate = Field(examples=[500], description="Of the gross, in hundredths of a percent. Tax is included.")
    floor: Money = Field(default=ZERO, description="The least fee of a period with a gross above it.")
    due: FeeDue = Field(default=FeeDue.AT_CLOSE, description="When the fee is the platform's own.")
    starts_at: Second
    ends_at: Second | None = None


class FeeAgreement(FeeAgreementDraft):
    id: FeeAgreementId
    made_at: Instant
    made_by: Name


class StatementFee(Model):
    """What the platform keeps of a provider's gross in a period: amount = net + tax. Negative where corrections outweigh the rest."""

    agreement: FeeAgreementId
    rate: FeeRate
    floor: Money
    amount: Money
    net: Money
    tax: Money
    tax_treatment: TaxTreatment
    tax_rate: TaxRate
    due: FeeDue = FeeDue.AT_CLOSE
