"""What vouchers pay, as enterprises and the office look at it."""

from pydantic import Field

from caravan.contracts.base import Model, Name
from caravan.contracts.ids import JobId, LineId, OrganizationId, PeriodId, ProgrammeId, VoucherId
from caravan.contracts.prices import Component
from caravan.contracts.programmes import Share
from caravan.kernel.money import Money


class VoucherRedemption(Model):
    """What one voucher pays of a job. `saved` is `redeemed`, `paid` and `due` together: one that deducts has nothing due, and of one that
    reimburses all is."""

    voucher: VoucherId
    programme: ProgrammeId
    programme_name: Name
    organization: OrganizationId
    pledged: Money = Field(description="What of it is with the job's hold, or redeemed.")
    redeemed: Money = Field(description="What it pays so far of the job's lines in periods that are not closed.")
    paid: Money = Field(
        description="What it pays of the job's lines in closed periods, by whichever close, less credit notes."
    )
    due: Money = Field(
        description="The same, where it isn't deducted but to be reimbursed: filed, paid, or neither yet."
    )
    saved: Money


class JobRedemption(Model):
    """What vouchers pay of a job. What they have of volume discounts is no job's."""

    job: JobId
    saved: Money = Field(description="By all of its vouchers.")
    vouchers: tuple[VoucherRedemption, ...]


class VoucherShare(Model):
    """A voucher's share of a line, as its period closed, and what was made of it since.

    Of vouchers that pay together the shares of a line are rounded together: one alone may differ by a fen from `amount` times `rate`.
    """

    line: LineId
    period: PeriodId
    job: JobId | None = Field(description="Null: a volume discount.")
    component: Component
    amount: Money = Field(description="Of the line.")
    rate: Share | None = Field(
        description="At which the voucher pays for what the line is of. Null: a volume discount, which goes by the shares of what it is "
        "taken off, or a line of a period that was closed before rates were kept."
    )
    share: Money = Field(description="The voucher's, by its rate.")
    paid: Money = Field(
        description="What of that was paid, or due to be reimbursed, within floor and caps, as the line's period closed."
    )
    later: Money = Field(
        description="What later closes pay more of it, as claims reach floors and caps leave room; less what credit notes give back."
    )
