"""What usage should cost, from scratch: usage records, tariffs and periods in, integer quantities of lines out.

The rules are those of the design ("Meter", "Bill", "Hold") and of docs/prices.md, written down a second time. Nothing is walked
second by second: usage is cut into pieces in which nothing changes, and the place where a hold runs out is found by bisection.
"""

import math
import re
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from fractions import Fraction
from functools import lru_cache
from itertools import pairwise
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

DIVISORS = {
    "cpu_core_hour": 3600,
    "memory_gib_hour": 1024 * 3600,
    "node_hour": 3600,
    "accelerator_hour": 3600,
    "job": 1,
    "minimum_charge": 1,
}
DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
BORNE_BY = {
    "succeeded": "organization",
    "user": "organization",
    "limit": "organization",
    "cancelled": "organization",
    None: "organization",
    "site": "site_fault",
    "lost": "site_fault",
    "preempted": "preempted",
    "duplicate": "duplicate",
}


class Unusable(Exception):
    """The input can't be read as what it should be, so nothing can be said about it."""


class Slot(NamedTuple):
    """What a line is about, before the question who bears it. `period` is where the seconds lie."""

    period: str
    organization: str
    provider: str
    project: str
    job: str
    component: str
    accelerator: str | None
    price_list: str
    tariff: str
    window: str
    mode: str = "billed"
    attempt: str | None = None
    """Whose minimum it is."""


class Key(NamedTuple):
    slot: Slot
    bearer: str
    reason: str | None


def fen_text(fen: int) -> str:
    return f"{'-' if fen < 0 else ''}{abs(fen) // 100}.{abs(fen) % 100:02}"


def fen_of(money: Any) -> int:
    if not isinstance(money, str) or not re.fullmatch(r"-?\d+\.\d\d", money):
        raise Unusable(f"{money!r} is not an amount with two places, as text")
    return int(money.replace(".", ""))


def round_half_away(exact: Fraction) -> int:
    whole = math.floor(abs(exact) + Fraction(1, 2))
    return whole if exact >= 0 else -whole


@dataclass(frozen=True)
class Period:
    id: str
    starts: int
    ends: int
    closed: bool


class Clock(NamedTuple):
    """What a zone's clocks show, to the minute."""

    day: str
    minute: int
    """Since midnight."""


@lru_cache(maxsize=100_000)
def shown(zone: str, minute: int) -> Clock:
    """What the clocks show in a whole minute since 1970; all zones have been whole minutes off UTC since 1972."""
    at = datetime.fromtimestamp(60 * minute, ZoneInfo(zone))
    return Clock(DAYS[at.weekday()], 60 * at.hour + at.minute)


class Window(NamedTuple):
    """A part of each week: on `days`, the minutes [start, end) of `times`."""

    name: str
    days: frozenset[str]
    times: tuple[tuple[int, int], ...]

    def holds(self, now: Clock) -> bool:
        return now.day in self.days and any(start <= now.minute < end for start, end in self.times)


class Tariff(NamedTuple):
    name: str
    starts: int
    ends: int | None
    windows: tuple[Window, ...] = ()
    minimum: int = 0
    """That an attempt costs at least, in fen."""

    def covers(self, at: int) -> bool:
        return self.starts <= at and (self.ends is None or at < self.ends)


@dataclass(frozen=True)
class PriceList:
    revision: int
    offering: str
    tariffs: tuple[Tariff, ...]
    prices: Mapping[tuple[str, str, str], Fraction]
    """(tariff, window, component) -> price of an hour of it, or of a job; what isn't there is free."""
    zone: str
    """By whose clocks its windows go."""
    created: int = 0
    tiers: Mapping[str, tuple[tuple[int, Fraction], ...]] = field(default_factory=dict)
    """component -> (above how many hours or jobs, percent off) of its volume discounts, rising."""
    modes: tuple[tuple[int, str], ...] = ()
    """From which second on time is billed, notional or tracked, in order; before the first it is billed."""


@dataclass(frozen=True)
class Rules:
    """What a second costs and in which period it lies."""

    lists: Mapping[str, PriceList]
    periods: tuple[Period, ...]

    def edges(self, price_list: str, start: int, end: int) -> list[int]:
        """`start`, `end` and every second between them at which a tariff, a window or a period begins or ends."""
        marks = {e for p in self.periods for e in (p.starts, p.ends)}
        marks |= {e for t in self.lists[price_list].tariffs for e in (t.starts, t.ends) if e is not None}
        marks |= {starts for starts, _ in self.lists[price_list].modes}
        if any(t.windows for t in self.lists[price_list].tariffs):
            minutes = range(60 * (start // 60 + 1), end, 60)
            marks |= {e for e in minutes if self.part_at(price_list, e - 1) != self.part_at(price_list, e)}
        return [start, *sorted(e for e in marks if start < e < end), end]

    def period_at(self, at: int) -> str:
        found = [p.id for p in self.periods if p.starts <= at < p.ends]
        if len(found) != 1:
            raise Unusable(f"{datetime.fromtimestamp(at, UTC)} lies in {len(found)} periods")
        return found[0]

    def part_at(self, price_list: str, at: int) -> tuple[str, str]:
        """The tariff and its window."""
        tariffs, zone = self.lists[price_list].tariffs, self.lists[price_list].zone
        tariff = next((t for t in tariffs if t.covers(at)), Tariff("none", at, None))
        if not tariff.windows:
            return tariff.name, "all"
        found = [w.name for w in tariff.windows if w.holds(shown(zone, at // 60))] or ["flat"]
        if len(found) > 1:
            raise Unusable(f"{datetime.fromtimestamp(at, UTC)} lies in the windows {', '.join(found)}")
        return tariff.name, found[0]

    def mode_at(self, price_list: str, at: int) -> str:
        return ["billed", *(mode for starts, mode in self.lists[price_list].modes if starts <= at)][-1]

    def minimum_at(self, price_list: str, at: int) -> int:
        return next((t.minimum for t in self.lists[price_list].tariffs if t.covers(at)), 0)

    def price(self, slot: Slot) -> Fraction:
        if slot.mode == "tracked":
            return Fraction(0)
        if slot.component == "minimum_charge":
            return Fraction(1, 100)
        return self.lists[slot.price_list].prices.get((slot.tariff, slot.window, slot.component), Fraction(0))

    def exact(self, slot: Slot, quantity: int) -> Fraction:
        """In fen, before the one rounding."""
        return 100 * self.price(slot) * quantity / DIVISORS[slot.component]

    def amount(self, slot: Slot, quantity: int) -> int:
        return round_half_away(self.exact(slot, quantity))


class Span(NamedTuple):
    """Seconds [start, end) in which a run held this, over all its nodes."""

    start: int
    end: int
    nodes: int
    cpus: int
    memory_mib: int
    accelerators: int
    accelerator: str | None


class Granted(NamedTuple):
    """What a run may hold at most, over all its nodes, and for how long."""

    most: Mapping[str, int]
    """By component."""
    seconds: int


@dataclass(frozen=True)
class Usage:
    """One hour of one run, with what decides its price and its bearer."""

    run: str
    hour: int
    revision: int
    job: str
    run_started: int
    """When the backend started the run. Nothing is charged by it."""
    spans: tuple[Span, ...]
    organization: str
    project: str
    provider: str
    offering: str
    price_list: str
    outcome: str | None
    hold: int
    attempt: str = ""
    attempt_ended: bool = False
    granted: Granted | None = None


class Piece(NamedTuple):
    """Seconds [start, end) of a run in which nothing changes, and what each of them adds to which line."""

    run: str
    start: int
    end: int
    adds: tuple[tuple[Slot, int], ...]


class Cut(NamedTuple):
    """In the order (second, run): the first pair that the organization no longer pays."""

    second: int
    run: str

    def before(self, piece: Piece) -> int:
        """How many of the piece's seconds stand before the cut."""
        end = min(piece.end, self.second + (piece.run < self.run))
        return max(0, end - piece.start)


class First(NamedTuple):
    """The second in which a job's price falls, and the run that has it then."""

    second: int
    run: str


def first_charged(of_job: Iterable[Usage]) -> First | None:
    """Of all the seconds that the organization would bear if the hold had no end: the earliest, and of those the lowest run's."""
    own = [usage for usage in of_job if BORNE_BY[usage.outcome] == "organization"]
    return min((First(span.start, usage.run) for usage in own for span in usage.spans), default=None)


def times_up(of_job: Iterable[Usage]) -> dict[str, int]:
    """Of each run that held something in more seconds than were granted: the first of those that are too many."""
    held: defaultdict[str, list[Span]] = defaultdict(list)
    granted = {usage.run: usage.granted for usage in of_job if usage.granted is not None}
    for usage in of_job:
        held[usage.run] += usage.spans
    found = {}
    for run, most in granted.items():
        before = 0
        for span in sorted(held[run]):
            if before <= most.seconds < before + span.end - span.start:
                found[run] = span.start + most.seconds - before
            before += span.end - span.start
    return found


def within_grant(piece: Piece, granted: Granted, up: int | None) -> Piece:
    """What of the piece was granted. It lies on one side of the second in which time was up, and has no second behind the price per job."""

    def most(slot: Slot, units: int) -> int:
        late = up is not None and piece.start >= up
        return units if slot.component == "job" else 0 if late else min(units, granted.most[slot.component])

    adds = ((slot, most(slot, units)) for slot, units in piece.adds)
    return piece._replace(adds=tuple((slot, units) for slot, units in adds if units))


def pieces_of(usage: Usage, first: First | None, rules: Rules, up: int | None = None) -> Iterator[Piece]:
    """Those of one hour; with the price per job, if that is where it falls. `up`: when the run's time was up."""

    def slot(component: str, at: int, accelerator: str | None = None) -> Slot:
        part, mode = rules.part_at(usage.price_list, at), rules.mode_at(usage.price_list, at)
        who = (usage.organization, usage.provider, usage.project, usage.job)
        return Slot(rules.period_at(at), *who, component, accelerator, usage.price_list, *part, mode)

    for span in usage.spans:
        edges = rules.edges(usage.price_list, span.start, span.end)
        for start, end in pairwise(sorted({*edges, up}) if up is not None and span.start < up < span.end else edges):
            units = [
                (slot("cpu_core_hour", start), span.cpus),
                (slot("memory_gib_hour", start), span.memory_mib),
                (slot("node_hour", start), span.nodes),
                (slot("accelerator_hour", start, span.accelerator), span.accelerators),
            ]
            yield Piece(usage.run, start, end, tuple((where, n) for where, n in units if n))
        if (span.start, usage.run) == first:
            yield Piece(usage.run, span.start, span.start + 1, ((slot("job", span.start), 1),))


def charge(pieces: Iterable[Piece], cut: Cut, rules: Rules) -> int:
    """What the seconds before the cut cost: each line rounded once."""
    quantities: Counter[Slot] = Counter()
    for piece in pieces:
        seconds = cut.before(piece)
        if seconds:
            for slot, units in piece.adds:
                quantities[slot] += seconds * units
    return sum(rules.amount(slot, quantity) for slot, quantity in quantities.items())


def overrun(pieces: list[Piece], hold: int, rules: Rules) -> Cut:
    """The latest cut before which all stays within the hold. A charge never falls as the cut moves on."""
    first, end = min(p.start for p in pieces), max(p.end for p in pieces)
    if charge(pieces, Cut(end, ""), rules) <= hold:
        return Cut(end, "")
    within = bisect_right(range(first, end), hold, key=lambda at: charge(pieces, Cut(at, ""), rules))
    at = first + within - 1
    runs = sorted({p.run for p in pieces})
    within = bisect_right(runs, hold, key=lambda run: charge(pieces, Cut(at, run), rules))
    return Cut(at, runs[within - 1])


class Lack(NamedTuple):
    """What an attempt costs less than its minimum. `second`: the last of those that count for it."""

    second: int
    attempt: str
    slot: Slot
    fen: int


def lacks(own: Iterable[tuple[Usage, Piece]], rules: Rules) -> list[Lack]:
    """Of the ended attempts of a job, whose seconds `own` has that the organization would bear if the hold had no end; in their order."""
    costs: defaultdict[str, Counter[Slot]] = defaultdict(Counter)
    last: dict[str, tuple[int, Usage]] = {}
    for usage, piece in own:
        if usage.attempt_ended:
            costs[usage.attempt].update({slot: units * (piece.end - piece.start) for slot, units in piece.adds})
            second = max(piece.end - 1, last[usage.attempt][0] if usage.attempt in last else 0)
            last[usage.attempt] = (second, usage)
    found = []
    for attempt, (second, u) in last.items():
        lacking = rules.minimum_at(u.price_list, second) - sum(rules.amount(*cost) for cost in costs[attempt].items())
        if lacking > 0:
            who = (u.organization, u.provider, u.project, u.job, "minimum_charge", None, u.price_list)
            part = rules.part_at(u.price_list, second)
            found.append(Lack(second, attempt, Slot(rules.period_at(second), *who, *part, attempt=attempt), lacking))
    return sorted(found)


def recompute(in_force: Iterable[Usage], rules: Rules) -> dict[Key, int]:
    """The integer quantity of every line that there should be, as if no period had ever been closed."""
    jobs: defaultdict[str, list[Usage]] = defaultdict(list)
    for usage in in_force:
        jobs[usage.job].append(usage)
    lines: Counter[Key] = Counter()
    for records in jobs.values():
        own: list[Piece] = []
        minimal: list[tuple[Usage, Piece]] = []
        first, up = first_charged(records), times_up(records)
        for usage in records:
            bearer = BORNE_BY[usage.outcome]
            for piece in pieces_of(usage, first, rules, up.get(usage.run)):
                mode = rules.mode_at(usage.price_list, piece.start)
                if mode == "billed" and bearer == "organization":
                    granted = within_grant(piece, usage.granted, up.get(usage.run)) if usage.granted else piece
                    beyond = Counter(dict(piece.adds))
                    beyond.subtract(dict(granted.adds))
                    for slot, units in beyond.items():
                        lines[Key(slot, "provider", "overrun")] += units * (piece.end - piece.start)
                    if granted.adds:
                        own.append(granted)
                        minimal.append((usage, granted))
                    continue
                borne = ("provider", bearer) if mode == "billed" else ("nobody", mode)
                for slot, units in piece.adds:
                    lines[Key(slot, *borne)] += units * (piece.end - piece.start)
        cut = overrun(own, records[0].hold, rules) if own else Cut(0, "")
        for piece in own:
            paid = cut.before(piece)
            for slot, units in piece.adds:
                lines[Key(slot, "organization", None)] += units * paid
                lines[Key(slot, "provider", "overrun")] += units * (piece.end - piece.start - paid)
        left = records[0].hold - charge(own, cut, rules)
        for lack in lacks(minimal, rules):
            paid = min(lack.fen, left)
            left -= paid
            lines[Key(lack.slot, "organization", None)] += paid
            lines[Key(lack.slot, "provider", "overrun")] += lack.fen - paid
    return {key: quantity for key, quantity in lines.items() if quantity}
