"""The lines of a job, as a function of its facts: all its usage records, how its runs ended, and how much was held for it. Pure.

Facts are a set: nothing here depends on the order they came in, how often, or in which pieces. Seconds are integers since the epoch,
amounts are fen.

Who bears a second: nobody, where the site's mode at that second doesn't bill, however its run ended (`notional`, `tracked`). Else
the organization, unless its run ended by the site's fault or is lost (`site_fault`), made room for another (`preempted`, unless its
offering said at the attempt's placement that the organization bears that) or should never have run (`duplicate`). What of that is
beyond the attempt's grant is the provider's (`overrun`): in each second the units above it, and whole seconds of a run behind the first
`max_seconds` in which it held anything. So is what would then pass the hold: take the organization's seconds in the order of (second,
run id); the longest prefix whose lines sum to at most the hold is the organization's, the rest is not.

What a reseller sells on has two sets of lines: what it buys of the provider, and what the organization buys of it. Each is made like
this by its own prices, also the price per job where it falls in that set, but a second that one hold doesn't cover is the provider's in
both.

The price per job is charged once, in the first of all the seconds, in that order, of runs whose end doesn't make them the provider's: as
that run's price list has it then. Where there is no such second it isn't charged.

What an ended attempt costs less than its tariff's minimum charge tops it up (`minimum.py`). Only what the hold has left beside all
seconds pays for that: the rest is the provider's.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import cache
from typing import Final, NamedTuple

from caravan import pricing
from caravan.contracts.jobs import Outcome
from caravan.contracts.modes import SiteMode
from caravan.contracts.offerings import PreemptedBearer
from caravan.contracts.prices import Component, PriceList
from caravan.contracts.statements import BearerKind, BearerReason
from caravan.contracts.usage import Grant, Span
from caravan.kernel.clock import HOUR_SECONDS, to_seconds
from services.accounting.charging.pieces import Piece

PROVIDER_BEARS: Final = {
    Outcome.SITE: BearerReason.SITE_FAULT,
    Outcome.LOST: BearerReason.SITE_FAULT,
    Outcome.PREEMPTED: BearerReason.PREEMPTED,
    Outcome.DUPLICATE: BearerReason.DUPLICATE,
}
NOBODY_BEARS: Final = {
    SiteMode.NOTIONAL: BearerReason.NOTIONAL,
    SiteMode.TRACKED: BearerReason.TRACKED,
}


@dataclass(frozen=True, slots=True)
class Terms:
    """Of an attempt: who owes whom for its runs, by which prices (as they are for it: `pricing.prices_for`); whether the books of all of
    them are closed.

    `price_list` is the one it was placed by; `corrections` of it stand in the order of their approval (see `pieces`).
    """

    organization: str
    project: str
    provider: str
    price_list: PriceList
    attempt: str = ""
    ended: bool = False
    corrections: tuple[Piece, ...] = ()

    @property
    def lists(self) -> list[PriceList]:
        """All that price some of its seconds, or may."""
        own = [self.price_list, *(piece.price_list for piece in self.corrections)]
        return own if self.wholesale is None else own + self.wholesale.lists

    grant: Grant | None = None
    """Of each run; None: it isn't known, and has no end."""
    reseller: str = ""
    """Who sells to the organization; '': the provider."""
    wholesale: "Terms | None" = None
    """By what the reseller buys the same seconds."""
    preempted_borne_by: PreemptedBearer = PreemptedBearer.PROVIDER


@dataclass(frozen=True, slots=True)
class Record:
    """One hour of one run in its last revision. `outcome` is None until the run's books are final. `job_second`: in which the price per
    job falls, if that is one of this run's, in whichever hour. `time_up`: from which second on the run has held something for longer than
    it was granted, if it has, in whichever hour."""

    run: str
    job_second: int | None
    spans: tuple[Span, ...]
    terms: Terms
    outcome: Outcome | None
    time_up: int | None = None


class Start(NamedTuple):
    """Where a job's price falls: in the run's `second`. The least of them is the job's."""

    second: int
    run: str

    @property
    def hour(self) -> int:
        """The UTC hour that it lies in, by its first second."""
        return self.second - self.second % HOUR_SECONDS


class PeriodSpan(NamedTuple):
    """A period, or the part of it that matters: [start, end)."""

    period: str
    start: int
    end: int


class Key(NamedTuple):
    """What makes a line of a job one line. `period` is where its seconds lie; '' stands for none."""

    period: str
    organization: str
    provider: str
    project: str
    price_list: str
    price_list_revision: int
    component: Component
    accelerator: str
    tariff: str
    window: str
    unit_price: Decimal
    bearer: BearerKind
    reason: str
    attempt: str = ""
    """Which a minimum charge is of; all other lines are of all attempts."""
    reseller: str = ""
    """Who sells it; '': the provider itself."""

    @property
    def seller(self) -> str:
        """Whom the organization owes what it bears."""
        return self.reseller or self.provider

    @property
    def billed(self) -> bool:
        """Whether the organization bears it: only then money moves."""
        return self.bearer is BearerKind.ORGANIZATION

    def amount(self, quantity: int) -> int:
        """The once-rounded price of `quantity`, in fen."""
        return pricing.amount(self.component, quantity, self.unit_price)


@dataclass(frozen=True, slots=True)
class Portion:
    """[start, end) in which one run had `units` of one component, under one key."""

    run: str
    key: Key
    start: int
    end: int
    units: int

    @property
    def quantity(self) -> int:
        return self.units * (self.end - self.start)


def provider_bears(outcome: Outcome | None, preempted: PreemptedBearer) -> BearerReason | None:
    """Why the provider bears a run that ended so, where that is who bears what is `preempted`; None: it doesn't."""
    if outcome is None or (outcome is Outcome.PREEMPTED and preempted is PreemptedBearer.ORGANIZATION):
        return None
    return PROVIDER_BEARS.get(outcome)


def by_buyer(records: Iterable[Record]) -> dict[str, list[Record]]:
    """A job's records as each pays for them who buys: its organization all, and a reseller those that it sells on, by its own terms."""
    found: dict[str, list[Record]] = {}
    for record in records:
        found.setdefault(record.terms.organization, []).append(record)
        if (wholesale := record.terms.wholesale) is not None:
            found.setdefault(wholesale.organization, []).append(replace(record, terms=wholesale))
    return found


def first_start(records: Iterable[Record]) -> Start | None:
    """Where the price of a job falls, from all of its records."""
    return min(
        (
            Start(to_seconds(record.spans[0].start), record.run)
            for record in records
            if record.spans and provider_bears(record.outcome, record.terms.preempted_borne_by) is None
        ),
        default=None,
    )


def starting(record: Record, start: Start | None) -> Record:
    """The same record of a job whose price falls there."""
    second = start.second if start is not None and start.run == record.run else None
    return record if record.job_second == second else replace(record, job_second=second)


def time_up(spans: Iterable[Span], grant: Grant | None) -> int | None:
    """The second that follows the first `max_seconds` in which a run held anything. `spans`: all that it held. None: there is none."""
    if grant is None:
        return None
    left = grant.max_seconds
    for start, end in sorted((to_seconds(span.start), to_seconds(span.end)) for span in spans):
        if end - start > left:
            return start + left
        left -= end - start
    return None


def timed(records: Sequence[Record]) -> list[Record]:
    """The same, which are all of their runs, with the second in which each run's time was up."""
    spans: defaultdict[str, list[Span]] = defaultdict(list)
    for record in records:
        spans[record.run] += record.spans
    grants = {record.run: record.terms.grant for record in records}
    ups = {run: time_up(spans[run], grant) for run, grant in grants.items()}
    return [replace(record, time_up=ups[record.run]) for record in records]


def portions(record: Record, calendar: Sequence[PeriodSpan]) -> list[Portion]:
    """What `record` adds to lines by the prices of placement, with the bearer that the site's mode, the run's outcome and its grant make.

    `calendar` covers its spans.
    """
    found, grant = _by_outcome(record, calendar), record.terms.grant
    return [part for portion in found for part in _by_grant(portion, grant, record.time_up)] if grant else found


def _by_outcome(record: Record, calendar: Sequence[PeriodSpan]) -> list[Portion]:
    terms, edges = record.terms, [period.start for period in calendar]
    if record.time_up is not None:
        edges.append(record.time_up)
    borne = _bearers(record.outcome, terms.preempted_borne_by)
    return [
        Portion(
            record.run,
            Key(
                period=_period_of(calendar, piece.start),
                organization=terms.organization,
                provider=terms.provider,
                project=terms.project,
                price_list=terms.price_list.id,
                price_list_revision=terms.price_list.revision,
                component=piece.key.component,
                accelerator=piece.key.accelerator or "",
                tariff=piece.key.tariff,
                window=piece.key.window,
                unit_price=pricing.unit_price(
                    terms.price_list, piece.key.tariff, piece.key.window, piece.key.component, piece.key.mode
                ),
                bearer=borne[piece.key.mode][0],
                reason=borne[piece.key.mode][1],
                reseller=terms.reseller,
            ),
            piece.start,
            piece.end,
            piece.units,
        )
        for piece in pricing.quantities(record.spans, terms.price_list, record.job_second, edges)
    ]


@cache
def _bearers(outcome: Outcome | None, preempted: PreemptedBearer) -> Mapping[SiteMode, tuple[BearerKind, str]]:
    return {mode: _bearer(mode, outcome, preempted) for mode in SiteMode}


def _by_grant(portion: Portion, grant: Grant, up: int | None) -> list[Portion]:
    """What of it is within the grant and what isn't. It lies on one side of the second in which time was up."""
    if not portion.key.billed or portion.key.component is Component.JOB:
        return [portion]
    within = (
        0 if up is not None and portion.start >= up else dict(pricing.units_of(grant)).get(portion.key.component, 0)
    )
    if portion.units <= within:
        return [portion]
    beyond = replace(portion, key=_overrun(portion.key), units=portion.units - within)
    return [replace(portion, units=within), beyond] if within else [beyond]


def _bearer(mode: SiteMode, outcome: Outcome | None, preempted: PreemptedBearer) -> tuple[BearerKind, str]:
    """Who bears a second in that mode of a run that ended so, and why; up to its hold."""
    if mode in NOBODY_BEARS:
        return BearerKind.NOBODY, NOBODY_BEARS[mode].value
    if reason := provider_bears(outcome, preempted):
        return BearerKind.PROVIDER, reason.value
    return BearerKind.ORGANIZATION, ""


def mode_of(key: Key) -> SiteMode:
    """The mode of the site in the seconds of a line."""
    return next((mode for mode, reason in NOBODY_BEARS.items() if reason == key.reason), SiteMode.BILLED)


class Cut(NamedTuple):
    """A place in the order of (second, run id): before it stand all seconds before `second`, and `second` of runs before `run`."""

    second: int
    run: str

    def end_for(self, run: str) -> int:
        """The first second of `run` that doesn't stand before the cut."""
        return self.second + 1 if run < self.run else self.second


def assigned(all_portions: Iterable[Portion], hold_amount: int, top_ups: Sequence[Portion] = ()) -> list[Portion]:
    """The portions of a whole job with their bearers: what would pass the hold is the provider's, `top_ups` before any second."""
    kept = list(all_portions)
    within = cut_off(kept, used_up(kept, hold_amount))
    return [*within, *paid(top_ups, hold_amount - cost(quantities(within)))]


def used_up(all_portions: Iterable[Portion], hold_amount: int) -> Cut | None:
    """Where the hold is used up, in the portions of a whole job; None: it covers them all."""
    billed = [portion for portion in all_portions if portion.key.billed]
    return None if cost(quantities(billed)) <= hold_amount else _longest_prefix(billed, hold_amount)


def earliest(cuts: Iterable[Cut | None]) -> Cut | None:
    """The first of them; None: there is none."""
    return min((cut for cut in cuts if cut is not None), default=None)


def cut_off(some: Iterable[Portion], cut: Cut | None) -> list[Portion]:
    """The portions, with the provider as the bearer of what doesn't stand before `cut`."""
    if cut is None:
        return list(some)
    out = []
    for portion in some:
        edge = min(max(cut.end_for(portion.run), portion.start), portion.end)
        if not portion.key.billed:
            out.append(portion)
            continue
        if portion.start < edge:
            out.append(replace(portion, end=edge))
        if edge < portion.end:
            out.append(replace(portion, key=_overrun(portion.key), start=edge))
    return out


def paid(top_ups: Iterable[Portion], left: int) -> list[Portion]:
    """The top-ups with their bearers: the organization as far as `left`, what the hold has left, goes."""
    out = []
    for portion in sorted(top_ups, key=lambda top_up: (top_up.start, top_up.key.attempt)):
        out += parted_at(portion, left)
        left -= min(portion.units, left)
    return out


def parted_at(top_up: Portion, most: int) -> list[Portion]:
    """A top-up with at most `most` fen of it the organization's, and the rest the provider's."""
    own = min(top_up.units, most)
    both = replace(top_up, units=own), replace(top_up, key=_overrun(top_up.key), units=top_up.units - own)
    return [portion for portion in both if portion.units]


def overrun_from(some: Iterable[Portion]) -> int | None:
    """The second in which the hold was used up; None: it covers them all. `some`: with their bearers, the portions of a whole job that are
    within its grants."""
    return min((portion.start for portion in some if portion.key.reason == BearerReason.OVERRUN), default=None)


def parted(some: Iterable[Portion], used_up: int) -> tuple[list[Portion], list[Portion]]:
    """What lies up to `used_up` (`overrun_from`), that second included; and what lies behind it, with the provider as its bearer.

    Where the prefix ends depends on the first part alone: as long as that stays, what comes or goes behind it changes its own lines only.
    """
    within, behind = [], []
    for portion in some:
        edge = min(max(used_up + 1, portion.start), portion.end)
        if portion.start < edge:
            within.append(replace(portion, end=edge))
        if edge < portion.end:
            behind.append(replace(portion, key=_overrun(portion.key), start=edge))
    return within, behind


def quantities(some: Iterable[Portion]) -> Counter[Key]:
    """The quantity of each line."""
    total: Counter[Key] = Counter()
    for portion in some:
        total[portion.key] += portion.quantity
    return total


def cost(lines: Mapping[Key, int]) -> int:
    """What the organization bears of `lines`, in fen."""
    return sum(key.amount(quantity) for key, quantity in lines.items() if key.billed)


def _overrun(key: Key) -> Key:
    """What is beyond the grant or the hold is the provider's, where it was the organization's."""
    return key._replace(bearer=BearerKind.PROVIDER, reason=BearerReason.OVERRUN.value) if key.billed else key


def _longest_prefix(billed: Sequence[Portion], hold_amount: int) -> Cut:
    """The last cut before which the lines sum to at most `hold_amount`. All of `billed` sums to more."""

    def fits(cut: Cut) -> bool:
        lines: Counter[Key] = Counter()
        for portion in billed:
            seconds = min(cut.end_for(portion.run), portion.end) - portion.start
            if seconds > 0:
                lines[portion.key] += portion.units * seconds
        return cost(lines) <= hold_amount

    first, last = min(p.start for p in billed), max(p.end for p in billed)
    second = _last(first, last, lambda at: fits(Cut(at, "")))
    runs = sorted({p.run for p in billed if p.start <= second < p.end})
    return Cut(second, runs[_last(0, len(runs), lambda index: fits(Cut(second, runs[index])))])


def _last(low: int, high: int, holds: Callable[[int], bool]) -> int:
    """The last number of [low, high) for which `holds`, which is true for `low` and, once false, stays so."""
    while high - low > 1:
        middle = (low + high) // 2
        if holds(middle):
            low = middle
        else:
            high = middle
    return low


def _period_of(calendar: Sequence[PeriodSpan], second: int) -> str:
    for period in calendar:
        if period.start <= second < period.end:
            return period.period
    raise ValueError(f"no period covers second {second}")
