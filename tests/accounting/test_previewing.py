"""What a voucher would have paid for closed periods: as much as closing them one after another pays, and what cuts it. Pure."""

from collections import Counter
from datetime import UTC, datetime
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from caravan.contracts.programmes import Settles
from caravan.kernel.money import Money
from services.accounting.estimates.previewing import beside_pools, estimated, merged
from services.accounting.programmes.claims import Holder
from services.accounting.redemptions.claiming import (
    DiscountLine,
    Group,
    Past,
    Span,
    UsageLine,
    Voucher,
    settled,
)
from tests.accounting.programmes_cases import programme
from tests.accounting.test_settlements import APRIL, JULY, MARCH, SHANGHAI, USED

PERIODS = (MARCH, APRIL, JULY)
PLAIN = Holder(frozenset(), None, frozenset())
PROVIDERS = ("prv_1", "prv_2")


def line(number: int, period: datetime, amount: int, ends_at: int = 0) -> UsageLine:
    group = Group(str(period), f"off_{number % 2}", "cpu_core_hour", "")
    return UsageLine(f"lin_{number:032x}", f"job_{number:032x}", group, period, 10, ends_at, USED, amount)


def off(of: UsageLine, number: int, amount: int, basis: int) -> DiscountLine:
    return DiscountLine(f"lin_{number:032x}", of.group, of.starts_at, amount, basis)


drawn = st.lists(
    st.tuples(st.sampled_from(range(3)), st.integers(0, 2), st.integers(-6000, 10_000), st.integers(0, 5)), max_size=8
)
"""In which period something was used or corrected, how many closes later it came, and how much it is."""
caps = st.fixed_dictionaries(
    {}, optional={"claim": st.integers(1, 3000), "redeemed_in_year": st.integers(1, 5000)}
).map(lambda found: {name: str(Money(fen)) for name, fen in found.items()})


@given(drawn, caps, st.sampled_from(Settles), st.none() | st.integers(1, 8000), st.integers(0, 2000), st.integers(0, 9))
def test_periods_together_pay_what_closing_one_after_another_pays(
    some: list[tuple[int, int, int, int]],
    caps: dict[str, Any],
    settles: Settles,
    most: int | None,
    floor: int,
    percent_off: int,
) -> None:
    terms = programme(settles=settles, caps=caps, floor=str(Money(floor)))
    closes: dict[int, list[UsageLine]] = {place: [] for place in range(len(PERIODS))}
    for number, (used_in, later, amount, ends_at) in enumerate(some):
        closes[min(used_in + later, 2)].append(line(number, PERIODS[used_in], amount, ends_at))
    lines = [one for own in closes.values() for one in own]
    whole = sum(abs(one.amount) for one in lines) if most is None else most
    voucher = Voucher("vou", "prg", terms, PLAIN, whole, 0, 11, None)
    claimed, paid = Counter[Span](), Counter[Span]()
    used, discounted = Counter[tuple[Group, str]](), Counter[tuple[Group, str]]()
    bases, taken, discounts = Counter[Group](), Counter[Group](), list[DiscountLine]()
    for own in closes.values():
        more = []
        for of in {one.group: one for one in own}.values():
            basis = sum(one.amount for one in own if one.group == of.group)
            bases[of.group] += basis
            now = -bases[of.group] * percent_off // 100 - taken[of.group]
            taken[of.group] += now
            number = 1000 + len(discounts)
            discounts.append(off(of, number, now, basis))
            more.append(off(of, number, taken[of.group], bases[of.group]))
        found = settled([voucher], own, more, Past(claimed, paid, used, discounted), SHANGHAI)
        shares = {id: share for one in found.values() for id, (share, _) in one.lines.items()}
        for some_lines, into in ((own, used), (more, discounted)):
            for one in some_lines:
                into[one.group, "vou"] += shares.get(one.id, 0)
        for span, close in found.items():
            claimed[span] += close.claimed
            paid[span] += close.pays
    groups = {one.id: one.group for one in lines} | {one.id: one.group for one in discounts}
    sellers = {id: PROVIDERS[int(group.offering[-1])] for id, group in groups.items()}
    whole_of = estimated(terms, PLAIN, most, lines, merged(discounts), sellers, SHANGHAI)
    assert {start: pays for start, (_, pays) in whole_of.claims.items() if pays} == {
        span.start: pays for span, pays in paid.items() if pays
    }
    assert whole_of.pays == sum(paid.values()) == sum(pays for _, pays in whole_of.providers.values())
    borne = sum(one.amount for one in lines) + sum(taken.values())
    assert whole_of.used == borne == whole_of.supported == sum(amount for amount, _ in whole_of.providers.values())
    positive = sum(max(0, claimed) for claimed, _ in whole_of.claims.values())
    assert positive - sum(whole_of.cut) == whole_of.pays
    assert all(less >= 0 for less in whole_of.cut)


def test_what_a_discount_is_corrected_by_is_a_part_of_it() -> None:
    first, late = line(0, MARCH, 6000), line(2, MARCH, 4000)
    discounts = [off(first, 8, -600, 6000), off(late, 9, -900, 4000)]
    sellers = {one.id: "prv_1" for one in (first, late)} | {one.id: "prv_1" for one in discounts}
    found = estimated(programme(), PLAIN, None, [first, late], merged(discounts), sellers, SHANGHAI)
    assert (found.used, found.claimed, found.pays) == (8500, 2550, 2550)


def test_of_a_discount_only_that_part_counts_that_is_of_what_is_not_sold_on() -> None:
    own = line(0, MARCH, 6000)
    mixed, sold_on = off(own, 8, -1000, 10_000), off(line(1, MARCH, 0), 9, -700, 7000)
    sellers = {own.id: "prv_1", mixed.id: "prv_1", sold_on.id: "prv_2"}
    found = estimated(programme(), PLAIN, None, [own], [mixed, sold_on], sellers, SHANGHAI)
    assert (found.used, found.supported, found.claimed, found.pays) == (5400, 5400, 1620, 1620)
    assert found.providers == {"prv_1": (5400, 1620), "prv_2": (0, 0)}


def test_each_limit_cuts_what_those_before_it_left() -> None:
    terms = programme(settles="month", floor="10.00", caps={"claim": "25.00", "redeemed_in_year": "38.00"})
    lines = [line(0, MARCH, 3000), line(2, APRIL, 10_000), line(4, JULY, 9000)]
    found = estimated(terms, PLAIN, 4500, lines, [], {one.id: "prv_1" for one in lines}, SHANGHAI)
    assert (found.claimed, found.pays, found.cut) == (6600, 3800, (900, 700, 500, 700))
    assert [*found.claims.values()] == [(900, 0), (3000, 2500), (2700, 1300)]


def test_what_is_paid_for_claims_of_each_year_is_held_against_the_pool_of_that_year() -> None:
    december, january = datetime(2026, 11, 30, 16, tzinfo=UTC), datetime(2026, 12, 31, 16, tzinfo=UTC)
    terms = programme(settles="month", pools=[{"year": 2027, "amount": "8.99"}, {"year": 2026, "amount": "6.00"}])
    lines = [line(0, december, 1000), line(1, january, 3000)]
    both = estimated(terms, PLAIN, None, lines, [], {one.id: "prv_1" for one in lines}, SHANGHAI)
    one = estimated(terms, PLAIN, None, lines[:1], [], {lines[0].id: "prv_1"}, SHANGHAI)
    found = beside_pools(terms.pools, {2026, 2027, 2028}, [both, one], SHANGHAI)
    assert [(of.year, str(of.pays), str(of.amount), str(of.above)) for of in found] == [
        (2026, "6.00", "6.00", "0.00"),
        (2027, "9.00", "8.99", "0.01"),
        (2028, "0.00", "None", "None"),
    ]


def test_what_is_not_supported_is_used_and_no_more() -> None:
    known, unknown = line(0, MARCH, 1000), line(1, MARCH, 500)._replace(used=None)
    sellers = {known.id: "prv_1", unknown.id: "prv_2", "lin_off": "prv_2"}
    discounts = [DiscountLine("lin_off", unknown.group, MARCH, -100, 500)]
    found = estimated(programme(), PLAIN, None, [known, unknown], discounts, sellers, SHANGHAI)
    assert (found.used, found.supported, found.claimed, found.pays) == (1400, 1000, 300, 300)
    assert found.providers == {"prv_1": (1000, 300), "prv_2": (400, 0)}


def test_what_gives_back_more_than_was_used_pays_nothing_to_any_centre() -> None:
    lines = [line(0, MARCH, -1000), line(1, MARCH, 500)]
    sellers = {lines[0].id: "prv_1", lines[1].id: "prv_2"}
    found = estimated(programme(), PLAIN, None, lines, [], sellers, SHANGHAI)
    assert (found.claimed, found.pays, found.providers) == (-150, 0, {"prv_1": (-1000, 0), "prv_2": (500, 0)})
    assert found.cut == (0, 0, 0, 0)
