"""What a programme would have paid for what was used, and how long its pool lasts."""

from typing import Annotated

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from caravan.contracts.base import Instant, Model, Name, Words
from caravan.contracts.ids import OrganizationId, PeriodId, ProgrammeId, ProviderId
from caravan.contracts.programmes import Mode
from caravan.kernel.money import Money


class Assumption(Model):
    """What each enterprise would have been reviewed as, and its voucher issued for."""

    kinds: tuple[Name, ...] = Field(default=(), description="Of those that the programme's rates name.")
    use: Name | None = Field(default=None, description="One of those that the programme names.")


def _each_once(periods: tuple[str, ...]) -> tuple[str, ...]:
    if len({*periods}) < len(periods):
        raise PydanticCustomError("periods", "Name each period once")
    return periods


class PreviewQuestion(Model):
    """Each enterprise as if it had had one voucher of the programme, of the highest amount that the caps allow, for all of its jobs."""

    periods: Annotated[tuple[PeriodId, ...], Field(min_length=1, max_length=24), AfterValidator(_each_once)] = Field(
        description="Closed ones. What they correct of others isn't counted."
    )
    organizations: Annotated[tuple[OrganizationId, ...], Field(min_length=1, max_length=1000)] | None = Field(
        default=None, description="Null: all that bear something in these periods."
    )
    assume: Assumption = Assumption()


class Cuts(Model):
    """What is paid less, by each limit behind those before it: a claim that comes to less than the floor; the most of a claim, of the
    voucher, and of a calendar year."""

    floor: Money
    claim: Money
    voucher: Money
    redeemed_in_year: Money


class PreviewSums(Model):
    """`used` is what the organizations bear, `supported` what of it the programme supports, `claimed` its part by the rates, and `pays`
    what of that floor and caps leave."""

    used: Money
    supported: Money
    claimed: Money
    pays: Money
    cut: Cuts


class PreviewedClaim(Model):
    """A span of claims, as the programme settles them, by when it starts."""

    starts_at: Instant
    claimed: Money
    pays: Money


class PreviewedOrganization(PreviewSums):
    organization: OrganizationId
    name: str = Field(examples=["秦岭材料"])
    voucher: Money | None = Field(description="What its voucher would be issued for; null: no cap says.")
    claims: tuple[PreviewedClaim, ...]


class PreviewedProvider(Model):
    """What organizations bear of what a centre sells, and the programme's part of that."""

    provider: ProviderId
    name: str = Field(examples=["西安中心"])
    used: Money
    pays: Money


class PreviewedPool(Model):
    """A calendar year in which claims of these periods lie, and what the programme may issue in it."""

    year: int = Field(examples=[2026])
    pays: Money = Field(description="What would have been paid for the claims of the year.")
    amount: Money | None = Field(description="Of the pool; null: the programme has none of that year.")
    above: Money | None = Field(description="By how much `pays` is above the pool; null where there is none.")


class Preview(PreviewSums):
    """The organizations and centres for which most is paid come first, and claims in the order of their spans."""

    programme: ProgrammeId
    programme_name: str = Field(examples=["西安市算力券"])
    mode: Mode
    organizations: tuple[PreviewedOrganization, ...]
    providers: tuple[PreviewedProvider, ...]
    claims: tuple[PreviewedClaim, ...]
    pools: tuple[PreviewedPool, ...] = Field(
        description="By year. No pool cuts any of the sums: vouchers commit it as they are issued, and not as they pay. So where it is "
        "passed, some of these enterprises would have had no voucher, or one for less."
    )


Month = Annotated[str, Field(pattern="^[0-9]{4}-[0-9]{2}$", examples=["2026-09"])]


class ForecastMonth(Model):
    """What was issued of the year's pool in it, less what the pool has again, and redeemed of that as its periods closed, less
    what was clawed back or given back by credit notes in it."""

    month: Month
    issued: Money
    redeemed: Money


class Forecast(Model):
    """Of the current year's pool, by the last three months at most: straight lines, `words` say of what. Null: nothing says yet."""

    programme: ProgrammeId
    programme_name: str = Field(examples=["西安市算力券"])
    year: int = Field(examples=[2026])
    pool: Money
    committed: Money
    months: tuple[ForecastMonth, ...] = Field(description="From the first of the year to this one.")
    issued_a_month: Money | None
    used_up_in: Month | None = Field(description="When the pool has nothing left to issue; null: not in this year.")
    redeemed_a_month: Money | None
    redeemed_by_year_end: Money | None
    words: tuple[Words, Words]
