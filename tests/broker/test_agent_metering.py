"""What is stated of a run: hours cover its spans exactly, saying it again states nothing, revisions only grow."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from caravan.contracts.usage import HourUsage, Span, hour_key, parse_hour
from services.broker.agent.metering import (
    HOUR,
    Books,
    first_unstated,
    last_revisions,
    split,
    state,
)

EPOCH = datetime(2026, 3, 1, tzinfo=UTC)


def at(seconds: int) -> datetime:
    return EPOCH + timedelta(seconds=seconds)


def span(start: int, end: int, cpus: int = 1) -> Span:
    return Span(start=at(start), end=at(end), nodes=1, cpus=cpus, memory_mib=1024)


@st.composite
def allocations(draw: st.DrawFn) -> tuple[Span, ...]:
    """Spans in order with gaps of 0 and more seconds; edges meet hours often."""
    edge = st.one_of(st.integers(1, 8000), st.sampled_from([1800, 3600, 7200]))
    second, spans = draw(st.integers(0, 7200)), []
    for _ in range(draw(st.integers(0, 5))):
        second += draw(st.sampled_from([0, 0, 1, 3600]))
        end = second + draw(edge)
        spans.append(span(second, end, draw(st.integers(1, 2))))
        second = end
    return tuple(spans)


Pieces = list[tuple[int, int, int]]


def pieces(*groups: tuple[Span, ...], before: datetime | None = None) -> Pieces:
    """(start, end, cpus) in seconds of all spans in order; what meets with the same shape is one."""
    found: Pieces = []
    for one in [one for group in groups for one in group]:
        start, end = one.start, one.end if before is None else min(one.end, before)
        if start >= end:
            continue
        piece = (int((start - EPOCH).total_seconds()), int((end - EPOCH).total_seconds()), one.cpus)
        if found and found[-1][1:] == (piece[0], piece[2]):
            piece = (found.pop()[0], *piece[1:])
        found.append(piece)
    return found


def until(spans: tuple[Span, ...], end: datetime) -> tuple[Span, ...]:
    """As a backend shows them at `end`."""
    return tuple(
        one if one.end <= end else one.model_copy(update={"end": end}) for one in spans if one.start < min(one.end, end)
    )


@given(allocations())
def test_hours_cover_the_spans_exactly(spans: tuple[Span, ...]) -> None:
    hours = split(spans)
    assert pieces(*(hours[hour] for hour in sorted(hours))) == pieces(spans)
    for hour, inside in hours.items():
        usage = HourUsage(hour=hour, revision=1, spans=inside)
        assert HourUsage.model_validate_json(usage.model_dump_json()) == usage


@given(allocations(), st.integers(1, 3600))
def test_how_a_backend_cuts_an_allocation_makes_no_difference(spans: tuple[Span, ...], step: int) -> None:
    cuts = []
    for one in spans:
        start = one.start
        while start < one.end:
            end = min(one.end, start + timedelta(seconds=max(step, 60)))
            cuts.append(one.model_copy(update={"start": start, "end": end}))
            start = end
    assert split(cuts) == split(spans)


@given(allocations(), st.integers(0, 40_000))
def test_saying_it_again_states_nothing(spans: tuple[Span, ...], through: int) -> None:
    books, first = state(Books(), spans, at(through), final=False)
    assert all(usage.hour + HOUR <= at(through) for usage in first)
    assert state(books, spans, at(through), final=False) == (books, ())
    books, _ = state(books, spans, at(through), final=True)
    assert state(books, spans, at(through), final=True) == (books, ())
    assert first_unstated(books, spans) is None


@given(
    allocations(),
    allocations(),
    st.lists(st.tuples(st.integers(0, 30_000), st.booleans()), max_size=8),
)
def test_revisions_grow_over_restarts_and_the_last_ones_are_the_truth(
    truth: tuple[Span, ...], corrected: tuple[Span, ...], looks: list[tuple[int, bool]]
) -> None:
    """A broker that keeps the highest revision ends with what the books say last, whatever was restarted or corrected."""
    broker: dict[datetime, HourUsage] = {}
    books = Books()

    def tell(statements: tuple[HourUsage, ...]) -> None:
        for usage in statements:
            assert usage.hour not in broker or usage.revision > broker[usage.hour].revision
            broker[usage.hour] = usage

    for second, restarted in sorted(looks):
        if restarted:
            books = Books.told({hour_key(hour): usage.revision for hour, usage in broker.items()}, final=False)
        shown = until(truth, at(second))
        books, statements = state(books, shown, at(second), final=False)
        tell(statements)
        unstated = first_unstated(books, shown)
        bound = at(second) if unstated is None else unstated
        stated = [broker[hour].spans for hour in sorted(broker)]
        assert pieces(*stated, before=bound) == pieces(shown, before=bound)
    books, statements = state(books, corrected, at(50_000), final=True)
    tell(statements)
    assert pieces(*(broker[hour].spans for hour in sorted(broker))) == pieces(corrected)
    assert last_revisions(books) == {hour_key(hour): usage.revision for hour, usage in sorted(broker.items())}


def test_an_hour_that_vanished_from_the_books_is_stated_empty() -> None:
    books, _ = state(Books(), [span(0, 7200)], at(7200), final=False)
    books, statements = state(books, [span(0, 3600)], at(9000), final=True)
    assert [(usage.hour, usage.revision, usage.spans) for usage in statements] == [(at(3600), 2, ())]
    assert last_revisions(books) == {"2026-03-01T00:00:00Z": 1, "2026-03-01T01:00:00Z": 2}


def test_hours_are_written_as_they_stand_in_json() -> None:
    usage = HourUsage(hour=at(3600), revision=1, spans=())
    assert hour_key(at(3600)) == usage.model_dump(mode="json")["hour"]
    assert parse_hour(hour_key(at(3600))) == at(3600)
