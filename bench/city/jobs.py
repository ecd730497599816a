"""The city's jobs, some that run beside each other at a time, and what the broker says of them and when.

Of the usage records one in twenty is late (told months later, when its period is closed), doubled, reordered (told behind all that
follows it) or revised (told wrong first, right later). Nothing is kept of what was made, but what is told in a later month.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from itertools import pairwise
from random import Random
from typing import Any, Final, NamedTuple

from bench.charges.history import OUTCOMES, SUSPENDED, TRIED_AGAIN
from bench.charges.market import identifier
from bench.city.prices import HIGH, QOS
from bench.city.town import Buying, Mistake, Sold, Town
from bench.city.year import AFTER, HOUR, written
from caravan import pricing
from caravan.contracts import events
from caravan.contracts.jobs import Outcome
from caravan.contracts.offerings import PreemptedBearer
from caravan.contracts.prices import PRICED, Component, PriceList
from caravan.kernel.clock import from_seconds, to_seconds
from caravan.kernel.money import Money

LATE, DOUBLED, REORDERED, REVISED = 0.0125, 0.0125, 0.0125, 0.0125
"""Shares of the usage records."""
RUNS: Final = {1: 30, 2: 15, 4: 30, 8: 25}
"""How many tasks jobs have, by weight."""
LENGTHS: Final = {range(1): 4, range(20, 3 * HOUR): 60, range(3 * HOUR, 9 * HOUR): 31, range(9 * HOUR, 30 * HOUR): 5}
"""How many seconds runs hold something, by weight."""
RECORDS_PER_JOB: Final = 20
"""About so many come of a job."""
SUBMITTED: Final = 36 * HOUR
"""How long before they start jobs are submitted. They are placed in between."""
SHORT: Final = 10
"""Of each group's jobs, the first and each tenth behind it have too little held for them; some of these get more later."""
SPARE: Final = 200_000
"""More than an attempt needs that is held for it, in fen."""
CONTESTABLE: Final = (Outcome.LOST, Outcome.PREEMPTED)


class Fact(NamedTuple):
    """What the broker says, as JSON."""

    type: str
    subject: str
    data: str


@dataclass
class Told:
    """What is told at one time, in this order. `holds`: JobHoldRequest."""

    holds: list[dict[str, Any]] = field(default_factory=list)
    facts: list[Fact] = field(default_factory=list)


@dataclass
class Books:
    """What a player keeps while it tells the year: what is told in later months, and what of it was counted."""

    later: defaultdict[int, Told] = field(default_factory=lambda: defaultdict(Told))
    counts: Counter[str] = field(default_factory=Counter)
    settled: bool = False
    """Whether all runs end, some months later."""
    contestable: list[tuple[str, str]] = field(default_factory=list)
    """(run, provider) of the month."""


class _Stretch(NamedTuple):
    """[start, end) in which a run held so many cores, and all else as it was granted."""

    start: int
    end: int
    cpus: int


def draw_group(
    random: Random, town: Town, books: Books, number: int, begins: datetime, jobs: int, wrong: Mistake | None = None
) -> Told:
    """Jobs that start within an hour and a half of `begins`, in a month; on any offerings, or all of them what is `wrong`."""
    group = _Group(random, town, books, number, wrong)
    for place in range(jobs):
        _Job(group, to_seconds(begins), short=place % SHORT == 0).tell()
    return group.told()


class _Group:
    """What is said of the jobs of a group: first of all placements, then usage by hours, then ends, then what was out of order."""

    def __init__(self, random: Random, town: Town, books: Books, number: int, wrong: Mistake | None) -> None:
        self.random, self.town, self.books, self.number = random, town, books, number
        self.sold = (wrong.sold,) if wrong else town.sold
        self._members = wrong.reselling.agreement.members if wrong and wrong.reselling else None
        self.holds: list[dict[str, Any]] = []
        self.first: list[Fact] = []
        self.hours: defaultdict[int, list[Fact]] = defaultdict(list)
        self.ends: list[Fact] = []
        self.last: list[Fact] = []

    def buyer(self) -> Buying:
        if self._members is not None:
            member = self.random.choice(self._members)
            return next(one for one in self.town.buyers if one.id == member)
        return self.random.choices(self.town.buyers, cum_weights=self.town.weights)[0]

    def told(self) -> Told:
        by_hour = [fact for hour in sorted(self.hours) for fact in self.hours[hour]]
        self.random.shuffle(self.last)
        return Told(self.holds, [*self.first, *by_hour, *self.ends, *self.last])

    def later(self, months: int) -> Told:
        return self.books.later[min(self.number + months, AFTER)]

    def count(self, what: str) -> None:
        self.books.counts[what] += 1


class _Job:
    def __init__(self, group: _Group, begins: int, *, short: bool) -> None:
        self._group, self._random, self._begins, self._short = group, group.random, begins, short
        self.id = identifier(self._random, "job")
        self._buyer = group.buyer()
        self._project = self._random.choice(self._buyer.projects)
        self._rough, self._enough, self._wholesale = Decimal(0), Decimal(0), Decimal(0)
        self._ahead: list[tuple[str, dict[Component, Decimal]]] = []
        """Of each attempt its offering, and what its components come to at most, in fen."""
        self._resale: dict[str, str] | None = None
        """Who resells it, and the project that buys."""
        self._settled: list[dict[str, Any]] = []
        self._ended = 0
        """After how many months all its runs have ended; -1: they don't."""

    def tell(self) -> None:
        random, group = self._random, self._group
        group.first.append(_fact(events.JOB_NAMED, self.id, {"job": self.id, "name": "算例"}))
        (tasks,) = random.choices(list(RUNS), list(RUNS.values()))
        again = self._attempt(tasks, self._begins)
        if again:
            self._attempt(again, self._begins + 2 * HOUR)
        raised = self._hold()
        if self._ended >= 0:
            due = max(self._ended, raised)
            settled = {"job": self.id, "hold_revision": 1, "runs": self._settled}
            (group.later(due).facts if due else group.ends).append(_fact(events.JOB_SETTLED, self.id, settled))

    def _attempt(self, tasks: int, start: int) -> int:
        """Returns how many of its tasks are tried again."""
        random, group = self._random, self._group
        sold = random.choice(group.sold)
        at = from_seconds(start - random.randrange(SUBMITTED))
        retail = self._retail(sold, at)
        price_list = retail or sold.prices.at(at)
        qos = {QOS: HIGH} if random.random() < 0.3 else {}
        attempt = _Attempt(identifier(random, "att"), self.id, _shape(random, sold))
        longest = random.choices((30 * HOUR, 2 * HOUR, None), (75, 15, 10))[0]
        grant = None if longest is None else attempt.shape | {"max_seconds": longest}
        group.first.append(
            _fact(
                events.ATTEMPT_PLACED,
                self.id,
                {
                    "attempt": attempt.id,
                    "job": self.id,
                    "organization": self._buyer.id,
                    "project": self._project,
                    "offering": sold.id,
                    "site": sold.site,
                    "provider": sold.provider,
                    "price_list": price_list.id,
                    "price_class": self._buyer.price_class(at),
                    "options": pricing.options_of(price_list, qos),
                    "grant": grant,
                    "resale": self._bought(retail, sold.prices.at(at), at, qos),
                    "preempted_borne_by": sold.preempted_borne_by,
                },
            )
        )
        again, ended, seconds = 0, 0, 0
        for _ in range(tasks):
            (outcome,) = random.choices(list(OUTCOMES), list(OUTCOMES.values()))
            run = identifier(random, "run")
            stretches, started = _drawn(random, attempt.shape["cpus"], start)
            seconds += sum(one.end - one.start for one in stretches)
            self._settled.append({"run": run, "hours": self._usage(attempt, run, started, stretches)})
            if outcome is None and not group.books.settled:
                ended = -1
                continue
            if outcome is None:
                outcome, late = Outcome.SUCCEEDED, 3
            else:
                late = random.randint(1, 2) if random.random() < 0.03 else 0
            final = _fact(
                events.RUN_FINAL, self.id, {"run": run, "attempt": attempt.id, "job": self.id, "outcome": outcome}
            )
            (group.later(late).facts if late else group.ends).append(final)
            ended = max(ended, late) if ended >= 0 else -1
            again += outcome in TRIED_AGAIN
            charged = (outcome, sold.preempted_borne_by) == (Outcome.PREEMPTED, PreemptedBearer.ORGANIZATION)
            if outcome in CONTESTABLE and not charged and not late:
                group.books.contestable.append((run, sold.provider))
        if ended >= 0:
            fact = _fact(events.ATTEMPT_ENDED, self.id, {"attempt": attempt.id, "job": self.id})
            (group.later(ended).facts if ended else group.ends).append(fact)
        self._ended = max(self._ended, ended) if self._ended >= 0 and ended >= 0 else -1
        rough, most = _costs(price_list, attempt.shape, seconds)
        self._rough += rough
        self._enough += sum(most.values()) + SPARE
        self._ahead.append((sold.id, most))
        if retail is not None:
            self._wholesale += sum(_costs(sold.prices.at(at), attempt.shape, seconds)[1].values()) + SPARE
        return again

    def _retail(self, sold: Sold, placed: datetime) -> PriceList | None:
        """By which list a reseller sells the offering; None: the centre does."""
        submitted = from_seconds(self._begins - SUBMITTED)
        found = (one.list_for(self._buyer.id, submitted, sold.id, placed) for one in self._group.town.resold)
        return next((one for one in found if one is not None), None)

    def _bought(
        self, retail: PriceList | None, wholesale: PriceList, at: datetime, qos: dict[str, str]
    ) -> dict[str, Any] | None:
        if retail is None:
            return None
        town = self._group.town
        (agreement,) = (one.agreement for one in town.resold if one.agreement.reseller == retail.reseller)
        self._resale = {"organization": agreement.reseller, "project": agreement.project}
        return {
            "reseller": agreement.reseller,
            "project": agreement.project,
            "price_list": wholesale.id,
            "price_class": town.price_class(agreement.reseller, at),
            "options": pricing.options_of(wholesale, qos),
        }

    def _hold(self) -> int:
        """Ask for it; returns in how many months more is asked for."""
        random, group = self._random, self._group
        if not self._short:
            group.holds.append(self._asked(1, int(self._enough)))
            return 0
        amount = 1 + int(self._rough * random.randint(5, 60) / 100)
        group.holds.append(self._asked(1, amount))
        months = random.choice((0, 1, 2, 3))
        if months:
            group.later(months).holds.append(self._asked(2, amount * random.randint(105, 400) // 100))
        return months

    def _asked(self, revision: int, fen: int) -> dict[str, Any]:
        return {
            "job": self.id,
            "revision": revision,
            "organization": self._buyer.id,
            "project": self._project,
            "amount": str(Money(fen)),
            "submitted_at": written(self._begins - SUBMITTED),
            "ahead": [self._use(offering, most, fen) for offering, most in self._ahead],
            "resale": self._resale and self._resale | {"amount": str(Money(int(self._wholesale)))},
        }

    def _use(self, offering: str, most: dict[Component, Decimal], fen: int) -> dict[str, Any]:
        """A HoldUse: all of it, or where less than enough is held its part of that."""
        enough = int(self._enough)
        parts = {component: int(one) * min(fen, enough) // enough for component, one in most.items()}
        return {
            "offering": offering,
            "components": {component: str(Money(part)) for component, part in parts.items() if part},
        }

    def _usage(self, attempt: "_Attempt", run: str, started: int, stretches: Sequence[_Stretch]) -> dict[str, int]:
        """Tell the run's usage; returns hour -> last revision."""
        revisions: dict[str, int] = {}
        random, group = self._random, self._group
        for hour, held in _by_hour(stretches):
            revised = random.random() < REVISED
            revision = 2 if revised else 1
            revisions[written(hour)] = revision
            group.count("records")

            def record(revision: int, held: Sequence[_Stretch], hour: int = hour) -> Fact:
                return attempt.record(run, started, hour, revision, held)

            right = record(revision, held)
            if revised:
                self._revise(record(1, _mistaken(random, held)), right, hour)
                continue
            draw = random.random()
            if draw < LATE:
                group.count("late")
                group.later(random.randint(1, 3)).facts.append(right)
            elif draw < LATE + REORDERED:
                group.count("reordered")
                group.last.append(right)
            else:
                group.hours[hour].append(right)
                if draw < LATE + REORDERED + DOUBLED:
                    group.count("doubled")
                    (group.later(random.randint(1, 3)).facts if random.random() < 0.5 else group.last).append(right)
        return revisions

    def _revise(self, wrong: Fact, right: Fact, hour: int) -> None:
        """At once, months later, or the right one first."""
        random, group = self._random, self._group
        group.count("revised")
        how = random.random()
        group.hours[hour].append(right if how < 0.2 else wrong)
        behind = wrong if how < 0.2 else right
        (group.last if how < 0.5 else group.later(random.randint(1, 3)).facts).append(behind)


class _Attempt(NamedTuple):
    id: str
    job: str
    shape: dict[str, Any]

    def record(self, run: str, started: int, hour: int, revision: int, held: Sequence[_Stretch]) -> Fact:
        spans = [self.shape | {"start": written(one.start), "end": written(one.end), "cpus": one.cpus} for one in held]
        return _fact(
            events.USAGE_STATED,
            self.job,
            {
                "run": run,
                "attempt": self.id,
                "job": self.job,
                "hour": written(hour),
                "revision": revision,
                "run_started_at": written(started),
                "backend_identity": run,
                "spans": spans,
            },
        )


def _fact(type_: str, subject: str, data: dict[str, Any]) -> Fact:
    return Fact(type_, subject, json.dumps(data, ensure_ascii=False, separators=(",", ":")))


def _shape(random: Random, sold: Sold) -> dict[str, Any]:
    nodes = random.choice((1, 1, 1, 2))
    return {
        "nodes": nodes,
        "cpus": nodes * random.choice((1, 2, 3, 5, 7, 8, 13, 15, 32)),
        "memory_mib": nodes * (1024 * random.choice((1, 3, 7, 15, 16, 63)) + random.choice((0, 0, 0, 512))),
        "accelerators": nodes * random.choice((1, 1, 3, 4)) if sold.accelerator else 0,
        "accelerator": sold.accelerator,
    }


def _drawn(random: Random, cpus: int, start: int) -> tuple[list[_Stretch], int]:
    """What a run held, and when its backend started it: it may hold nothing at first; sometimes there is a gap in it, or more cores."""
    started = start + random.randrange(5400)
    (suspended,) = random.choices(list(SUSPENDED), list(SUSPENDED.values()))
    (lengths,) = random.choices(list(LENGTHS), list(LENGTHS.values()))
    begin = started + random.choice(suspended)
    edges = [begin, begin + random.choice(lengths)]
    if edges[1] - begin > 100 and random.random() < 0.3:
        edges[1:1] = sorted(random.sample(range(begin + 1, edges[1]), 2))
    stretches = [_Stretch(a, b, cpus) for a, b in pairwise(edges) if a < b]
    if len(stretches) == 3:
        if random.random() < 0.5:
            del stretches[1]
        else:
            stretches[1] = stretches[1]._replace(cpus=cpus + random.randint(1, 3))
    return stretches, started


def _by_hour(stretches: Sequence[_Stretch]) -> Iterator[tuple[int, list[_Stretch]]]:
    hours: defaultdict[int, list[_Stretch]] = defaultdict(list)
    for one in stretches:
        start = one.start
        while start < one.end:
            hour = start - start % HOUR
            end = min(one.end, hour + HOUR)
            hours[hour].append(one._replace(start=start, end=end))
            start = end
    yield from hours.items()


def _mistaken(random: Random, held: Sequence[_Stretch]) -> list[_Stretch]:
    """An earlier idea of it."""
    kind, last = random.randrange(3), held[-1]
    if kind == 0:
        return []
    if kind == 1:
        return [*held[:-1], last._replace(end=random.randint(last.start + 1, last.end))]
    return [*held[:-1], last._replace(cpus=last.cpus + random.randint(1, 3))]


def _costs(price_list: PriceList, shape: dict[str, Any], seconds: int) -> tuple[Decimal, dict[Component, Decimal]]:
    """About what so many seconds cost, and what an attempt that holds them can't pass; in fen. A minimum charge takes the place of all."""
    rates = _rates(price_list)
    units = {
        Component.CPU_CORE_HOUR: shape["cpus"] + 3,
        Component.MEMORY_GIB_HOUR: Decimal(shape["memory_mib"]) / 1024,
        Component.NODE_HOUR: shape["nodes"],
        Component.ACCELERATOR_HOUR: shape["accelerators"],
    }
    rough = sum(100 * rates[component][0] * count * seconds / HOUR for component, count in units.items())
    most = {component: 100 * rates[component][1] * count * seconds / HOUR for component, count in units.items()}
    most[Component.JOB] = 100 * rates[Component.JOB][1]
    minima = [one.minimum_charge.fen for one in price_list.tariffs if one.minimum_charge is not None]
    return Decimal(rough), most | ({Component.MINIMUM_CHARGE: Decimal(max(minima))} if minima else {})


def _rates(price_list: PriceList) -> dict[Component, tuple[Decimal, Decimal]]:
    """What each component costs at first, and at most."""
    if price_list.id not in _RATES:
        tariffs = price_list.tariffs
        parts = [prices for tariff in tariffs for prices in (tariff.prices, *(one.prices for one in tariff.windows))]
        _RATES[price_list.id] = {
            component: (tariffs[0].prices.get(component, FREE), max(prices.get(component, FREE) for prices in parts))
            for component in PRICED
        }
    return _RATES[price_list.id]


FREE: Final = Decimal(0)
_RATES: Final[dict[str, dict[Component, tuple[Decimal, Decimal]]]] = {}
