"""How programmes stand, as the office and finance look at them."""

from pydantic import Field

from caravan.contracts.base import Model, Name
from caravan.contracts.ids import OrganizationId, ProgrammeId
from caravan.contracts.programmes import PoolStanding
from caravan.contracts.vouchers import ApplicationState, VoucherState
from caravan.kernel.money import Money
from caravan.kernel.pages import Page


class PoolUse(PoolStanding):
    """A year's pool, and what was paid of the vouchers that are of it."""

    redeemed: Money


class OrganizationStanding(Model):
    """What an organization has of a programme in a calendar year, and the programme's caps on that; null: there is none."""

    organization: OrganizationId
    organization_name: Name
    year: int
    issued: Money = Field(description="By vouchers of the year, less what pools have again of those that have ended.")
    most_issued: Money | None
    redeemed: Money = Field(description="For claims of the year, in closed periods.")
    most_redeemed: Money | None


class ProgrammeStanding(Page[OrganizationStanding]):
    """A page of the organizations that have vouchers, by organization and year; the rest is on each page."""

    programme: ProgrammeId
    pools: tuple[PoolUse, ...]
    applications: dict[ApplicationState, int] = Field(description="How many there are in each state.")
    vouchers: dict[VoucherState, int]
