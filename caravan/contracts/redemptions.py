"""What vouchers pay, as enterprises and the office look at it."""

from pydantic import Field

from caravan.contracts.base import Model, Name
from caravan.contracts.ids import JobId, OrganizationId, ProgrammeId, VoucherId
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
