"""Credit notes: numbered documents that correct a sealed statement."""

from pydantic import Field

from caravan.contracts.base import Instant, Model, Name, Reason
from caravan.contracts.ids import CreditNoteId, LineId, OrganizationId, PeriodId, ProviderId, StatementId
from caravan.contracts.statements import PartyId
from caravan.kernel.money import Money


class CreditNoteDraft(Model):
    """Give back `amount` of a line that stands on an organization's statement."""

    statement: StatementId
    line: LineId
    amount: Money = Field(description="Above zero, and no more than is left of the line.")
    reason: Reason = Field(description="For both parties to read.")


class CreditNote(CreditNoteDraft):
    """As issued; never changed. What the organization owes, and what the seller is owed, is less by `amount`."""

    id: CreditNoteId
    number: Name = Field(examples=["CN-2026-000001"], description="Gapless within the year in which they are issued.")
    statement_number: Name
    period: PeriodId = Field(description="Of the statement.")
    organization: OrganizationId
    organization_name: Name
    provider: ProviderId
    provider_name: Name
    seller: PartyId = Field(description="Who sold it: the provider, or an organization that sold its time on.")
    seller_name: Name
    tax: Money | None = Field(description="Included in the amount, as on the line; null where that says none.")
    subsidy: Money | None = Field(
        default=None,
        description="What of it vouchers had paid: that goes back to their programmes, the rest to the organization. Null where none had.",
    )
    issued_at: Instant
    issued_by: Name
