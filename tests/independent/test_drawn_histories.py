"""The histories that `independent-charges` plays: runs that hold their first second after they start, what moves that second, and
windows of a week that they run in, also as clocks change.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from bench.cases.charges import JOBS
from bench.charges.history import History, draw
from caravan.contracts.prices import PriceList
from caravan.contracts.usage import AttemptPlaced, Span, UsageRecord
from caravan.kernel.clock import floor_hour

Hours = Mapping[datetime, UsageRecord]


def first_held(hours: Hours) -> datetime | None:
    return min((span.start for record in hours.values() for span in record.spans), default=None)


def found_in(history: History) -> Counter[str]:
    """How often what is said, in the order in which it is, moves the first second of a run; and how the runs are in the end."""
    found: Counter[str] = Counter()
    runs: defaultdict[str, dict[datetime, UsageRecord]] = defaultdict(dict)
    for record in (event.data for phase in history.phases for event in phase.facts):
        if not isinstance(record, UsageRecord):
            continue
        hours = runs[record.run]
        known, before = hours.get(record.hour), first_held(hours)
        if known is None or known.revision < record.revision:
            hours[record.hour] = record
            found.update(
                f"{'a correction' if known else 'an hour'}: {move}" for move in moves(before, first_held(hours))
            )
    for hours in runs.values():
        found.update(f"a run: {kind}" for kind in kinds(hours))
    return found


def moves(before: datetime | None, after: datetime | None) -> Iterator[str]:
    if before is None or before == after:
        return
    if after is None:
        yield "away"
        return
    yield "earlier" if after < before else "later"
    if floor_hour(before) != floor_hour(after):
        yield "into another hour"


def kinds(hours: Hours) -> Iterator[str]:
    first, started = first_held(hours), next(iter(hours.values())).run_started_at
    if first is None:
        yield "never held"
    elif started < first:
        yield "held after its start"
        if floor_hour(started) < floor_hour(first):
            yield "held after the hour of its start"


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_runs_hold_their_first_second_late_and_it_moves_in_every_way(seed: int) -> None:
    assert set(found_in(draw(seed, JOBS))) >= {
        "a run: held after its start",
        "a run: held after the hour of its start",
        "a run: never held",
        "an hour: earlier",
        "an hour: into another hour",
        "a correction: earlier",
        "a correction: later",
        "a correction: into another hour",
        "a correction: away",
    }


def held_by_windows(history: History) -> Iterator[tuple[PriceList, Span]]:
    """What was ever stated of attempts that are priced by a list with windows, with that list."""
    lists = {one.id: one for seller in history.market.sellers for one in seller.price_lists}
    said = [event.data for phase in history.phases for event in phase.facts]
    placed = {one.attempt: lists[one.price_list] for one in said if isinstance(one, AttemptPlaced)}
    for record in said:
        if isinstance(record, UsageRecord) and any(tariff.windows for tariff in placed[record.attempt].tariffs):
            yield from ((placed[record.attempt], span) for span in record.spans)


def changes_clocks(zone: ZoneInfo, span: Span) -> bool:
    return span.start.astimezone(zone).utcoffset() != span.end.astimezone(zone).utcoffset()


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_clocks_change_while_runs_are_priced_by_windows(seed: int) -> None:
    held = list(held_by_windows(draw(seed, JOBS)))
    assert len({prices.zone for prices, _ in held}) > 1
    assert any(changes_clocks(ZoneInfo(prices.zone), span) for prices, span in held)


def test_a_seed_always_gives_the_same_history() -> None:
    assert draw(1, JOBS) == draw(1, JOBS)
