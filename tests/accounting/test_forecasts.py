"""Asking how long a programme's pool lasts: what was issued and redeemed by month, and the straight lines from there."""

import io
from datetime import UTC, datetime

import pytest
from rich.console import Console

from caravan.cli import estimates
from caravan.contracts.estimates import Forecast
from caravan.contracts.programmes import Mode
from caravan.kernel import ids
from tests.accounting.programmes_cases import Hands, drafted, issued, key, office, published
from tests.accounting.test_redemptions import settle
from tests.accounting.test_voucher_states import give_back
from tests.accounting.volume import MONTH, close
from tests.accounting.world import World
from tests.support import ok, refused


@pytest.mark.parametrize("mode", Mode)
async def test_a_forecast_goes_on_from_what_was_issued_and_redeemed(spring: World, hands: Hands, mode: Mode) -> None:
    await spring.deposit("5000.00")
    programme = await published(spring, mode=mode, pools=[{"year": 2026, "amount": "3000.00"}])
    path = f"/programmes/{programme['id']}/forecast"
    early = ok(await office(spring).get(path))
    assert (early["issued_a_month"], early["used_up_in"], early["redeemed_by_year_end"]) == (None, None, None)
    await issued(spring, programme, "1000.00")
    hands.at = datetime(2026, 4, 15, tzinfo=UTC)
    await issued(spring, programme, "500.00")
    job = spring.job()
    await job.hold("1000.00", submitted_at=hands.at)
    job.place()
    job.use(ids.new("run"), MONTH * 3600, (MONTH + 1) * 3600, cpus=10)
    await spring.deliver()
    hands.at = datetime(2026, 5, 9, 16, tzinfo=UTC)
    assert ok(await office(spring).get(path))["redeemed_a_month"] is None
    await close(spring)
    await close(spring, MONTH * 3600)
    found = ok(await office(spring).get(path))
    words = found.pop("words")
    none = {"issued": "0.00", "redeemed": "0.00"}
    assert found == {
        "programme": programme["id"],
        "programme_name": "算力券",
        "year": 2026,
        "pool": "3000.00",
        "committed": "1500.00",
        "months": [
            {"month": "2026-01"} | none,
            {"month": "2026-02"} | none,
            {"month": "2026-03", "issued": "1000.00", "redeemed": "0.00"},
            {"month": "2026-04", "issued": "500.00", "redeemed": "108.00"},
            {"month": "2026-05"} | none,
        ],
        "issued_a_month": "750.00",
        "used_up_in": "2026-07",
        "redeemed_a_month": "54.00",
        "redeemed_by_year_end": "540.00",
    }
    assert "资金池将在 2026-07 用完" in words[0]["zh"] and "used up in 2026-07" in words[0]["en"]
    assert "到年底约兑付 540.00 元" in words[1]["zh"] and "540.00 CNY of this year's pool" in words[1]["en"]
    out = Console(width=200, file=io.StringIO(), record=True)
    out.print(estimates.foreseen(Forecast.model_validate(found | {"words": words})))
    text = out.export_text()
    assert all(one in text for one in ("108.00", "直线推算", "used up in 2026-07", "1500.00"))


async def test_only_the_office_asks_for_forecasts(spring: World) -> None:
    path = f"/programmes/{(await drafted(spring))['id']}/forecast"
    assert ok(await office(spring).get(path))["words"][0]["en"].startswith("No month is over yet")
    for person in (spring.admin, spring.finance, spring.seller):
        refused(await person.get(path), 404, "not_found")
    refused(await office(spring).get(f"/programmes/{ids.new('prg')}/forecast"), 404, "not_found")


async def test_what_is_taken_back_is_not_redeemed(spring: World, hands: Hands) -> None:
    await spring.deposit("5000.00")
    programme = await published(spring, pools=[{"year": 2026, "amount": "3000.00"}])
    path = f"/programmes/{programme['id']}/forecast"
    voucher = await issued(spring, programme, "1000.00")
    hands.at = datetime(2026, 4, 15, tzinfo=UTC)
    job, run = spring.job(), ids.new("run")
    await job.hold("1000.00", submitted_at=hands.at)
    job.place()
    job.use(run, MONTH * 3600, (MONTH + 1) * 3600, cpus=10)
    settle(job, run)
    await spring.deliver()
    hands.at = datetime(2026, 5, 9, 16, tzinfo=UTC)
    await close(spring)
    april = await close(spring, MONTH * 3600)
    back = {"amount": "8.00", "reason": "材料不实"}
    ok(await office(spring).post(f"/vouchers/{voucher['id']}/claw-back", back, key("back")))
    await give_back(spring, april, job, "60.00")
    found = ok(await office(spring).get(path))
    assert [one["redeemed"] for one in found["months"][-2:]] == ["108.00", "-26.00"]
    assert (found["redeemed_a_month"], found["redeemed_by_year_end"]) == ("54.00", "514.00")
