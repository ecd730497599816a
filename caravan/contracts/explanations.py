"""Why a price is what it is: which days and times, at which prices, and who bears it. For people, in Chinese and English."""

from datetime import date
from enum import StrEnum
from typing import Annotated

from pydantic import Field

from caravan.contracts.base import Count, Model, Name, Positive, Second, TargetField, TargetValue, Words, text
from caravan.contracts.ids import (
    AcceleratorId,
    ContestId,
    CorrectionId,
    JobId,
    LineId,
    OfferingId,
    OrganizationId,
    PeriodId,
    PriceListId,
    ProjectId,
    RunId,
)
from caravan.contracts.modes import SiteMode
from caravan.contracts.offerings import AcceleratorUnit
from caravan.contracts.prices import Component, Day, DaySpan, Percent, Zone
from caravan.contracts.statements import BearerKind, BearerReason, Line, UsageLine
from caravan.kernel.money import Money, UnitPrice

ClockTime = Annotated[
    str, text(r"^(?:(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]|24:00:00)$"), Field(examples=["08:30:00"])
]
YEAR_SECONDS = 366 * 86_400


class ClockSpan(Model):
    """[starts, ends) of a day, by the clocks of the price list's zone."""

    starts: ClockTime
    ends: ClockTime


class DayReason(StrEnum):
    """Why days are of the kinds that they are."""

    ALIKE = "alike"
    """It doesn't matter: the tariff prices all kinds of days alike. They are named by their weekdays."""
    CALENDAR = "calendar"
    """By the calendar in the price list."""
    UNPUBLISHED = "unpublished"
    """By their weekdays alone: their year was not published when the price list was made."""


class PricedDays(Model):
    """The same times of one day, or of days that follow each other: `units` in each second of `times` on each of them.

    `quantity = units x seconds`; a price per job has the second that it falls in, and a quantity of 1. A minimum charge has
    the last billed second, and as many units as fen.
    """

    run: RunId | None = Field(description="Null where nothing has run: what it would cost.")
    first: date
    last: date
    days: Positive
    kinds: tuple[Day, ...] = Field(description="What the days are, each kind once.")
    holiday: Name | None = Field(description="The holiday that a holiday or a working weekend is of.")
    reason: DayReason
    times: tuple[ClockSpan, ...] = Field(description="Of each day.")
    seconds: Positive = Field(description="On all of the days.")
    units: Positive = Field(description="Cores, accelerators, nodes, MiB, fen of a minimum charge, or 1 for a job.")
    quantity: Positive
    words: Words


class MoreDays(Model):
    """What is not shown day by day."""

    days: Positive
    seconds: Positive
    quantity: Positive
    words: Words


class Rate(Model):
    """The part of a price list that prices a second: a tariff's window."""

    price_list: PriceListId
    revision: Positive
    zone: Zone
    tariff: Name
    starts_at: Second | None = Field(description="Of the tariff; null where no tariff covers.")
    ends_at: Second | None
    window: Name
    days: tuple[Day, ...] = Field(description="Of the window; none where it is all time, or all other time.")
    times: tuple[DaySpan, ...]
    words: Words


class Arithmetic(Model):
    """`quantity x unit_price / divisor`, rounded once: `amount`."""

    quantity: int
    unit_price: UnitPrice
    divisor: Positive
    exact: str = Field(
        examples=["0.00009722…"], description="In CNY before rounding; cut after eight places, with `…` for more."
    )
    amount: Money
    words: Words


class ExplainedMinimum(Model):
    """What an attempt lacks to its minimum charge: `lacking = minimum - seconds - per_job`, or 0.00 where that is below zero."""

    minimum: Money = Field(description="Of the tariff of its last billed second.")
    seconds: Money = Field(description="What its seconds cost, as if its hold had no end.")
    per_job: Money = Field(description="The price per job, where it falls in this attempt.")
    lacking: Money
    words: Words


class ExplainedPrice(Model):
    """One component at one rate: its days in order, their sum, and what that comes to."""

    component: Component
    accelerator: AcceleratorId | None
    unit: AcceleratorUnit | None = Field(description="Of an accelerator: as it is sold. Null where it is not known.")
    rate: Rate
    mode: SiteMode = Field(description="The site's, at that time: only `billed` is charged.")
    steps: tuple[PricedDays, ...] = Field(description="At most 40; then `more`.")
    more: MoreDays | None
    seconds: Count
    minimum_charge: ExplainedMinimum | None = Field(
        default=None, description="Of a `minimum_charge`: what it is made of now. Null where the line was restated."
    )
    arithmetic: Arithmetic
    words: Words = Field(description="In one sentence.")


class ExplainedBearer(Model):
    bearer: BearerKind
    reason: BearerReason | None
    words: Words


class Moved(Model):
    """The other side of an adjustment: a line of the same usage with another bearer, or by another price list, that has more where the
    adjustment has less, or less where it has more.
    """

    line: LineId
    quantity: int = Field(description="What it has more, or below zero less.")
    unit_price: UnitPrice
    amount: Money
    price_list: PriceListId
    bearer: BearerKind
    reason: BearerReason | None
    contests: tuple[ContestId, ...] = Field(description="That were upheld, where the bearer is another by that.")
    price_corrections: tuple[CorrectionId, ...] = Field(description="By which the price list is another.")
    words: Words


class Correction(Model):
    """What an adjustment makes of what was billed: `difference = now - billed_before`."""

    period: PeriodId
    period_name: Name
    billed_before: Money
    now: Money
    difference: Money
    words: Words


class LineExplanation(ExplainedPrice):
    """A line, day by day. An adjustment is explained with all that its line and what corrects it come to, and by the difference.

    What was restated after it was billed has no days any more: `restated_in` names the line that has.
    """

    line: UsageLine
    restated_in: LineId | None
    bearer: ExplainedBearer
    correction: Correction | None
    moved: tuple[Moved, ...] = Field(
        default=(), description="Where what an adjustment has less stands instead, or what it has more stood."
    )


class TierShare(Model):
    """What of a total lies in one tier of a volume discount."""

    above: int = Field(description="In units of the price: hours, or jobs.")
    percent_off: Percent
    quantity: Positive


class DiscountExplanation(Model):
    """A volume discount: `quantity`, which comes to `basis`, by the tiers that it reaches. All of it at its average price.

    An adjustment is explained with all that was discounted of its period up to it, and by the difference.
    """

    line: Line
    quantity: int
    basis: Money
    tiers: tuple[TierShare, ...]
    discount: Money
    correction: Correction | None
    words: Words = Field(description="In one sentence.")


class Factor(Model):
    """One step of an explanation: one run's seconds in one window at one price."""

    run: RunId
    line: LineId
    start: Second
    end: Second
    seconds: Count
    units: int = Field(description="Cores, accelerators, nodes, MiB, fen of a minimum charge, or 1 for a job.")
    quantity: int


class ExplainedLine(Model):
    line: UsageLine
    divisor: int
    arithmetic: Words = Field(
        examples=[
            {
                "zh": "2 核 x 40 秒 = 80 核秒；80 x 36.00 / 3600 = 0.80",
                "en": "2 cores x 40 s = 80 core-seconds; 80 x 36.00 / 3600 = 0.80",
            }
        ]
    )
    factors: tuple[Factor, ...]


class Explanation(Model):
    """A job's charge, down to the second."""

    job: JobId
    words: Words | None = Field(default=None, description="Of a resold job: which of its two sets of lines this is.")
    organization: OrganizationId
    project: ProjectId
    charged: Money = Field(description="What the organization bears.")
    borne_by_provider: Money
    notional: Money = Field(description="What time that its site didn't bill would have cost.")
    lines: tuple[ExplainedLine, ...]


class AskedShape(Model):
    """What is held in each second, over all nodes. An accelerator is of the offering's kind."""

    nodes: Positive = 1
    cpus: Count = Field(examples=[16])
    memory_mib: Count = Field(default=0, examples=[65536])
    accelerators: Count = Field(default=0, examples=[0])


class PriceQuestion(Model):
    """What would it cost to hold `shape` from `start` on for `seconds`?"""

    offering: OfferingId
    organization: OrganizationId | None = Field(
        default=None, description="For whom: one of yours. If you are in one only, it is that.", examples=[None]
    )
    options: dict[TargetField, TargetValue] = Field(
        default_factory=dict,
        max_length=20,
        description="What the job chooses of the offering's `choices`.",
        examples=[{}],
    )
    shape: AskedShape
    start: Second
    seconds: Annotated[int, Field(ge=1, le=YEAR_SECONDS, strict=True, examples=[259200])]


class TimeSpan(Model):
    """[start, end)."""

    start: Second
    end: Second


class PriceExplanation(Model):
    """What one run would cost by the newest price list, component by component and rate by rate, and what tops it up to the minimum charge
    as the only run of its attempt.

    A run over the end of a billing period is billed on lines of both, each rounded by itself. Volume discounts are of a period's total
    and not in it.
    """

    offering: OfferingId
    start: Second
    end: Second
    price_list: PriceListId
    revision: Positive
    prices: tuple[ExplainedPrice, ...] = Field(
        description="Of all that has a price, component by component; last a `minimum_charge`."
    )
    free: tuple[Component, ...] = Field(description="Held, and without a price in all that time.")
    total: Money = Field(description="Of what is billed.")
    notional: Money = Field(description="What time that the site doesn't bill would have cost.")
    words: Words
