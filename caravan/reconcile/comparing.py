"""What Caravan billed beside what a site's books say. Pure; whatever the order of either side, the answer is the same.

A run is compared whole, also one that reaches over an edge of what was asked for: sacct tells how long a run was suspended and
not when, so that of a part of it no figure would be sure. What is billed is a job's lines: they have the quantities that its runs
were priced at, and the once-rounded price of each. So a run's figures and its job's lines together are what the books say.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Final, NamedTuple

from pydantic import Field

from caravan import pricing
from caravan.contracts.base import Model, Name, Second
from caravan.contracts.ids import AcceleratorId, PeriodId, PriceListId, SiteId
from caravan.contracts.jobs import Outcome
from caravan.contracts.prices import Component
from caravan.contracts.runs import Priced, SiteRun
from caravan.contracts.statements import BearerKind, UsageLine
from caravan.kernel.clock import from_seconds, to_seconds
from caravan.kernel.money import Money, UnitPrice
from caravan.reconcile.rows import Row

NOT_THE_JOBS: Final = (Outcome.SITE, Outcome.PREEMPTED, Outcome.LOST, Outcome.CANCELLED)
"""How a run may end with its node: who cancels a job that is there pays until its record goes."""


class Kind(StrEnum):
    NOT_BILLED = "not_billed"
    """In the site's books as a job of the site's, and nothing of it was metered."""
    NOT_IN_BOOKS = "not_in_books"
    """Billed, and in the site's books there is no such run, or another one was billed for it already."""
    NOT_FINAL = "not_final"
    """The site's books say that it ended; it is open here, though the site has stated all usage until then."""
    STILL_RUNS = "still_runs"
    """It is final here; the site's books say that it runs."""
    BEARER = "bearer"
    """It ended with its node, and isn't taken for that: its job pays."""
    SECONDS = "seconds"
    CORES = "cores"
    NODES = "nodes"
    ACCELERATORS = "accelerators"
    LINES = "lines"
    """A job's line hasn't the quantity that its runs are priced at."""
    AMOUNTS = "amounts"
    """A job's line hasn't the amount that its quantity comes to at its price."""


class Figures(Model):
    """What one side says of a run. Counts are over all nodes; there are several where it held one after the other."""

    seconds: int = Field(
        description="In which it held something: without suspension. At most, where the books aren't that exact."
    )
    cores: tuple[int, ...]
    nodes: tuple[int, ...]
    accelerators: tuple[int, ...] | None = Field(description="Null: these books don't say.")
    kinds: tuple[str, ...] = Field(description="Of accelerators, by the side's own names.")
    quantities: dict[Component, int] = Field(description="Core-, accelerator-, node- and MiB-seconds.")


class Billed(Model):
    """A line of a job and all that corrects it: what was billed, and what should have been."""

    period: PeriodId
    price_list: PriceListId
    component: Component
    accelerator: AcceleratorId | None
    tariff: Name
    window: Name
    unit_price: UnitPrice
    bearer: BearerKind | None = Field(description="Null: whoever bears it.")
    priced: int = Field(description="The quantity that the job's runs come to; of an amount, the line's own.")
    quantity: int
    due: Money = Field(description="What `priced` comes to.")
    amount: Money


class Found(Model):
    """A run at the site, by what either side knows of it, or a job's line."""

    identity: str | None = None
    run: str | None = None
    job: str | None = None
    books: Figures | None = Field(default=None, description="What the site's say.")
    caravan: Figures | None = None
    billed: Billed | None = None


class Difference(Found):
    kind: Kind


class Reconciliation(Model):
    """Of the site's runs with seconds in [start, end), each whole."""

    site: SiteId
    start: Second
    end: Second
    complete_through: Second
    compared: int
    charged: Money = Field(description="What organizations bear of these runs' jobs at the site, of each job whole.")
    borne_by_provider: Money
    notional: Money = Field(description="What of it the site didn't bill would have cost.")
    newer: int = Field(description="Runs that started or ended after the site's books were read: left out.")
    not_kept: int = Field(
        description="Runs of which these books have nothing any more, as they keep them for a while: left out."
    )
    righted: int = Field(
        description="Compared runs whose times in these books can't be, as a node's clock was wrong: they are put right as for billing."
    )
    open: tuple[Found, ...] = Field(description="What goes on, or may not have been stated yet.")
    differences: tuple[Difference, ...]
    unreadable: int = Field(default=0, description="Lines of the books that were left out.")


class _Held(NamedTuple):
    seconds: int
    cores: int
    nodes: int
    memory_mib: int
    accelerators: int | None


@dataclass(frozen=True, slots=True)
class Asked:
    """A site in [start, end), in epoch seconds."""

    site: str
    start: int
    end: int
    complete_through: int
    """All usage of the site before it has been stated."""
    as_of: int
    """The site's books were read then: of what started or ended since they can't tell."""
    keeps_all: bool = True
    """What isn't in the books wasn't at the site. Else they forget, and nothing follows from it."""

    def covers(self, start: int, end: int | None) -> bool:
        """Whether it has seconds of [start, end), which may be empty. No end: for ever."""
        return max(start, self.start) < (self.end if end is None else min(end, self.end))


class _Key(NamedTuple):
    """What makes lines of a job one, whoever bears them. `period` is where the seconds lie."""

    job: str
    period: str
    price_list: str
    component: Component
    accelerator: str
    tariff: str
    window: str
    unit_price: Decimal


def unmatched(rows: Iterable[Row], runs: Iterable[SiteRun], asked: Asked) -> list[Row]:
    """Rows of ours in what was asked for of which `runs` has none."""
    known = {run.identity for run in runs}
    return [row for row in rows if row.ours and row.identity not in known and asked.covers(row.start, row.end)]


def unsettled(runs: Iterable[SiteRun], lines: Iterable[UsageLine]) -> set[str]:
    """Jobs of which some lines aren't what these runs come to: other runs of theirs may be missing."""
    return {key.job for key, priced, billed in _quantities(runs, lines) if priced != billed}


def reconcile(
    rows: Iterable[Row],
    runs: Collection[SiteRun],
    lines: Iterable[UsageLine],
    asked: Asked,
    moving: Collection[str] = (),
    at_least: Iterable[Row] | None = None,
) -> Reconciliation:
    """Hold the two against each other. A row that is there twice counts once; rows of others count where a run has their identity.

    `runs` has all of a job whose lines come to more; those with no second in what was asked for count for its lines alone.
    What was read of jobs that are `moving` is of several moments: a line that isn't what their runs come to is no difference.
    A row that was lost needs no run: nobody heard of it before its node went. `at_least`: of books that aren't as exact as what is billed,
    the least that they may mean, where `rows` is the most.
    """
    books, least = _by_identity(rows), None if at_least is None else _by_identity(at_least)
    compared, newer, not_kept, righted, goes_on, differences = [], 0, 0, 0, [], []
    in_books = frozenset(books)
    pairs = [(run, books.pop(run.identity or "", set())) for run in sorted(runs, key=lambda run: run.run)]
    for run, own in pairs:
        if not (asked.covers(*_reach(run)) or any(asked.covers(row.start, row.end) for row in own)):
            continue
        if _is_newer(run, own, asked):
            newer += 1
            continue
        if not (own or asked.keeps_all or run.identity in in_books):
            not_kept += 1
            continue
        compared.append(run)
        righted += any(row.righted for row in own)
        found = Found(
            identity=run.identity,
            run=run.run,
            job=run.job,
            books=_by_books(own) if own else None,
            caravan=_by_caravan(run),
        )
        exact = found.books if least is None else _by_books(least.get(run.identity or "", ()))
        kinds = list(_kinds(run, own, found, exact, asked))
        differences += [Difference(**dict(found), kind=kind) for kind in kinds]
        if own and run.outcome is None and Kind.NOT_FINAL not in kinds:
            goes_on.append(found)
    alone = 0
    for identity, own in sorted(books.items()):
        billable = own if least is None else least.get(identity, ())
        if not any(row.ours and not row.lost and asked.covers(row.start, row.end) for row in billable):
            continue
        alone += 1
        found = Found(identity=identity, books=_by_books(own))
        if min(row.start for row in own) < asked.complete_through:
            differences.append(Difference(**dict(found), kind=Kind.NOT_BILLED))
        else:
            goes_on.append(found)
    jobs = {run.job for run in compared}
    billed = [line for line in lines if line.job in jobs]
    for one in _billed_otherwise([run for run in runs if run.job in jobs], billed):
        if one.kind is Kind.LINES and one.job in moving:
            goes_on.append(Found(job=one.job, billed=one.billed))
        else:
            differences.append(one)
    return Reconciliation(
        site=asked.site,
        start=from_seconds(asked.start),
        end=from_seconds(asked.end),
        complete_through=from_seconds(asked.complete_through),
        compared=len(compared) + alone,
        charged=_borne(billed, BearerKind.ORGANIZATION),
        borne_by_provider=_borne(billed, BearerKind.PROVIDER),
        notional=_borne(billed, BearerKind.NOBODY),
        newer=newer,
        not_kept=not_kept,
        righted=righted,
        open=tuple(goes_on),
        differences=tuple(differences),
    )


def _is_newer(run: SiteRun, own: Collection[Row], asked: Asked) -> bool:
    """Whether it's missing in the books, or goes on there, only because they were read before it started or ended."""
    start, end = _reach(run)
    if not own:
        return start >= asked.as_of
    return run.outcome is not None and end >= asked.as_of and any(row.end is None for row in own)


def _by_identity(rows: Iterable[Row]) -> dict[str, set[Row]]:
    found: defaultdict[str, set[Row]] = defaultdict(set)
    for row in rows:
        found[row.identity].add(row)
    return dict(found)


def _kinds(run: SiteRun, own: Collection[Row], found: Found, least: Figures | None, asked: Asked) -> Iterator[Kind]:
    """In what the two differ. `least`: what the books may mean, at most `found.books`; the same where they are exact."""
    here, there = found.caravan, found.books
    if here is None or there is None or least is None:
        yield Kind.NOT_IN_BOOKS
        return
    ends = [row.end for row in own if row.end is not None]
    ended = len(ends) == len(own)
    if ended and run.outcome is None and max(ends) < asked.complete_through:
        yield Kind.NOT_FINAL
    if not ended and run.outcome is not None:
        yield Kind.STILL_RUNS
    if any(row.lost for row in own):
        if run.outcome is not None and run.outcome not in NOT_THE_JOBS:
            yield Kind.BEARER
        return
    final = ended and run.outcome is not None
    alike = final and least.seconds <= here.seconds <= there.seconds
    if final and not alike:
        yield Kind.SECONDS
    # where each part of a run may have begun later than its record says, how many there were at once isn't sure
    told = least is there or there.nodes == (1,)
    for kind, component, held, counted in (
        (Kind.CORES, Component.CPU_CORE_HOUR, here.cores, there.cores),
        (Kind.NODES, Component.NODE_HOUR, here.nodes, there.nodes),
        (Kind.ACCELERATORS, Component.ACCELERATOR_HOUR, here.accelerators, there.accelerators),
    ):
        if counted is None:
            continue
        within = least.quantities[component] <= here.quantities[component] <= there.quantities[component]
        if (told and held != counted) or (alike and not within):
            yield kind


def _reach(run: SiteRun) -> tuple[int, int]:
    """From its first second to its last, suspension included."""
    return (to_seconds(run.spans[0].start), to_seconds(run.spans[-1].end)) if run.spans else (0, 0)


def _by_books(own: Collection[Row]) -> Figures:
    return _figures(
        [
            _Held(
                seconds=row.seconds,
                cores=row.cpus,
                nodes=row.nodes,
                memory_mib=row.memory_mib,
                accelerators=None if row.accelerators is None else sum(count for _, count in row.accelerators),
            )
            for row in own
        ],
        {name for row in own for name, _ in row.accelerators or ()},
    )


def _by_caravan(run: SiteRun) -> Figures:
    return _figures(
        [
            _Held(
                seconds=to_seconds(span.end) - to_seconds(span.start),
                cores=span.cpus,
                nodes=span.nodes,
                memory_mib=span.memory_mib,
                accelerators=span.accelerators,
            )
            for span in run.spans
        ],
        {span.accelerator for span in run.spans if span.accelerator},
    )


def _figures(held: Sequence[_Held], kinds: Iterable[str]) -> Figures:
    cards = [one.accelerators for one in held]
    return Figures(
        seconds=sum(one.seconds for one in held),
        cores=_distinct(one.cores for one in held),
        nodes=_distinct(one.nodes for one in held),
        accelerators=None if None in cards else _distinct(one or 0 for one in cards),
        kinds=tuple(sorted(kinds)),
        quantities={
            Component.CPU_CORE_HOUR: sum(one.seconds * one.cores for one in held),
            Component.NODE_HOUR: sum(one.seconds * one.nodes for one in held),
            Component.MEMORY_GIB_HOUR: sum(one.seconds * one.memory_mib for one in held),
            Component.ACCELERATOR_HOUR: sum(one.seconds * (one.accelerators or 0) for one in held),
        },
    )


def _distinct(counts: Iterable[int]) -> tuple[int, ...]:
    return tuple(sorted(set(counts)))


def _quantities(runs: Iterable[SiteRun], lines: Iterable[UsageLine]) -> list[tuple[_Key, int, int]]:
    """Of each line what the runs are priced at and what was billed, in one order. Minimum charges are of attempts, not of runs."""
    priced: Counter[_Key] = Counter()
    billed: Counter[_Key] = Counter()
    for run in runs:
        for part in run.priced:
            priced[_key(run.job, part.period, part)] += part.quantity
    for line in lines:
        if line.component is not Component.MINIMUM_CHARGE:
            billed[_key_of(line)] += line.quantity
    return [(key, priced[key], billed[key]) for key in sorted({*priced, *billed})]


def _billed_otherwise(runs: Iterable[SiteRun], lines: Collection[UsageLine]) -> Iterator[Difference]:
    by_key: defaultdict[_Key, list[UsageLine]] = defaultdict(list)
    for line in lines:
        by_key[_key_of(line)].append(line)
    for key, priced, billed in _quantities(runs, lines):
        if priced != billed:
            yield Difference(job=key.job, billed=_billed(key, priced, by_key[key]), kind=Kind.LINES)
        for bearer, reason in sorted({(line.bearer, line.reason or "") for line in by_key[key]}):
            borne = [line for line in by_key[key] if (line.bearer, line.reason or "") == (bearer, reason)]
            found = _billed(key, sum(line.quantity for line in borne), borne, bearer)
            if found.amount != found.due:
                yield Difference(job=key.job, billed=found, kind=Kind.AMOUNTS)


def _billed(key: _Key, priced: int, lines: Sequence[UsageLine], bearer: BearerKind | None = None) -> Billed:
    return Billed(
        period=key.period,
        price_list=key.price_list,
        component=key.component,
        accelerator=key.accelerator or None,
        tariff=key.tariff,
        window=key.window,
        unit_price=key.unit_price,
        bearer=bearer,
        priced=priced,
        quantity=sum(line.quantity for line in lines),
        due=Money(pricing.amount(key.component, priced, key.unit_price)),
        amount=Money(sum(line.amount.fen for line in lines)),
    )


def _key_of(line: UsageLine) -> _Key:
    return _key(line.job, line.corrects or line.period, line)


def _key(job: str, period: str, part: Priced | UsageLine) -> _Key:
    return _Key(
        job,
        period,
        part.price_list,
        part.component,
        part.accelerator or "",
        part.tariff,
        part.window,
        part.unit_price,
    )


def _borne(lines: Iterable[UsageLine], bearer: BearerKind) -> Money:
    return Money(sum(line.amount.fen for line in lines if line.bearer is bearer))
