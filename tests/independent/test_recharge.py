"""The checker's pieces and bisection against the rule walked second by second."""

from collections import Counter
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from bench.independent.compare import Report, newest
from bench.independent.recharge import (
    Granted,
    Key,
    Period,
    PriceList,
    Rules,
    Slot,
    Span,
    Tariff,
    Usage,
    Window,
    recompute,
)

# fen a core-second: 1.5 in [0, 20), nothing in [20, 23), 0.5 in [23, 60), 1 from 60 on, 08:01 of a Thursday; a period ends at 30.
# [5, 14) is notional, [14, 17) tracked, [33, 41) notional: nobody's
PRICES = {
    ("one", "all", "cpu_core_hour"): "54",
    ("two", "flat", "cpu_core_hour"): "18",
    ("two", "late", "cpu_core_hour"): "36",
    ("one", "all", "job"): "0.04",
    ("two", "flat", "job"): "0.02",
    ("two", "late", "job"): "0.03",
}
LATE = Window("late", frozenset({"thursday"}), ((481, 500),))
TARIFFS = (Tariff("one", 0, 20), Tariff("two", 23, None, (LATE,)))
MODES = ((5, "notional"), (14, "tracked"), (17, "billed"), (33, "notional"), (41, "billed"))
LISTS = {
    "list": PriceList(
        1, "offering", TARIFFS, {key: Fraction(price) for key, price in PRICES.items()}, "Asia/Shanghai", modes=MODES
    )
}
RULES = Rules(LISTS, (Period("first", 0, 30, True), Period("second", 30, 100, False)))


HOUR = 12
"""So that runs have several; a record's spans lie in its own."""


@st.composite
def hours(draw: st.DrawFn, hour: int) -> tuple[Span, ...]:
    marks = sorted(draw(st.lists(st.integers(hour, hour + HOUR), max_size=4, unique=True)))
    return tuple(
        Span(start, end, 1, draw(st.integers(0, 3)), 0, 0, None)
        for start, end in zip(marks[::2], marks[1::2], strict=False)
    )


@st.composite
def stated(draw: st.DrawFn) -> list[Usage]:
    """Records of some runs in any order: of several hours, in up to three revisions, many of them without spans."""
    hold = draw(st.integers(0, 150))
    found = []
    for run in draw(st.lists(st.sampled_from("pqrs"), min_size=1, max_size=4, unique=True)):
        outcome = draw(st.sampled_from(("succeeded", "limit", None, "site", "duplicate")))
        started = draw(st.integers(0, 50))
        cpus, seconds = draw(st.integers(1, 3)), draw(st.integers(1, 20))
        granted = draw(st.sampled_from((None, Granted({"cpu_core_hour": cpus, "node_hour": 1}, seconds))))
        who = ("organization", "project", "provider", "offering", "list")
        for hour in draw(st.lists(st.sampled_from((0, 12, 24, 36, 55)), min_size=1, unique=True)):
            for revision in range(1, draw(st.integers(1, 3)) + 1):
                spans = draw(hours(hour))
                found.append(Usage(run, hour, revision, "job", started, spans, *who, outcome, hold, granted=granted))
    return draw(st.permutations(found))


def rounded(slot: Slot, quantity: int) -> int:
    price = int(100 * Fraction(PRICES.get((slot.tariff, slot.window, slot.component), "0")))
    divisor = 1 if slot.component == "job" else 3600
    return (2 * price * quantity + divisor) // (2 * divisor)


def walked(stated: list[Usage]) -> dict[Key, int]:
    """The rule as it is written: one (second, run) pair after the other."""
    usage = {(u.run, u.hour): u for u in sorted(stated, key=lambda u: u.revision)}
    lines: Counter[Key] = Counter()
    paid: Counter[Slot] = Counter()
    held: Counter[str] = Counter()
    full = begun = False
    for second in range(100):
        for _, u in sorted(usage.items()):
            for span in u.spans:
                if not span.start <= second < span.end:
                    continue
                tariff = "one" if second < 20 else "two" if second >= 23 else "none"
                window = "all" if tariff != "two" else "flat" if second < 60 else "late"
                head = ("first" if second < 30 else "second", "organization", "provider", "project", "job")
                slots = {
                    "cpu_core_hour": span.cpus,
                    "node_hour": 1,
                    "job": int(not begun and u.outcome not in ("site", "duplicate")),
                }
                begun = begun or slots["job"] > 0
                mode = (
                    "notional"
                    if 5 <= second < 14 or 33 <= second < 41
                    else "tracked"
                    if 14 <= second < 17
                    else "billed"
                )
                units = {Slot(*head, c, None, "list", tariff, window, mode): n for c, n in slots.items() if n}
                held[u.run] += 1
                if mode != "billed":
                    lines.update({Key(slot, "nobody", mode): n for slot, n in units.items()})
                    continue
                if u.outcome in ("site", "duplicate"):
                    reason = "site_fault" if u.outcome == "site" else "duplicate"
                    lines.update({Key(slot, "provider", reason): n for slot, n in units.items()})
                    continue
                if u.granted is not None:
                    late = held[u.run] > u.granted.seconds
                    most = {
                        slot: n if slot.component == "job" else 0 if late else u.granted.most[slot.component]
                        for slot, n in units.items()
                    }
                    lines.update(
                        {Key(slot, "provider", "overrun"): max(0, n - most[slot]) for slot, n in units.items()}
                    )
                    units = {slot: min(n, most[slot]) for slot, n in units.items()}
                more = paid + Counter(units)
                full = full or sum(rounded(slot, n) for slot, n in more.items()) > u.hold
                if full:
                    lines.update({Key(slot, "provider", "overrun"): n for slot, n in units.items()})
                else:
                    paid = more
    found = lines | Counter({Key(slot, "organization", None): n for slot, n in paid.items()})
    return {key: n for key, n in found.items() if n}


@given(stated())
def test_pieces_and_bisection_equal_the_walk_over_all_seconds(stated: list[Usage]) -> None:
    report = Report()
    assert recompute(newest(stated, report), RULES) == walked(stated)
    assert report.differences == []
