"""What floor and caps have cut of claims: as a preview says it, and as closes have settled it."""

import asyncio
import io
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from sqlalchemy.orm import Session
from typer.testing import CliRunner

from caravan.cli import app
from caravan.cli import programmes as cli
from caravan.contracts.programme_reports import ProgrammeCuts
from caravan.kernel import ids
from caravan.kernel.money import Money
from caravan.kernel.tokens import create_signer
from services.accounting.programmes.claims import Claim, paid
from services.accounting.programmes.cuts import cut, total
from services.accounting.redemptions.models import SettlementRow
from tests.accounting.programmes_cases import drafted, key, office, programme, published
from tests.accounting.test_programme_payments import used
from tests.accounting.test_redemptions import charged, issued, settle
from tests.accounting.test_reimbursement_commands import served
from tests.accounting.test_settling_credit_notes import march
from tests.accounting.test_voucher_states import give_back
from tests.accounting.volume import MONTH, close
from tests.accounting.world import World
from tests.support import Json, ok, refused

MODES = pytest.mark.parametrize("mode", ["deducted", "reimbursed"])


async def cuts(world: World, programme: str, **query: Any) -> Json:
    """As the API has it, once it is found to add up."""
    found: Json = ok(await office(world).get(f"/programmes/{programme}/cuts", **query))
    claimed, paid, waits = (Money.parse(found[name]).fen for name in ("claimed", "paid", "waits"))
    assert claimed - sum(Money.parse(one["amount"]).fen for one in found["items"]) == paid + waits
    return found


def by_rule(found: Json) -> dict[str, tuple[int, str]]:
    """Of those that have cut something."""
    items = found["items"]
    assert [one["rule"] for one in items] == ["floor", "claim", "voucher", "redeemed_in_year"]
    return {one["rule"]: (one["claims"], one["amount"]) for one in items if one["claims"] or one["amount"] != "0.00"}


def comes_to(found: Json) -> tuple[int, str, str, str]:
    return found["claims"], found["claimed"], found["paid"], found["waits"]


async def months(world: World, *seconds: int) -> list[str]:
    """Of each month from March on what was used, closed: a yuan for each hundred seconds."""
    periods = []
    for month, some in enumerate(seconds):
        await used(world, some, month * MONTH * 3600)
        periods.append(await close(world, month * MONTH * 3600))
    return periods


@MODES
async def test_what_each_rule_has_cut_in_closes_is_told_as_a_preview_says_it(sold: World, mode: str) -> None:
    terms: dict[str, Any] = {"settles": "month", "mode": mode, "floor": "1.00"}
    caps = {"claim": "4.00", "voucher": "8.00", "redeemed_in_year": "6.50"}
    made = await published(sold, **terms, caps=caps)
    await issued(sold, "8.00", programme=made)
    assert comes_to(await cuts(sold, made["id"])) == (0, "0.00", "0.00", "0.00")
    periods = await months(sold, 2000, 300, 1000, 1000)
    found = await cuts(sold, made["id"])
    assert by_rule(found) == {
        "floor": (1, "0.90"),
        "claim": (1, "2.00"),
        "voucher": (1, "2.00"),
        "redeemed_in_year": (2, "1.50"),
    }
    assert comes_to(found) == (4, "12.90", "6.50", "0.00")
    draft = await drafted(sold, **terms, caps=caps)
    asked = ok(await office(sold).post(f"/programmes/{draft['id']}/preview", {"periods": periods}))
    assert asked["cut"] == {one["rule"]: one["amount"] for one in found["items"]}
    assert (asked["claimed"], asked["pays"]) == (found["claimed"], found["paid"])
    assert await cuts(sold, made["id"], year=2026) == found | {"year": 2026}
    assert comes_to(await cuts(sold, made["id"], year=2027)) == (0, "0.00", "0.00", "0.00")
    shown = Console(width=200, file=io.StringIO(), record=True)
    shown.print(cli.cuts(ProgrammeCuts.model_validate(found)))
    text = shown.export_text()
    for cell in ("claims below the floor", "the cap of a year", "12.90", "6.50"):
        assert cell in text


async def test_the_cap_of_a_year_cuts_each_organization_by_itself_and_leaves_later_years_more(sold: World) -> None:
    made = await published(sold, settles="year", caps={"redeemed_in_year": "6.00"})
    other = ids.new("org")
    for organization, years in ((sold.organization, {2026: 600, 2027: 300}), (other, {2026: 600})):
        voucher = await issued(sold, "9.00", organization, programme=made)
        await sold.db.write(settled, made["id"], organization, voucher, years)
    assert comes_to(await cuts(sold, made["id"])) == (3, "22.50", "15.00", "0.00")
    of_2026, of_2027 = [await cuts(sold, made["id"], year=year) for year in (2026, 2027)]
    assert by_rule(of_2026) == {"redeemed_in_year": (2, "3.00")}
    assert by_rule(of_2027) == {"voucher": (1, "6.00"), "redeemed_in_year": (0, "-1.50")}
    assert (of_2027["claimed"], of_2027["paid"]) == ("7.50", "3.00")


def settled(tx: Session, programme: str, organization: str, voucher: str, years: dict[int, int]) -> None:
    """As closes keep it that claims of 7.50 pay so much in these years."""
    for year, fen in years.items():
        whose = {"programme": programme, "organization": organization, "voucher": voucher}
        span = {"period": f"per_{year:032x}", "starts_at": year, "year": year}
        tx.add(SettlementRow(**whose, **span, claimed=750, on_lines=fen, earlier=0))


async def test_what_jobs_have_pledged_as_their_period_closes_waits_and_is_not_cut(sold: World) -> None:
    made = await published(sold, settles="month")
    await issued(sold, "5.00", programme=made)
    job, run = await charged(sold, 1000, "15.00")
    await used(sold, 900)
    await close(sold)
    waiting = await cuts(sold, made["id"])
    assert by_rule(waiting) == {"voucher": (1, "0.70")}
    assert comes_to(waiting) == (1, "5.70", "3.50", "1.50")
    settle(job, run)
    await sold.deliver()
    await close(sold, MONTH * 3600)
    assert await cuts(sold, made["id"]) == waiting | {"paid": "5.00", "waits": "0.00"}


async def test_what_a_credit_note_leaves_to_the_next_close_waits(sold: World) -> None:
    made = await published(sold, settles="year", floor="5.00")
    await issued(sold, "1000.00", programme=made)
    period, job = await march(sold)
    assert comes_to(await cuts(sold, made["id"])) == (1, "6.00", "6.00", "0.00")
    await give_back(sold, period, job, "5.00")
    noted = await cuts(sold, made["id"])
    assert by_rule(noted) == {"floor": (1, "4.50")}
    assert comes_to(noted) == (1, "4.50", "4.50", "-4.50")
    await close(sold, MONTH * 3600)
    assert comes_to(await cuts(sold, made["id"])) == (1, "4.50", "0.00", "0.00")


@MODES
async def test_a_clawback_changes_nothing_of_what_was_cut(sold: World, mode: str) -> None:
    made = await published(sold, settles="month", mode=mode)
    voucher = await issued(sold, "5.00", programme=made)
    await months(sold, 2000)
    before = await cuts(sold, made["id"])
    assert by_rule(before) == {"voucher": (1, "1.00")}
    draft = {"amount": "1.20", "reason": "材料不实"}
    ok(await office(sold).post(f"/vouchers/{voucher}/claw-back", draft, key("back")))
    assert await cuts(sold, made["id"]) == before


async def test_the_command_shows_what_was_cut_in_a_year(sold: World) -> None:
    made = await published(sold, settles="month")
    await issued(sold, "5.00", programme=made)
    await months(sold, 2000)
    token = create_signer(sold.service.app.settings).sign("finance", ("platform:finance",))
    async with served(sold) as url:
        env = {"CARAVAN_ACCOUNTING_URL": url, "CARAVAN_TOKEN": token, "COLUMNS": "200"}
        for year, claimed in (("2026", "6.00"), ("2027", "0.00")):
            arguments = ["programmes", "cuts", made["id"], "--year", year]
            done = await asyncio.to_thread(CliRunner().invoke, app, arguments, env=env)
            assert done.exit_code == 0, done.output
            assert claimed in done.output and "the cap of a voucher" in done.output


async def test_the_office_and_finance_read_what_was_cut(sold: World) -> None:
    path = f"/programmes/{(await published(sold))['id']}/cuts"
    assert (await sold.finance.get(path)).status_code == 200
    for stranger in (sold.admin, sold.seller):
        refused(await stranger.get(path), 404, "not_found")
    refused(await sold.finance.get(f"/programmes/{(await drafted(sold))['id']}/cuts"), 404, "not_found")
    refused(await office(sold).get(f"/programmes/{ids.new('prg')}/cuts"), 404, "not_found")
    refused(await office(sold).get(path, year=26), 422, "invalid")


drawn = st.lists(
    st.tuples(st.sampled_from("vw"), st.integers(0, 3), st.integers(-500, 3000)),
    max_size=6,
    unique_by=lambda one: one[:2],
)
most = st.integers(1, 3000)
caps = st.fixed_dictionaries({}, optional={"claim": most, "redeemed_in_year": most}).map(
    lambda found: {name: str(Money(fen)) for name, fen in found.items()}
)


@given(drawn, caps, most, most, st.integers(0, 1000))
def test_a_claim_less_what_cuts_it_is_what_it_pays(
    some: list[tuple[str, int, int]], caps: dict[str, str], first: int, second: int, floor: int
) -> None:
    terms, vouchers = programme(caps=caps, floor=str(Money(floor))), {"v": first, "w": second}
    claims = [Claim(voucher, span, 2026 + span // 2, full) for voucher, span, full in some]
    found, pays = cut(terms, vouchers, claims), paid(terms, vouchers, claims)
    assert {claim: max(0, claim.full) - sum(limits) for claim, limits in found.items()} == pays
    in_all = total(found.values())
    assert min(in_all) >= 0 and sum(in_all) == sum(sum(limits) for limits in found.values())
