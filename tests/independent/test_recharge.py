"""The checker's pieces and bisection against the rule walked second by second."""

from collections import Counter
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from bench.independent.recharge import Key, Period, PriceList, Rules, Slot, Span, Tariff, Usage, recompute

# fen a core-second: 1.5 in [0, 20), nothing in [20, 23), 0.5 from 23 on; a period ends at 30
PRICES = {
    ("one", "cpu_core_hour"): "54",
    ("two", "cpu_core_hour"): "18",
    ("one", "job"): "0.04",
    ("two", "job"): "0.02",
}
TARIFFS = (Tariff("one", 0, 20), Tariff("two", 23, None))
LISTS = {"list": PriceList(1, "offering", TARIFFS, {key: Fraction(price) for key, price in PRICES.items()})}
RULES = Rules(LISTS, (Period("first", 0, 30, True), Period("second", 30, 100, False)))


@st.composite
def runs(draw: st.DrawFn) -> list[Usage]:
    hold = draw(st.integers(0, 150))
    found = []
    for run in draw(st.lists(st.sampled_from("pqrs"), min_size=1, max_size=4, unique=True)):
        marks = sorted(draw(st.lists(st.integers(0, 50), min_size=2, max_size=4, unique=True)))
        spans = tuple(
            Span(start, end, 1, draw(st.integers(0, 3)), 0, 0, None)
            for start, end in zip(marks[::2], marks[1::2], strict=False)
        )
        outcome = draw(st.sampled_from(("succeeded", "limit", None, "site", "duplicate")))
        who = ("organization", "project", "provider", "offering", "list")
        found.append(Usage(run, 0, 1, "job", spans[0].start, spans, *who, outcome, hold))
    return found


def rounded(slot: Slot, quantity: int) -> int:
    price = int(100 * Fraction(PRICES.get((slot.tariff, slot.component), "0")))
    divisor = 1 if slot.component == "job" else 3600
    return (2 * price * quantity + divisor) // (2 * divisor)


def walked(usage: list[Usage]) -> dict[Key, int]:
    """The rule as it is written: one (second, run) pair after the other."""
    lines: Counter[Key] = Counter()
    paid: Counter[Slot] = Counter()
    full = False
    for second in range(100):
        for u in sorted(usage, key=lambda u: u.run):
            for span in u.spans:
                if not span.start <= second < span.end:
                    continue
                tariff = "one" if second < 20 else "two" if second >= 23 else "none"
                head = ("first" if second < 30 else "second", "organization", "provider", "project", "job")
                slots = {"cpu_core_hour": span.cpus, "node_hour": 1, "job": int(second == u.run_started)}
                units = {Slot(*head, c, None, "list", tariff, "all"): n for c, n in slots.items() if n}
                if u.outcome in ("site", "duplicate"):
                    reason = "site_fault" if u.outcome == "site" else "duplicate"
                    lines.update({Key(slot, "provider", reason): n for slot, n in units.items()})
                    continue
                more = paid + Counter(units)
                full = full or sum(rounded(slot, n) for slot, n in more.items()) > u.hold
                if full:
                    lines.update({Key(slot, "provider", "overrun"): n for slot, n in units.items()})
                else:
                    paid = more
    return dict(lines) | {Key(slot, "organization", None): n for slot, n in paid.items()}


@given(runs())
def test_pieces_and_bisection_equal_the_walk_over_all_seconds(usage: list[Usage]) -> None:
    assert recompute(usage, RULES) == walked(usage)
