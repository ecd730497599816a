"""Asking what a programme would have paid: the same as it then pays where its vouchers were there before."""

import io
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as Xml

import pytest
from rich.console import Console
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from caravan.cli import estimates
from caravan.contracts.estimates import Preview
from caravan.contracts.jobs import Outcome
from caravan.kernel import ids
from caravan.kernel.money import Money
from services.accounting.app import create_app
from services.accounting.redemptions.models import SettlementRow
from tests.accounting.programmes_cases import drafted, office
from tests.accounting.test_redemptions import issued
from tests.accounting.volume import CORE, LATER, MONTH, TIERS, close
from tests.accounting.world import World, tariff
from tests.support import Json, database, development, ok, pointers, refused, running


@asynccontextmanager
async def trading(keys: Path, url: str) -> AsyncIterator[World]:
    """A world with volume discounts, in a year that is over, and a second organization."""
    async with running(create_app(development(keys, **database("accounting", url)), now=lambda: LATER)) as service:
        world = World(service)
        await world.open()
        one = tariff("day", None, None, cpu_core_hour="36.00")
        world.know_prices(ids.new("prl"), 2, one, volume={CORE: TIERS})
        await world.deposit("9000.00")
        yield world


async def second(world: World) -> tuple[str, str]:
    """Another organization, and its project."""
    organization, project = ids.new("org"), ids.new("prj")
    world.know_organization(organization, project)
    await world.deliver()
    await world.deposit("9000.00", organization)
    return organization, project


async def trade(world: World, other: tuple[str, str]) -> list[str]:
    """Jobs of both in March and April, one of which is taken back in April; the two periods, closed."""
    made = []
    for buyer, hour, cores in (
        ((world.organization, world.project), 0, 9),
        ((world.organization, world.project), 1, 3),
        (other, 0, 2),
        ((world.organization, world.project), MONTH, 7),
        (other, MONTH, 20),
    ):
        job, run = world.job(*buyer), ids.new("run")
        await job.hold("1000.00")
        job.place()
        job.use(run, 3600 * hour, 3600 * (hour + 1), cpus=cores)
        made.append((job, run))
    await world.deliver()
    march = await close(world)
    job, run = made[1]
    job.end(run, Outcome.SITE)
    await world.deliver()
    return [march, await close(world, MONTH * 3600)]


async def settled(world: World) -> dict[str, str]:
    """By organization, what vouchers have paid."""

    def read(tx: Session) -> dict[str, str]:
        sums = select(SettlementRow.organization, func.sum(SettlementRow.on_lines + SettlementRow.earlier))
        rows = tx.execute(sums.group_by(SettlementRow.organization))
        return {organization: str(Money(int(fen))) for organization, fen in rows}

    return await world.db.read(read)


async def preview(world: World, programme: Json, periods: list[str], **more: Any) -> Json:
    return ok(await office(world).post(f"/programmes/{programme['id']}/preview", {"periods": periods} | more))


@pytest.mark.parametrize(
    "terms",
    [
        {"caps": {"voucher": "500.00"}},
        {"caps": {"voucher": "150.00"}, "settles": "month"},
        {"caps": {"first_voucher": "130.00", "claim": "120.00"}, "floor": "30.00", "settles": "month"},
        {"caps": {"voucher": "500.00", "redeemed_in_year": "100.00"}, "settles": "year"},
    ],
)
async def test_a_preview_says_what_the_programme_then_pays(
    keys: Path, migrated: Callable[[str], str], terms: dict[str, Any]
) -> None:
    async with trading(keys, migrated("accounting")) as world:
        other = await second(world)
        periods = await trade(world, other)
        assert await settled(world) == {}
        found = await preview(world, await drafted(world, **terms), periods)
        previewed = {one["organization"]: one["pays"] for one in found["organizations"]}
        expected = [previewed[organization] for organization in (world.organization, other[0])]
        assert found["pays"] == str(Money(sum(Money.parse(one).fen for one in expected)))
        reimbursed = await preview(world, await drafted(world, **terms, mode="reimbursed"), periods)
        assert reimbursed | {"programme": found["programme"], "mode": "deducted"} == found
    async with trading(keys, migrated("accounting")) as world:
        other = await second(world)
        amount = terms["caps"].get("voucher", "130.00")
        await issued(world, amount, **terms)
        await issued(world, amount, other[0], **terms)
        await trade(world, other)
        paid = await settled(world)
        assert [paid.get(organization, "0.00") for organization in (world.organization, other[0])] == expected


async def test_a_preview_is_told_by_enterprise_centre_and_span_with_what_was_cut(sold: World) -> None:
    other = await second(sold)
    periods = await trade(sold, other)
    terms = {"caps": {"voucher": "150.00"}, "rates": [{"rate": 1000}, {"kind": "awarded", "rate": 3000}]}
    draft = await drafted(sold, settles="month", **terms)
    assert (await preview(sold, draft, periods))["claimed"] == "110.52"
    found = await preview(sold, draft, periods, assume={"kinds": ["awarded"]}, organizations=[other[0]])
    (one,) = found["organizations"]
    assert (one["organization"], one["voucher"]) == (other[0], "150.00")
    assert [(claim["claimed"], claim["pays"]) for claim in one["claims"]] == [("21.60", "21.60"), ("147.96", "128.40")]
    none = {"floor": "0.00", "claim": "0.00", "redeemed_in_year": "0.00"}
    for sums in (one, found):
        assert (sums["used"], sums["supported"], sums["claimed"], sums["pays"]) == (
            "565.20", "565.20", "169.56", "150.00",
        )  # fmt: skip
        assert sums["cut"] == none | {"voucher": "19.56"}
    assert found["providers"] == [
        {"provider": sold.provider, "name": "Xi'an Centre", "used": "565.20", "pays": "150.00"}
    ]
    assert found["claims"] == one["claims"]


async def test_a_preview_is_shown_as_tables_and_as_a_chart(sold: World) -> None:
    periods = await trade(sold, await second(sold))
    pools = [{"year": 2026, "amount": "100.00"}]
    draft = await drafted(sold, caps={"voucher": "150.00"}, name="<券>", pools=pools)
    found = Preview.model_validate(await preview(sold, draft, periods))
    out = Console(width=200, file=io.StringIO(), record=True)
    out.print(estimates.shown(found))
    text = out.export_text()
    assert "less, the cap of a voucher" in text and "below the floor" not in text
    assert all(words in text for words in ("300.00 (deducted)", "Qinling Materials", sold.provider, "565.20"))
    assert "测算补贴超出 2026 年资金池 200.00 元" in text and "200.00 CNY above the pool of 2026" in text
    svg = Xml.fromstring(estimates.charted(found))
    words = ["".join(one.itertext()) for one in svg.iter("{http://www.w3.org/2000/svg}text")]
    assert words[0] == "<券>：测算 preview"
    assert {"150.00 / 565.20", "150.00 / 540.00", "300.00 / 1,105.20"} <= {*words}


async def test_what_is_above_the_pool_is_told_and_cuts_nothing(sold: World) -> None:
    periods = await trade(sold, await second(sold))
    caps = {"voucher": "150.00"}
    none = await preview(sold, await drafted(sold, caps=caps, pools=[{"year": 2027, "amount": "1.00"}]), periods)
    assert none["pools"] == [{"year": 2026, "pays": "300.00", "amount": None, "above": None}]
    for amount, above in (("300.00", "0.00"), ("299.99", "0.01")):
        draft = await drafted(sold, caps=caps, pools=[{"year": 2026, "amount": amount}])
        found = await preview(sold, draft, periods)
        assert found["pools"] == [{"year": 2026, "pays": "300.00", "amount": amount, "above": above}]
        assert found | {"programme": none["programme"], "pools": none["pools"]} == none


async def test_only_names_that_the_programme_gives_can_be_assumed(sold: World) -> None:
    periods = await trade(sold, await second(sold))
    rates = [{"rate": 1000}, {"kind": "awarded", "rate": 3000}, {"use": "filed", "rate": 2000}]
    draft = await drafted(sold, rates=rates, eligibility={"uses": ["trained"]})
    body = {"periods": periods, "assume": {"kinds": ["awarded", "award"], "use": "files"}}
    problem = refused(await office(sold).post(f"/programmes/{draft['id']}/preview", body), 422, "invalid")
    assert [(one["pointer"], one["code"], one["detail"]) for one in problem["errors"]] == [
        (
            "/assume/kinds/1",
            "not_named",
            "The programme names awarded: give one of these, or leave it out",
        ),
        (
            "/assume/use",
            "not_named",
            "The programme names filed, trained: give one of these, or leave it out",
        ),
    ]
    assert (await preview(sold, draft, periods, assume={"kinds": [], "use": "trained"}))["pays"] != "0.00"


async def test_corrections_of_periods_that_are_not_asked_for_are_left_out(sold: World) -> None:
    periods = await trade(sold, await second(sold))
    found = await preview(sold, await drafted(sold), periods[1:], organizations=[sold.organization])
    assert found["used"] == "244.80"


async def test_only_closed_periods_and_who_is_known_can_be_asked_for_and_by_the_office_alone(sold: World) -> None:
    periods = await trade(sold, await second(sold))
    draft = await drafted(sold)
    path = f"/programmes/{draft['id']}/preview"
    assert ok(await sold.finance.post(f"/periods/{periods[0]}/close"))["state"] == "closed"
    (may,) = (one for one in ok(await sold.finance.get("/periods"))["items"] if one["state"] == "open")
    for body, code, pointer in (
        ({"periods": [periods[0], may["id"]]}, "invalid", "/periods/1"),
        ({"periods": [ids.new("per")]}, "unknown_reference", "/periods/0"),
        ({"periods": periods, "organizations": [sold.organization, ids.new("org")]}, "unknown_reference", "/organizations/1"),
        ({"periods": [periods[0]] * 2}, "invalid", "/periods"),
        ({"periods": []}, "invalid", "/periods"),
    ):  # fmt: skip
        assert pointers(refused(await office(sold).post(path, body), 422, code)) == [pointer]
    for person in (sold.admin, sold.finance, sold.seller):
        refused(await person.post(path, {"periods": periods}), 404, "not_found")
    refused(await office(sold).post(f"/programmes/{ids.new('prg')}/preview", {"periods": periods}), 404, "not_found")
