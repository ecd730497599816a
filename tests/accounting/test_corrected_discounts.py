"""Volume discounts of a price list that was wrong: whole periods that are corrected go by the right list's tiers."""

from collections.abc import Mapping
from decimal import Decimal

import pytest

from caravan.contracts.prices import Component, VolumeTier
from caravan.kernel import ids
from tests.accounting.months import APRIL, MARCH
from tests.accounting.test_corrections import Desk, portrait
from tests.accounting.test_redemptions import issued, standing
from tests.accounting.volume import CORE, MONTH, TIERS, close, given, sound, tiers, use
from tests.accounting.world import T0, World, at, tariff
from tests.support import Json, ok

START, END = ((edge - T0).days * 86_400 + (edge - T0).seconds for edge in (MARCH, APRIL))
"""March, in seconds after T0."""
IN_APRIL = at(END + 3 * 86_400)


async def published(
    world: World, revision: int = 3, volume: Mapping[Component, tuple[VolumeTier, ...]] | None = None
) -> str:
    """A list with the prices of the world, made in April."""
    price_list = ids.new("prl")
    one = tariff("day", None, None, cpu_core_hour="36.00")
    world.know_prices(price_list, revision, one, created_at=IN_APRIL, volume=dict(volume or {}))
    await world.deliver()
    return price_list


def off(lines: list[Json]) -> list[tuple[int, str, str]]:
    return [(one["quantity"], one["basis"], one["amount"]) for one in lines]


@pytest.fixture
def desk(sold: World) -> Desk:
    """What is placed is by the list with `TIERS`, which is in force in March; `right` is the one before it, which is in none."""
    first = sold.price_list
    (sold.price_list,) = [event["data"]["id"] for event in sold.catalog.events if event["data"].get("volume_discounts")]
    desk = Desk(sold)
    desk.right = first
    return desk


async def test_a_discount_that_was_wrong_is_taken_back_as_the_next_period_closes_and_its_reverse_leaves_nothing(
    sold: World, desk: Desk
) -> None:
    await use(sold, 9)
    march = await close(sold)
    right = await published(sold)
    made = await desk.correct(START, END, right)
    assert [(one["period"], one["whole"]) for one in made["volume_discounts"]] == [(march, True)]
    assert off(await given(sold)) == [(32_400, "324.00", "-28.80")], "a closed period stays"
    await sound(sold)
    april = await close(sold, END)
    _, taken_back = await given(sold)
    assert (taken_back["period"], taken_back["corrects"], taken_back["price_list"]) == (april, march, right)
    assert off([taken_back]) == [(-32_400, "-324.00", "28.80")]
    assert (await sold.funds())["charged"] == "324.00"
    explained = ok(await sold.member.get(f"/lines/{taken_back['id']}/explanation"))
    assert (explained["quantity"], explained["tiers"], explained["discount"]) == (0, [], "0.00")
    assert (explained["correction"]["billed_before"], explained["correction"]["now"]) == ("-28.80", "0.00")
    await use(sold, 4, 1)
    await close(sold, END + MONTH * 3600)
    assert len(await given(sold)) == 2, "late usage has none either"

    undone = await desk.correct(START, END, sold.price_list)
    assert [(one["period"], one["whole"]) for one in undone["volume_discounts"]] == [(march, True)]
    await close(sold, END + 2 * MONTH * 3600)
    *_, again = await given(sold)
    assert off([again]) == [(13 * 3600, "468.00", "-100.80")]
    assert Decimal((await sold.funds())["charged"]) == Decimal("468.00") - Decimal("100.80")


async def test_a_correction_and_its_reverse_between_two_closes_leave_nothing(sold: World, desk: Desk) -> None:
    await use(sold, 9)
    await close(sold)
    before = await portrait(sold)
    await desk.correct(START, END, await published(sold, volume={CORE: tiers((1, "90"))}))
    await desk.correct(START, END, sold.price_list)
    await close(sold, END)
    assert await portrait(sold) == before
    assert len(await given(sold)) == 1


async def test_late_usage_of_a_corrected_period_goes_by_the_right_lists_tiers(sold: World, desk: Desk) -> None:
    await use(sold, 4)
    await close(sold)
    await desk.correct(START, END, await published(sold, volume={CORE: tiers((4, "25"))}))
    await use(sold, 2, 1)
    await close(sold, END)
    assert off(await given(sold)) == [(6 * 3600, "216.00", "-18.00")]


async def test_a_period_that_is_corrected_before_it_closes_is_discounted_by_the_right_list(
    sold: World, desk: Desk
) -> None:
    await use(sold, 9)
    await desk.correct(START, END, await published(sold, volume={CORE: tiers((4, "25"))}))
    await close(sold)
    assert off(await given(sold)) == [(32_400, "324.00", "-45.00")]


async def test_discounts_are_settled_also_where_no_usage_is_corrected(sold: World, desk: Desk) -> None:
    """All was placed by the list before the one with discounts, which is the one that is wrong."""
    wrong, sold.price_list = sold.price_list, desk.right
    await use(sold, 9)
    await close(sold)
    made = await desk.correct(START, END, await published(sold), replaces=[wrong])
    assert made["preview"]["jobs"] == 0
    await close(sold, END)
    assert [amount for *_, amount in off(await given(sold))] == ["-28.80", "28.80"]


@pytest.mark.parametrize(("start", "end"), [(START + 1, END), (START, END - 1)])
async def test_a_period_that_is_corrected_in_part_keeps_the_tiers_of_its_discounts_and_it_says_so(
    sold: World, desk: Desk, start: int, end: int
) -> None:
    await use(sold, 9)
    march = await close(sold)
    made = await desk.correct(start, end, await published(sold))
    (concerned,) = made["volume_discounts"]
    assert (concerned["period"], concerned["period_name"], concerned["whole"]) == (march, "2026-03", False)
    assert "in part" in concerned["words"]["en"] and "一部分" in concerned["words"]["zh"]
    await close(sold, END)
    assert len(await given(sold)) == 1


async def test_a_correction_concerns_discounts_where_it_replaces_the_list_that_they_go_by_or_has_others(
    sold: World, desk: Desk
) -> None:
    await use(sold, 9)
    await close(sold)
    right, alike = await published(sold), await published(sold, 4, {CORE: TIERS})
    for price_list, replaces in ((right, [desk.right]), (alike, "all")):
        made = await desk.correct(START, END, price_list, replaces=replaces)
        assert made["volume_discounts"] == []
    await close(sold, END)
    assert off(await given(sold)) == [(32_400, "324.00", "-28.80")]


async def test_what_a_correction_takes_back_of_a_discount_may_leave_less_than_nothing(sold: World, desk: Desk) -> None:
    await use(sold, 9)
    await close(sold)
    funds = await sold.funds()
    assert (await sold.job().hold(funds["available"]))["granted"]
    await desk.correct(START, END, await published(sold))
    await close(sold, END)
    assert (await sold.funds())["available"] == "-28.80"


async def test_what_a_correction_takes_back_of_a_discount_vouchers_pay_their_part_of_again(
    sold: World, desk: Desk
) -> None:
    voucher = await issued(sold, "1000.00")
    await use(sold, 9)
    await close(sold)
    assert await standing(sold, voucher) == ("88.56", "88.56")
    await desk.correct(START, END, await published(sold))
    await close(sold, END)
    assert [line["subsidy"] for line in await given(sold)] == ["-8.64", "8.64"]
    assert await standing(sold, voucher) == ("97.20", "97.20")
