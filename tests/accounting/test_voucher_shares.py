"""What a voucher has of each line: an auditor computes its payments again by that."""

import asyncio

import pytest
from typer.testing import CliRunner

from caravan.cli import app
from caravan.kernel import ids
from caravan.kernel.money import Money
from caravan.kernel.tokens import create_signer
from services.accounting.programmes.claims import share
from tests.accounting.programmes_cases import office, published
from tests.accounting.test_redemptions import issued
from tests.accounting.test_reimbursement_commands import served
from tests.accounting.volume import MONTH, close, use
from tests.accounting.world import World
from tests.support import Json, ok, refused


async def shares(world: World, voucher: str) -> list[Json]:
    """All of them, a page for each, and as each of those sees them who may."""
    found, query = list[Json](), dict[str, int | str]()
    while True:
        page = ok(await world.member.get(f"/vouchers/{voucher}/shares", limit=1, **query))
        assert not [one for one in page["items"] if one in found]
        found += page["items"]
        if page["next"] is None:
            break
        query = {"cursor": page["next"]}
    for reader in (office(world), world.finance):
        assert ok(await reader.get(f"/vouchers/{voucher}/shares"))["items"] == found
    return found


@pytest.mark.parametrize("mode", ["deducted", "reimbursed"])
async def test_a_vouchers_shares_are_listed_line_by_line_with_the_rate_of_each(sold: World, mode: str) -> None:
    programme = await published(sold, mode=mode, settles="month", caps={"claim": "100.00"})
    voucher, other = [await issued(sold, "1000.00", programme=programme) for _ in range(2)]
    assert await shares(sold, voucher) == []
    first, _ = await use(sold, 9)
    second, _ = await use(sold, 3, hour=1)
    assert await shares(sold, voucher) == [], "nothing is closed"
    march = await close(sold)
    third, _ = await use(sold, 2, hour=MONTH)
    april = await close(sold, MONTH * 3600)
    found = await shares(sold, voucher)
    assert [one["line"] for one in found] == sorted(one["line"] for one in found)
    told = {
        (one["period"], one["job"]): (one["amount"], one["rate"], one["share"], one["paid"])
        for one in found
        if one["component"] == "cpu_core_hour"
    }
    assert len(told) == len(found)
    assert told == {
        (march, first.id): ("324.00", 3000, "97.20", "97.20"),
        (march, second.id): ("108.00", 3000, "32.40", told[march, second.id][3]),
        (march, None): ("-82.80", None, "-24.84", "-24.84"),
        (april, third.id): ("72.00", 3000, "21.60", "21.60"),
    }
    of_march = sum(Money.parse(pays).fen for (period, _), (*_, pays) in told.items() if period == march)
    assert str(Money(of_march)) == "100.00"
    for one in found:
        if one["job"]:
            fen = Money.parse(one["amount"]).fen
            assert share(fen, {"": one["rate"]})[""] == Money.parse(one["share"]).fen
    lines = {one["id"]: one for one in ok(await sold.finance.get("/lines", limit=200))["items"]}
    for one in found:
        assert lines[one["line"]]["subsidy"] == (one["paid"] if mode == "deducted" else None)
    assert await shares(sold, other) == []


async def test_the_command_lists_a_vouchers_shares_of_lines(sold: World) -> None:
    voucher = await issued(sold, "1000.00")
    await use(sold, 7)
    period = await close(sold)
    token = create_signer(sold.service.app.settings).sign("member", (f"org/{sold.organization}:member",))
    async with served(sold) as url:
        env = {"CARAVAN_ACCOUNTING_URL": url, "CARAVAN_TOKEN": token, "COLUMNS": "250"}
        done = await asyncio.to_thread(CliRunner().invoke, app, ["vouchers", "shares", voucher], env=env)
    assert done.exit_code == 0, done.output
    for cell in (period, "252.00", "30.00%", "75.60", "volume discount", "-2.16"):
        assert cell in done.output


async def test_others_do_not_see_what_a_voucher_has_of_lines(sold: World) -> None:
    voucher = await issued(sold, "1000.00")
    stranger = sold.service.person("stranger", f"org/{ids.new('org')}:admin")
    for person in (stranger, sold.seller):
        refused(await person.get(f"/vouchers/{voucher}/shares"), 404, "not_found")
    refused(await office(sold).get(f"/vouchers/{ids.new('vou')}/shares"), 404, "not_found")
