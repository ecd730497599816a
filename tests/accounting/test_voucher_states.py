"""What state a voucher is in: issued, redeemed, expired or revoked."""

import csv
import io

from rich.console import Console

from caravan.cli import vouchers as cli
from caravan.contracts.vouchers import Voucher
from caravan.kernel import ids
from services.accounting.vouchers import ending
from services.accounting.vouchers.states import state_of
from tests.accounting.programmes_cases import key, office
from tests.accounting.test_redemptions import charged, issued, settle
from tests.accounting.volume import LATER, close
from tests.accounting.world import Job, World
from tests.support import Json, ok, refused


async def states(world: World, voucher: str) -> set[str]:
    """As the voucher, the standing of its programme and that one's CSV have it."""
    found = ok(await office(world).get(f"/vouchers/{voucher}"))
    path = f"/programmes/{found['programme']}"
    counted = ok(await office(world).get(f"{path}/standing"))["vouchers"]
    exported = (await office(world).get(f"{path}/export.csv")).content.decode("utf-8-sig")
    rows = csv.DictReader(io.StringIO(exported, newline=""))
    (listed,) = ok(await world.member.get("/vouchers"))["items"]
    return {
        found["state"],
        listed["state"],
        *(state for state, some in counted.items() if some),
        *(row["状态 State"].split(" ")[1] for row in rows),
    }


async def give_back(world: World, period: str, job: Job, amount: str) -> Json:
    (line,) = [one for one in await job.lines() if one["amount"] != "0.00"]
    (statement,) = ok(await world.member.get("/statements", period=period))["items"]
    draft = {"statement": statement["id"], "line": line["id"], "amount": amount, "reason": "机房断电"}
    return ok(await world.finance.post("/credit-notes", draft, key(ids.new("evt"))), 201)


async def test_a_voucher_is_redeemed_once_closed_periods_have_paid_all_of_it(sold: World) -> None:
    voucher = await issued(sold, "3.00")
    job, run = await charged(sold)
    settle(job, run)
    await sold.deliver()
    assert await states(sold, voucher) == {"issued"}, "what is redeemed of open periods may come to less"
    await close(sold)
    assert await states(sold, voucher) == {"redeemed"}
    refused(await office(sold).post(f"/vouchers/{voucher}/revoke", {"reason": "企业已迁出"}), 409, "wrong_state")
    shown = Console(width=300, file=io.StringIO(), record=True)
    shown.print(cli.vouchers([Voucher.model_validate(ok(await sold.member.get(f"/vouchers/{voucher}")))]))
    assert " redeemed " in shown.export_text().split(voucher)[1]
    back = {"amount": "1.00", "reason": "材料不实"}
    ok(await office(sold).post(f"/vouchers/{voucher}/claw-back", back, key("back")))
    assert await states(sold, voucher) == {"redeemed"}, "it doesn't have again what was clawed back"
    assert await sold.db.write(ending.expire, LATER) == 1
    assert await states(sold, voucher) == {"redeemed"}


async def test_a_voucher_of_which_something_is_given_back_is_again_what_it_was(sold: World) -> None:
    voucher = await issued(sold, "3.00")
    job, run = await charged(sold)
    settle(job, run)
    await sold.deliver()
    period = await close(sold)
    await give_back(sold, period, job, "1.00")
    assert await states(sold, voucher) == {"issued"}
    assert await sold.db.write(ending.expire, LATER) == 1
    assert await states(sold, voucher) == {"expired"}


def test_a_voucher_that_is_revoked_stays_so_though_all_of_it_was_paid() -> None:
    assert {one: state_of(one, all_paid=True) for one in ("issued", "expired", "revoked")} == {
        "issued": "redeemed",
        "expired": "redeemed",
        "revoked": "revoked",
    }
