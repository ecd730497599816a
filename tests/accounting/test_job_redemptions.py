"""What vouchers pay of each job, as enterprises read it: while periods are open, and when they are closed."""

import io

from rich.console import Console

from caravan.cli import vouchers as cli
from caravan.contracts.redemptions import JobRedemption
from caravan.contracts.vouchers import Voucher
from caravan.kernel import ids
from tests.accounting.programmes_cases import office
from tests.accounting.test_redemptions import charged, issued, settle
from tests.accounting.test_voucher_states import give_back
from tests.accounting.volume import MONTH, close
from tests.accounting.world import Job, World
from tests.support import Json, ok, refused

NAMES = ("pledged", "redeemed", "paid", "saved")
YEARLY = {"floor": "5.00", "settles": "year"}


async def saved(job: Job) -> tuple[str, list[tuple[str, ...]]]:
    found: Json = ok(await job.world.member.get(f"/jobs/{job.id}/redemption"))
    return found["saved"], [tuple(one[name] for name in NAMES) for one in found["vouchers"]]


async def test_what_is_saved_on_a_job_goes_from_redeemed_to_paid_as_its_periods_close(sold: World) -> None:
    voucher = await issued(sold, "1000.00", settles="month", name="训力券")
    job, run = await charged(sold, 999, "100.00")
    assert await saved(job) == ("3.00", [("30.00", "3.00", "0.00", "3.00")])
    await close(sold)
    job.use(run, MONTH * 3600, MONTH * 3600 + 500)
    await sold.deliver()
    assert await saved(job) == ("4.50", [("27.00", "1.50", "3.00", "4.50")])
    settle(job, run)
    await sold.deliver()
    await close(sold, MONTH * 3600)
    assert await saved(job) == ("4.50", [("0.00", "0.00", "4.50", "4.50")])
    found = JobRedemption.model_validate(ok(await sold.admin.get(f"/jobs/{job.id}/redemption")))
    (one,) = found.vouchers
    assert (one.voucher, one.programme_name, one.organization) == (voucher, "训力券", sold.organization)


async def test_vouchers_of_two_levels_save_together_once_the_period_is_closed(sold: World) -> None:
    city = await issued(sold, "1000.00", stacks_to=4000)
    province = {"name": "省科技厅", "level": "province"}
    await issued(sold, "1000.00", issuer=province, rates=[{"rate": 2000}], stacks_to=10000)
    job, run = await charged(sold)
    settle(job, run)
    await sold.deliver()
    assert await saved(job) == ("3.00", [("3.00", "3.00", "0.00", "3.00")])
    await close(sold)
    total, vouchers = await saved(job)
    assert (total, len(vouchers)) == ("4.00", 2)
    found = ok(await sold.member.get(f"/jobs/{job.id}/redemption"))["vouchers"]
    assert [(one["voucher"] == city, one["paid"]) for one in found] == [(True, "2.00"), (False, "2.00")]
    assert total == ok(await sold.finance.get("/lines", job=job.id))["items"][0]["subsidy"]


async def next_month(world: World, seconds: int) -> Job:
    """A job that uses so much in the month after the first, which is closed then."""
    job = world.job()
    await job.hold("50.00")
    job.place()
    job.use(ids.new("run"), MONTH * 3600, MONTH * 3600 + seconds)
    await world.deliver()
    await close(world, MONTH * 3600)
    return job


async def test_what_a_later_month_pays_for_earlier_lines_is_saved_on_their_jobs(sold: World) -> None:
    voucher = await issued(sold, "1000.00", caps={"claim": "7.00"}, **YEARLY)
    first, run = await charged(sold)
    settle(first, run)
    await sold.deliver()
    await close(sold)
    assert (await saved(first))[0] == "0.00", "below the floor"
    second = await next_month(sold, 700)
    assert ((await saved(first))[0], (await saved(second))[0]) == ("3.00", "2.10")
    found = ok(await sold.member.get(f"/vouchers/{voucher}/shares"))["items"]
    assert {one["job"]: (one["share"], one["paid"], one["later"]) for one in found} == {
        first.id: ("3.00", "0.00", "3.00"),
        second.id: ("2.10", "2.10", "0.00"),
    }


async def test_what_is_to_be_reimbursed_of_a_job_is_saved_once_it_is_due(sold: World) -> None:
    await issued(sold, "1000.00", mode="reimbursed", **YEARLY)
    first, run = await charged(sold)
    settle(first, run)
    await sold.deliver()
    await close(sold)
    assert await saved(first) == ("0.00", [("0.00", "0.00", "0.00", "0.00")])
    await next_month(sold, 700)
    found = ok(await sold.member.get(f"/jobs/{first.id}/redemption"))
    assert (found["saved"], [(one["due"], one["paid"], one["saved"]) for one in found["vouchers"]]) == (
        "3.00",
        [("3.00", "0.00", "3.00")],
    )


async def test_who_may_read_a_voucher_reads_what_it_pays_and_nobody_else(sold: World) -> None:
    await issued(sold, "1000.00")
    job, _ = await charged(sold)
    path = f"/jobs/{job.id}/redemption"
    for reader in (sold.member, sold.finance, office(sold)):
        assert ok(await reader.get(path))["saved"] == "3.00"
    stranger = sold.service.person("stranger", f"org/org_{7:032x}:admin")
    for reader in (stranger, sold.seller):
        refused(await reader.get(path), 404, "not_found")


async def test_a_job_for_which_no_voucher_counts_saves_nothing_and_is_its_organizations_own(sold: World) -> None:
    job, _ = await charged(sold)
    path = f"/jobs/{job.id}/redemption"
    for reader in (sold.member, sold.finance, office(sold)):
        assert ok(await reader.get(path)) == {"job": job.id, "saved": "0.00", "vouchers": []}
    refused(await sold.service.person("stranger", f"org/org_{7:032x}:admin").get(path), 404, "not_found")
    refused(await sold.member.get(f"/jobs/{ids.new('job')}/redemption"), 404, "not_found")


async def test_terminals_show_what_is_saved_and_left(sold: World) -> None:
    voucher = await issued(sold, "1000.00")
    job, _ = await charged(sold, 900)
    found = JobRedemption.model_validate(ok(await sold.member.get(f"/jobs/{job.id}/redemption")))
    one = Voucher.model_validate(ok(await sold.member.get(f"/vouchers/{voucher}")))
    shown = Console(width=300, file=io.StringIO(), record=True)
    shown.print(cli.savings(found), cli.vouchers([one]))
    text = shown.export_text()
    for cell in ("3.00", "2.70", "997.00", "saved on the job"):
        assert cell in text


async def test_what_a_credit_note_gives_back_of_a_job_is_saved_no_more(sold: World) -> None:
    await issued(sold, "1000.00")
    job, run = await charged(sold)
    other, _ = await charged(sold)
    settle(job, run)
    await sold.deliver()
    period = await close(sold)
    await give_back(sold, period, job, "3.33")
    assert await saved(job) == ("2.00", [("0.00", "0.00", "2.00", "2.00")])
    await give_back(sold, period, job, "6.67")
    assert await saved(job) == ("0.00", [("0.00", "0.00", "0.00", "0.00")])
    assert (await saved(other))[0] == "3.00"
