"""A history drawn from a seed: hundreds of jobs whose usage comes late, doubled, revised, out of order, across a cut and a month's end.

Some runs hold nothing in their first second, and some of these nothing in its hour. The history has four phases. A period is cut after
the first, closed after the second, and the month that it was cut from is closed after the third: what comes later for them becomes
adjustments, some of which stand in a closed period themselves.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import chain, pairwise
from random import Random
from typing import Final

from bench.charges.market import HOURS, Event, Market, Seller, at, draw_market, identifier
from caravan import pricing
from caravan.contracts import events
from caravan.contracts.funds import HoldRequest
from caravan.contracts.jobs import Outcome
from caravan.contracts.modes import SiteMode
from caravan.contracts.prices import PriceList, Tariff
from caravan.contracts.usage import (
    AttemptEnded,
    AttemptPlaced,
    Grant,
    JobNamed,
    JobSettled,
    RunFinal,
    RunUsage,
    Span,
    UsageRecord,
)
from caravan.kernel.clock import floor_hour, to_seconds
from caravan.kernel.money import Money

CUT: Final = at(4999)
"""Where March is cut in two."""
MONTH_END: Final = at(4 * 3600)
"""Where April starts in Asia/Shanghai."""
PHASES: Final = 4
OUTCOMES: Final = {
    Outcome.SUCCEEDED: 60,
    Outcome.USER: 10,
    Outcome.LIMIT: 5,
    Outcome.CANCELLED: 5,
    Outcome.SITE: 8,
    Outcome.PREEMPTED: 4,
    Outcome.LOST: 4,
    Outcome.DUPLICATE: 4,
    None: 4,
}
"""How runs end, by weight; None: it isn't known yet."""
SUSPENDED: Final = {range(1): 55, range(1, 900): 15, range(3600, 5400): 30}
"""For how many seconds from their start runs hold nothing, by weight."""
GRANTED: Final = {9000: 75, 3000: 15, None: 10}
"""For how many seconds runs were granted what they first hold, by weight; None: it isn't told."""
TRIED_AGAIN: Final = (Outcome.SITE, Outcome.PREEMPTED, Outcome.LOST)


@dataclass(frozen=True)
class Hold:
    """`request` is put for `job`."""

    job: str
    request: HoldRequest


@dataclass
class Phase:
    """What happens in it, in this order."""

    holds: list[Hold] = field(default_factory=list)
    facts: list[Event] = field(default_factory=list)
    """What the broker says."""
    late_holds: list[Hold] = field(default_factory=list)
    """Those whose usage waits for them already."""


@dataclass(frozen=True)
class History:
    market: Market
    phases: tuple[Phase, ...]


@dataclass(frozen=True)
class _Shape:
    nodes: int
    cpus: int
    memory_mib: int
    accelerators: int


@dataclass
class _Run:
    id: str
    attempt: str
    started: datetime
    resumed: datetime
    """Before this second it held nothing; `started`, if it was never suspended."""
    price_list: PriceList
    outcome: Outcome | None
    asked: dict[datetime, tuple[Span, ...]]
    """Hour -> what it would have been allocated if nobody had suspended it."""

    def held(self, hour: datetime) -> tuple[Span, ...]:
        """What it really was allocated."""
        return _since(self.resumed, self.asked[hour])


def draw(seed: int, jobs: int) -> History:
    """The history of a seed."""
    random = Random(seed)
    market = draw_market(random, organizations=min(6, 2 + jobs // 20), providers=min(5, 3 + jobs // 50))
    phases = tuple(Phase() for _ in range(PHASES))
    drawn = [_Job(random, market, number) for number in range(jobs)]
    for job in drawn:
        job.put_holds(phases)
    for number, phase in enumerate(phases):
        phase.facts += _merged(random, [job.facts[number] for job in drawn])
    return History(market, phases)


def interleaved(history: History, seed: int) -> History:
    """The same history with what is said of different jobs in another order."""
    random = Random(seed)
    phases = []
    for phase in history.phases:
        parts: dict[str, list[Event]] = {}
        for event in phase.facts:
            parts.setdefault(event.subject, []).append(event)
        phases.append(replace(phase, facts=_merged(random, parts.values())))
    return replace(history, phases=tuple(phases))


def _merged(random: Random, parts: Iterable[Sequence[Event]]) -> list[Event]:
    """All of them in any order that keeps the order within each part."""
    placed = (zip(sorted(random.random() for _ in part), part, strict=True) for part in parts)
    return [event for _, event in sorted(chain.from_iterable(placed), key=lambda one: one[0])]


class _Job:
    """A job with its runs, and `facts`: what the broker says of it in each phase.

    So that every history has all that matters, each tenth job is there from the start and never late, and has a run that ends by the
    site's fault; and each seventh is held too little for.
    """

    def __init__(self, random: Random, market: Market, number: int) -> None:
        self._random = random
        self._early = number % 10 == 0
        self._short = number % 7 == 3
        self._market = market
        self.id = identifier(random, "job")
        self.organization, self.project = random.choice(market.projects)
        self.facts: tuple[list[Event], ...] = tuple([] for _ in range(PHASES))
        self._runs: list[_Run] = []
        self._first: list[Event] = [Event(events.JOB_NAMED, self.id, JobNamed(job=self.id, name="算例"))]
        self._submitted = 0 if self._early else random.randrange((HOURS - 4) * 3600)
        self._draw_attempt(random.randint(1, 5), self._submitted)
        if self._early:
            self._runs[0].outcome = Outcome.SITE
        again = sum(run.outcome in TRIED_AGAIN for run in self._runs)
        if again:
            self._draw_attempt(again, self._submitted + 3600)
        said = [self._state(run) for run in self._runs]
        self._end_attempts()
        self._settle([run for run in said if run is not None])
        for facts in self.facts:
            random.shuffle(facts)
        self.first_phase = next(number for number, facts in enumerate(self.facts) if facts)
        self.facts[self.first_phase][:0] = self._first

    def put_holds(self, phases: Sequence[Phase]) -> None:
        """For most jobs more than enough, for some too little, which may be raised later."""
        random = self._random
        enough = self._cost()
        amount = int(enough * random.uniform(0.2, 0.95)) if self._short else enough * 3 // 2 + 1000
        phase = phases[self.first_phase]
        (phase.late_holds if random.random() < 0.1 else phase.holds).append(self._hold(1, amount))
        if self._short and self.first_phase < 2 and random.random() < 0.5:
            phases[2].holds.append(self._hold(2, int(amount * random.uniform(1.05, 3))))

    def _hold(self, revision: int, fen: int) -> Hold:
        submitted = at(self._submitted)
        request = HoldRequest(
            revision=revision,
            organization=self.organization,
            project=self.project,
            amount=Money(fen),
            submitted_at=submitted,
        )
        return Hold(self.id, request)

    def _cost(self) -> int:
        """About what the job is billed, in fen."""
        fen = 0
        held = {run.id: [span for hour in run.asked for span in run.held(hour)] for run in self._runs}
        first = min((spans[0].start, run) for run, spans in held.items() if spans) if any(held.values()) else None
        for run in self._runs:
            spans = held[run.id]
            lines: Counter[pricing.LineKey] = Counter()
            job_second = to_seconds(spans[0].start) if spans and (spans[0].start, run.id) == first else None
            for piece in pricing.quantities(spans, run.price_list, job_second, ()):
                if piece.key.mode is SiteMode.BILLED:
                    lines[piece.key] += piece.quantity
            for key, quantity in lines.items():
                price = pricing.unit_price(run.price_list, key.tariff, key.window, key.component)
                fen += pricing.amount(key.component, quantity, price)
        minima = {run.attempt: max(_minimum(tariff) for tariff in run.price_list.tariffs) for run in self._runs}
        return fen + sum(minima.values())

    def _draw_attempt(self, tasks: int, start: int) -> None:
        random = self._random
        seller = random.choice(self._market.sellers)
        price_list = random.choice(seller.price_lists)
        attempt = identifier(random, "att")
        nodes = random.choice((1, 1, 1, 2))
        shape = _Shape(
            nodes=nodes,
            cpus=nodes * random.choice((1, 2, 3, 5, 7, 8, 13, 15)),
            memory_mib=nodes * (1024 * random.choice((1, 3, 7, 15, 16, 63)) + random.choice((0, 0, 0, 512))),
            accelerators=nodes * random.choice((1, 1, 3, 4)) if seller.accelerator else 0,
        )
        (longest,) = random.choices(list(GRANTED), list(GRANTED.values()))
        grant = Grant(**vars(shape), accelerator=seller.accelerator, max_seconds=longest) if longest else None
        self._first.append(Event(events.ATTEMPT_PLACED, self.id, self._placed(attempt, seller, price_list, grant)))
        for _ in range(tasks):
            begin = start + random.randrange(1800 if self._early else 5400)
            (suspended,) = random.choices(list(SUSPENDED), list(SUSPENDED.values()))
            resumed = begin + random.choice(suspended)
            seconds = 0 if random.random() < 0.06 else random.randint(20, 9000)
            (outcome,) = random.choices(list(OUTCOMES), list(OUTCOMES.values()))
            spans = self._allocated(shape, seller.accelerator, begin, resumed + seconds)
            asked = _by_hour(spans) or {floor_hour(at(begin)): ()}
            run = _Run(identifier(random, "run"), attempt, at(begin), at(resumed), price_list, outcome, asked)
            self._runs.append(run)

    def _placed(self, attempt: str, seller: Seller, price_list: PriceList, grant: Grant | None) -> AttemptPlaced:
        return AttemptPlaced(
            attempt=attempt,
            job=self.id,
            organization=self.organization,
            project=self.project,
            offering=seller.offering,
            site=seller.site,
            provider=seller.provider,
            price_list=price_list.id,
            grant=grant,
            preempted_borne_by=seller.preempted_borne_by,
        )

    def _allocated(self, shape: _Shape, accelerator: str | None, start: int, end: int) -> list[Span]:
        """[start, end) of one shape; sometimes with a gap in it, or more cores from some second on."""
        random, edges = self._random, [start, end]
        if end - start > 100 and random.random() < 0.3:
            edges[1:1] = sorted(random.sample(range(start + 1, end), 2))
        spans = [
            Span(start=at(a), end=at(b), accelerator=accelerator, **vars(shape)) for a, b in pairwise(edges) if a < b
        ]
        if len(spans) == 3:
            if random.random() < 0.5:
                del spans[1]
            else:
                spans[1] = spans[1].model_copy(update={"cpus": shape.cpus + 1})
        return spans

    def _state(self, run: _Run) -> RunUsage | None:
        """Say the run's usage hour by hour, in revisions that come when they come, and its end. None where that isn't known."""
        random, revisions = self._random, {}
        for hour, asked in run.asked.items():
            phase = _phase_of(asked[-1].end if asked else run.started)
            stated = [self._mistaken(run, hour) for _ in range(random.choices((0, 1, 2), (50, 30, 20))[0])]
            stated.append(() if random.random() < 0.03 else run.held(hour))
            revisions[hour.isoformat().replace("+00:00", "Z")] = len(stated)
            for revision, content in enumerate(stated, start=1):
                record = UsageRecord(
                    hour=hour,
                    revision=revision,
                    spans=content,
                    run=run.id,
                    attempt=run.attempt,
                    job=self.id,
                    run_started_at=run.started,
                )
                self._say(self._late(phase), Event(events.USAGE_STATED, self.id, record))
        if run.outcome is None:
            return None
        final = RunFinal(run=run.id, attempt=run.attempt, job=self.id, outcome=run.outcome)
        self._say(self._late(phase), Event(events.RUN_FINAL, self.id, final))
        return RunUsage(run=run.id, hours=revisions)

    def _mistaken(self, run: _Run, hour: datetime) -> tuple[Span, ...]:
        """An earlier idea of what the run held in this hour; never of a later second than it asked for."""
        kind, spans = self._random.randrange(5), run.held(hour)
        if kind == 0:
            return ()
        if kind == 1 or not spans:
            return run.asked[hour]
        if kind == 2:
            return _since(self._second_of(spans[0]), spans)
        last = spans[-1]
        if kind == 3:
            return (*spans[:-1], last.model_copy(update={"end": self._second_of(last)}))
        return (*spans[:-1], last.model_copy(update={"cpus": last.cpus + self._random.randint(1, 3)}))

    def _second_of(self, span: Span) -> datetime:
        """One after its first, up to its end."""
        return span.start + timedelta(seconds=self._random.randint(1, (span.end - span.start) // timedelta(seconds=1)))

    def _late(self, phase: int) -> int:
        if self._early:
            return phase
        return min(phase + self._random.choices((0, 1, 2, 3), (75, 10, 10, 5))[0], PHASES - 1)

    def _say(self, phase: int, event: Event) -> None:
        """Now and, sometimes, again later."""
        self.facts[phase].append(event)
        if self._random.random() < 0.1:
            self.facts[self._random.randrange(phase, PHASES)].append(event)

    def _end_attempts(self) -> None:
        """Say that an attempt has ended when its last run's books are closed; that may be told before what was late of it."""
        for attempt in dict.fromkeys(run.attempt for run in self._runs):
            runs = [run for run in self._runs if run.attempt == attempt]
            if all(run.outcome is not None for run in runs):
                phase = max(
                    _phase_of(spans[-1].end if spans else run.started) for run in runs for spans in run.asked.values()
                )
                ended = AttemptEnded(attempt=attempt, job=self.id)
                self._say(self._late(phase), Event(events.ATTEMPT_ENDED, self.id, ended))

    def _settle(self, runs: list[RunUsage]) -> None:
        if len(runs) == len(self._runs):
            settled = JobSettled(job=self.id, hold_revision=1, runs=tuple(runs))
            self.facts[PHASES - 1].append(Event(events.JOB_SETTLED, self.id, settled))


def _minimum(tariff: Tariff) -> int:
    return tariff.minimum_charge.fen if tariff.minimum_charge else 0


def _phase_of(end: datetime) -> int:
    """When usage up to `end` is stated at the earliest: nothing at or after the cut is, before the cut is made."""
    return 0 if end <= CUT else 1 if end <= MONTH_END else 2


def _since(first: datetime, spans: Iterable[Span]) -> tuple[Span, ...]:
    """What of them lies at or after `first`."""
    return tuple(span.model_copy(update={"start": max(first, span.start)}) for span in spans if first < span.end)


def _by_hour(spans: Iterable[Span]) -> dict[datetime, tuple[Span, ...]]:
    hours: dict[datetime, tuple[Span, ...]] = {}
    for span in spans:
        start = span.start
        while start < span.end:
            hour = floor_hour(start)
            end = min(span.end, hour + timedelta(hours=1))
            hours[hour] = (*hours.get(hour, ()), span.model_copy(update={"start": start, "end": end}))
            start = end
    return hours
