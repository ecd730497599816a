"""Who sells an offering, at whose prices, and what is pinned of it: without a database."""

import re
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caravan.contracts.dispatch import Grant
from caravan.contracts.offerings import Limits
from caravan.contracts.prices import Buyer, Buyers, Component, PriceList, Tariff
from caravan.contracts.resale import ResaleAgreement
from caravan.kernel import ids
from caravan.pricing import covered, options_of, prices_for, worst_case
from services.broker.placement.copies import EMPTY, Sold
from services.broker.placement.decide import DEAREST, dearest_wholesale
from services.broker.placement.question import Question, Reseller
from services.broker.placement.sale import Sale, sale_of
from tests.broker.test_decide import NOW, ORGANIZATION, World, spec
from tests.pricing.cases import START, at
from tests.pricing.special import ACME, BETA, OTHER, special_lists

DISTRICT = Reseller(ids.new("org"), ids.new("prj"))
GRANT = Grant(nodes=1, cpus=2, memory_mib=1024, max_seconds=7)
SOLD = World().add()


def with_prices_for_all(some: PriceList) -> PriceList:
    """Its tariffs for some, beside one that prices all others always."""
    base = Tariff(name="base", starts_at=at(-90), prices={Component.CPU_CORE_HOUR: Decimal("36")})
    return some.model_copy(update={"tariffs": (base, *(one for one in some.tariffs if not one.for_all))})


lists = special_lists().map(with_prices_for_all)


@given(
    st.data(),
    lists | special_lists(),
    st.none() | lists | special_lists(),
    st.integers(-10, 70),
    st.integers(1, 9),
    st.permutations([ACME, BETA, OTHER]),
)
def test_both_sides_are_priced_as_each_of_them_would_be_alone(
    data: st.DataObject, centres: PriceList, own: PriceList | None, second: int, walltime: int, parties: list[str]
) -> None:
    member, district, _ = parties
    classes = {
        one: drawn for one in parties if (drawn := data.draw(st.sampled_from(["高校", "small", None]))) is not None
    }
    target = data.draw(st.dictionaries(st.sampled_from(["qos", "priority"]), st.sampled_from(["high", "low", "other"])))
    offering = SOLD.offering.model_copy(update={"target": target})
    reseller = Reseller(district, DISTRICT.project)
    resold = (
        {(offering.id, district): own.model_copy(update={"id": ids.new("prl"), "reseller": district})} if own else {}
    )
    view = replace(EMPTY, classes=classes, resold=resold)
    question = Question(spec(resources={"walltime_seconds": walltime}), member, reseller, 2, at(second), {})

    def priced(price_list: PriceList, organization: str) -> PriceList | None:
        buyer = Buyer(
            organization=organization,
            price_class=classes.get(organization),
            options=options_of(price_list, target),
        )
        found = prices_for(price_list, buyer)
        return found if covered(found, START + second, START + second + walltime) else None

    found = sale_of(question, replace(SOLD, offering=offering, prices=centres), view)
    sells = own is not None and any(
        one.starts_at <= at(second) and (one.ends_at is None or at(second) < one.ends_at) for one in own.tariffs
    )
    retail = priced(next(iter(resold.values())) if sells else centres, member)
    wholesale = priced(centres, district) if sells else None
    if retail is None or (sells and wholesale is None):
        assert isinstance(found, list)
        assert [one.code for one in found] == ["no_price"] * ((retail is None) + (sells and wholesale is None))
        return
    assert isinstance(found, Sale)
    assert found.retail.prices == retail
    bought = found.wholesale(GRANT, question)
    assert (bought is not None) == sells
    if bought is not None and wholesale is not None:
        assert bought.worst == worst_case(GRANT, 2, wholesale, START + second)
        pinned = bought.resale
        assert (pinned.reseller, pinned.project, pinned.price_list) == (district, DISTRICT.project, centres.id)
        buyer = Buyer(organization=pinned.reseller, price_class=pinned.price_class, options=pinned.options)
        assert prices_for(centres, buyer) == wholesale


@pytest.fixture
def world() -> World:
    return World(reseller=DISTRICT)


def resell(world: World, sold: Sold, price: str, **changes: Any) -> PriceList:
    """The district sells it on at that price."""
    assert sold.prices is not None
    prices = {Component.CPU_CORE_HOUR: Decimal(price)}
    tariff = sold.prices.tariffs[0].model_copy(update={"prices": prices} | changes)
    own = sold.prices.model_copy(
        update={"id": ids.new("prl"), "reseller": DISTRICT.organization, "revision": 7, "tariffs": (tariff,)}
    )
    world.resold[sold.offering.id, DISTRICT.organization] = own
    return own


def test_a_candidate_names_its_seller_and_what_that_pays_is_kept_apart(world: World) -> None:
    resold, direct = world.add(price="36.00"), world.add(price="54.00")
    own = resell(world, resold, "72.00")
    first, second = world.decide(spec()).options
    assert (first.sold, second.sold) == (direct, resold), "ranked by what the organization pays"
    one, other = first.candidate, second.candidate
    assert (one.reseller, one.reseller_name, first.wholesale) == (None, None, None)
    assert (other.reseller, other.reseller_name) == (DISTRICT.organization, "航天基地")
    assert (other.price_list, other.price_list_revision, str(other.worst_case)) == (own.id, 7, "2.00")
    bought = second.wholesale
    assert bought is not None and resold.prices is not None
    assert (bought.resale.price_list, str(bought.worst.amount)) == (resold.prices.id, "1.00")
    assert resold.prices.id not in other.model_dump_json(), "the organization doesn't learn by what its reseller buys"
    assert world.decide(spec(max_cost="1.99")).options == (first,)


def test_prices_for_the_reseller_are_not_its_members(world: World) -> None:
    sold = world.add(price="36.00")
    assert sold.prices is not None
    (for_all,) = sold.prices.tariffs
    deal = Buyers(organizations=(DISTRICT.organization,))
    prices = {Component.CPU_CORE_HOUR: Decimal("18.00")}
    wholesale = for_all.model_copy(update={"name": "deal", "buyers": deal, "prices": prices})
    sold = world.change(sold, prices=sold.prices.model_copy(update={"tariffs": (for_all, wholesale)}))
    (option,) = world.decide(spec()).options
    assert (str(option.candidate.worst_case), option.wholesale) == ("1.00", None), "the district doesn't sell it"
    resell(world, sold, "72.00")
    (option,) = world.decide(spec()).options
    assert option.wholesale is not None
    assert (str(option.candidate.worst_case), str(option.wholesale.worst.amount)) == ("2.00", "0.52")


def test_each_side_is_pinned_with_its_own_class_and_options(world: World) -> None:
    sold = world.add(target={"qos": "high"})
    assert sold.prices is not None
    (for_all,) = sold.prices.tariffs
    special = {"buyers": Buyers(classes=("district",)), "options": {"qos": ("high",)}}
    prices = {Component.CPU_CORE_HOUR: Decimal("18.00")}
    wholesale = for_all.model_copy(update={"name": "special", "prices": prices} | special)
    sold = world.change(sold, prices=sold.prices.model_copy(update={"tariffs": (for_all, wholesale)}))
    resell(world, sold, "72.00")
    world.classes |= {DISTRICT.organization: "district", ORGANIZATION: "small"}
    (option,) = world.decide(spec()).options
    bought = option.wholesale
    assert bought is not None
    assert (option.buyer.price_class, option.buyer.options) == ("small", {})
    assert (bought.resale.price_class, bought.resale.options) == ("district", {"qos": "high"})
    assert (str(option.candidate.worst_case), str(bought.worst.amount)) == ("2.00", "0.52")


@pytest.mark.parametrize(
    ("starts", "ends", "seller"),
    [
        (-1, None, "district"),
        (0, None, "district"),
        (1, None, "centre"),
        (-9, 0, "centre"),
        (-9, 1, None),
    ],
)
def test_the_reseller_sells_while_a_tariff_of_its_own_covers_the_placement(
    world: World, starts: int, ends: int | None, seller: str | None
) -> None:
    sold = world.add()
    ends_at = None if ends is None else NOW + timedelta(seconds=ends)
    resell(world, sold, "72.00", starts_at=NOW + timedelta(seconds=starts), ends_at=ends_at)
    if seller is None:
        assert list(world.reasons(spec())) == ["no_price"]
    else:
        (option,) = world.decide(spec()).options
        assert (option.wholesale is not None) == (seller == "district")


def test_without_prices_to_buy_at_the_reseller_can_not_sell(world: World) -> None:
    sold = world.add()
    resell(world, sold, "72.00")
    assert sold.prices is not None
    (for_all,) = sold.prices.tariffs
    others = for_all.model_copy(update={"buyers": Buyers(organizations=(ORGANIZATION,))})
    world.change(sold, prices=sold.prices.model_copy(update={"tariffs": (others,)}))
    reason = world.reasons(spec())["no_price"]
    assert "转售方" in reason.detail and "its reseller buys" in reason.detail


def test_what_no_hold_of_the_resellers_could_cover_is_refused_without_its_amount(world: World) -> None:
    limits = Limits(nodes=1, cpus_per_node=8, memory_mib_per_node=8192, walltime_seconds=10**9)
    resell(world, world.add(price="999999999", limits=limits), "0.36")
    reasons = world.reasons(spec(resources={"walltime_seconds": 31_000_000, "cpus_per_task": 8}))
    assert list(reasons) == ["too_dear"]

    assert set(re.findall(r"[0-9.]{4,}", reasons["too_dear"].detail)) == {str(DEAREST)}


def test_while_a_job_waits_the_dearest_of_what_the_reseller_would_buy_is_held(world: World) -> None:
    assert dearest_wholesale(world.decide(spec()).options) is None
    dear_to_buy, dear_to_sell, _ = world.add(price="72.00"), world.add(price="36.00"), world.add(price="99.00")
    assert dearest_wholesale(world.decide(spec()).options) is None, "it sells nothing"
    resell(world, dear_to_buy, "9.00")
    resell(world, dear_to_sell, "90.00")
    found = dearest_wholesale(world.decide(spec()).options)
    assert found is not None and str(found.amount) == "2.00"


def test_an_organization_has_the_reseller_of_the_second_in_which_it_asks() -> None:
    starts, ends = NOW, NOW + timedelta(hours=1)
    agreement = ResaleAgreement(
        reseller=DISTRICT.organization, project=DISTRICT.project, members=(ORGANIZATION,), starts_at=starts, ends_at=ends,
        id=ids.new("rsl"), version=1, created_at=NOW,
    )  # fmt: skip
    view = replace(EMPTY, agreements={ORGANIZATION: (agreement,)})
    second = timedelta(seconds=1)
    found = [view.reseller(ORGANIZATION, at) for at in (starts - second, starts, ends - second, ends)]
    assert found == [None, DISTRICT, DISTRICT, None]
    assert view.reseller(DISTRICT.organization, starts) is None
