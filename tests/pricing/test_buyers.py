"""What a price list with tariffs for some is for one buyer, held against a search of each second."""

from collections.abc import Iterator
from datetime import datetime
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from caravan.contracts.prices import Buyer, Buyers, PriceList, PriceListDraft, Tariff
from caravan.pricing import options_of, prices_for, windows
from tests.pricing.cases import START, at, price_list, price_lists, tariff
from tests.pricing.special import ACME, BETA, OTHER, buyers, special_lists, tariffs


def is_for(one: Tariff, buyer: Buyer) -> bool:
    for field, values in one.options.items():
        if buyer.options.get(field) not in values:
            return False
    if one.buyers is None:
        return True
    return buyer.organization in one.buyers.organizations or buyer.price_class in one.buyers.classes


def covering(some: PriceList, instant: datetime) -> list[Tariff]:
    return [t for t in some.tariffs if t.starts_at <= instant and (t.ends_at is None or instant < t.ends_at)]


def winners(some: PriceList, buyer: Buyer, instant: datetime) -> list[Tariff]:
    """The docs' sentence, word for word."""
    found = [one for one in covering(some, instant) if is_for(one, buyer)]
    named = [one for one in found if one.buyers and buyer.organization in one.buyers.organizations]
    by_class = [one for one in found if one.buyers and one not in named]
    for_all = [one for one in found if one.buyers is None]
    for group in (named, by_class, for_all):
        with_options = [one for one in group if one.options]
        if group:
            return with_options or group
    return []


@given(special_lists(), buyers)
def test_each_second_is_priced_by_the_tariff_that_goes_before_the_others(some: PriceList, buyer: Buyer) -> None:
    found = prices_for(some, buyer)
    for second in range(-25, 90):
        instant = at(second)
        expected = winners(some, buyer, instant)
        assert len(expected) <= 1
        assert [(t.name, t.prices, t.windows) for t in covering(found, instant)] == [
            (t.name, t.prices, t.windows) for t in expected
        ]
        (window,) = windows(found, START + second, START + second + 1)
        assert window.tariff == (expected[0].name if expected else "none")
    assert all(t.for_all for t in found.tariffs)
    assert (found.id, found.revision, found.zone, found.calendar) == (some.id, some.revision, some.zone, some.calendar)
    assert prices_for(found, buyer).tariffs == found.tariffs


@given(special_lists(), buyers)
def test_what_of_a_target_no_tariff_goes_by_makes_no_difference(some: PriceList, buyer: Buyer) -> None:
    known = buyer.model_copy(update={"options": options_of(some, {"nodes": 3, **buyer.options})})
    assert prices_for(some, known).tariffs == prices_for(some, buyer).tariffs
    assert not known.options.keys() & {"nodes"} and "other" not in known.options.values()


@given(price_lists(), st.sets(st.integers(0, 4)), buyers)
def test_who_is_not_named_is_priced_as_if_nobody_were(some: PriceList, special: set[int], buyer: Buyer) -> None:
    for_others = [
        one.model_copy(update={"name": f"for-{place}", "buyers": Buyers(organizations=(f"org_{'d' * 32}",))})
        for place, one in enumerate(some.tariffs)
        if place in special
    ]
    found = prices_for(price_list(*some.tariffs, *for_others, calendar=some.calendar), buyer)
    assert sorted(found.tariffs, key=lambda t: t.starts_at) == sorted(some.tariffs, key=lambda t: t.starts_at)
    assert prices_for(some, buyer) is some


@given(tariffs("a"), tariffs("b"))
def test_two_tariffs_are_refused_together_just_where_a_second_of_some_job_would_have_both(
    one: Tariff, other: Tariff
) -> None:
    unchecked = price_list(one).model_copy(update={"tariffs": (one, other)})
    everybody = (
        Buyer(organization=organization, price_class=price_class, options=options)
        for organization, price_class, options in product([ACME, BETA, OTHER], ["高校", "small", None], choices())
    )
    shared = max(one.starts_at, other.starts_at)
    clash = any(len(winners(unchecked, buyer, shared)) == 2 for buyer in everybody)
    if clash:
        with pytest.raises(ValidationError, match=r"Tariffs . and . overlap"):
            PriceListDraft(tariffs=(one, other))
    else:
        PriceListDraft(tariffs=(one, other))


def test_options_that_no_job_has_together_may_overlap() -> None:
    def options(**chosen: str) -> Tariff:
        return tariff("-".join(chosen.values()), 0, 10, job="1").model_copy(
            update={"options": {field: (value,) for field, value in chosen.items()}}
        )

    PriceListDraft(tariffs=(options(qos="high"), options(qos="low", priority="high")))
    PriceListDraft(tariffs=(options(qos="low"), options(qos="high", priority="high")))
    with pytest.raises(ValidationError, match="Tariffs high and low overlap, and could both be for the same job"):
        PriceListDraft(tariffs=(options(qos="high"), options(priority="low")))


def choices() -> Iterator[dict[str, str]]:
    for qos, priority in product(["low", "high", None], repeat=2):
        yield {field: value for field, value in (("qos", qos), ("priority", priority)) if value is not None}


def test_an_organization_by_name_goes_before_its_class_that_before_all_and_options_before_none() -> None:
    by_name, by_class, high = Buyers(organizations=(ACME,)), Buyers(classes=("高校",)), {"qos": ("high",)}
    ranks = [(by_name, high), (by_name, {}), (by_class, high), (by_class, {}), (None, high), (None, {})]
    left = [
        tariff(f"t{place}", 0, 10, job="1").model_copy(update={"buyers": whom, "options": options})
        for place, (whom, options) in enumerate(ranks)
    ]
    buyer = Buyer(organization=ACME, price_class="高校", options={"qos": "high"})
    for order in (1, -1):
        for place in range(len(left)):
            some = PriceListDraft(tariffs=tuple(left[place:][::order])).tariffs
            assert [t.name for t in prices_for(price_list(*some), buyer).tariffs] == [f"t{place}"]


def test_a_tariff_that_is_cut_in_two_keeps_its_name() -> None:
    special = tariff("deal", 10, 20, cpu_core_hour="1").model_copy(update={"buyers": Buyers(organizations=(ACME,))})
    some = price_list(tariff("2026", 0, 30, cpu_core_hour="2"), special)
    assert [(w.tariff, w.end - w.start) for w in windows(prices_for(some, Buyer(organization=ACME)), START, START + 30)] == [
        ("2026", 10), ("deal", 10), ("2026", 10),
    ]  # fmt: skip
    assert [w.tariff for w in windows(prices_for(some, Buyer()), START, START + 30)] == ["2026"]
    assert prices_for(some, Buyer(organization=ACME)).tariffs[0].ends_at == at(10)
