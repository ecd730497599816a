"""A wrong price list is replaced for a span: who may, what the preview says, and that this is what is then charged."""

import json
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from sqlalchemy import select

from bench.steps import Hold
from caravan.contracts.corrections import CorrectionDraft
from caravan.contracts.prices import Buyers
from caravan.kernel import ids
from caravan.kernel.database import Database
from caravan.kernel.money import Money
from caravan.kernel.runtime import Runtime
from caravan.kernel.settings import Settings
from services.accounting.app import create_app
from services.accounting.corrections.approved import WORK
from services.accounting.corrections.passes import BATCH, LOOP, advance
from tests.accounting.months import Finance, Hand, iso
from tests.accounting.world import Job, World, at, hour_of, mode, tariff
from tests.support import Json, Person, ok, pointers, refused, running, until

PAGE = Path(__file__).parents[2] / "docs" / "corrections.md"
REASON = "1.00 was published instead of 0.10"


@pytest.fixture
def now(hand: Hand) -> Hand:
    return hand


class Desk:
    """Two persons of finance, and a list `right` at a tenth of the world's prices, which were wrong."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.first, self.second = world.finance, world.service.person("second", "platform:finance")
        self.right = ids.new("prl")

    async def open(self, price: str = "3.60") -> None:
        self.world.know_prices(self.right, 2, tariff("right", None, None, cpu_core_hour=price))
        await self.world.deliver()

    def draft(self, start: int, end: int, price_list: str | None = None, **other: object) -> Json:
        return {
            "offering": self.world.offering,
            "starts_at": at(start).isoformat(),
            "ends_at": at(end).isoformat(),
            "price_list": price_list or self.right,
            "replaces": "all",
            "reason": REASON,
            **other,
        }

    async def propose(self, start: int, end: int, price_list: str | None = None, **other: object) -> Json:
        """Gives it with its preview complete."""
        key = {"Idempotency-Key": ids.new("req")}
        made = ok(await self.first.post("/price-corrections", self.draft(start, end, price_list, **other), key), 201)
        return await self.until(made["id"], "proposed")

    async def correct(self, start: int, end: int, price_list: str | None = None, **other: object) -> Json:
        """Propose, approve and apply."""
        made = await self.propose(start, end, price_list, **other)
        ok(await self.second.post(f"/price-corrections/{made['id']}/approve"))
        return await self.until(made["id"], "applied")

    async def read(self, correction: str, person: Person | None = None) -> Json:
        return ok(await (person or self.first).get(f"/price-corrections/{correction}"))

    async def until(self, correction: str, state: str) -> Json:
        async def there() -> bool:
            return bool((await self.read(correction))["state"] == state)

        await until(there)
        return await self.read(correction)


@pytest.fixture
async def desk(world: World) -> Desk:
    desk = Desk(world)
    await desk.open()
    await world.deposit("100.00")
    return desk


async def job_of(world: World, start: int, end: int, hold: str = "50.00", price_list: str | None = None) -> Job:
    """A core from `start` to `end` seconds after T0, in one hour."""
    job = world.job()
    await job.hold(hold)
    job.place(price_list)
    job.use(ids.new("run"), start, end)
    await world.deliver()
    return job


async def core_lines(job: Job) -> list[Json]:
    return [line for line in await job.lines() if line["component"] == "cpu_core_hour"]


async def charges(job: Job) -> dict[tuple[str, str, bool], tuple[int, str]]:
    return {
        (line["tariff"], line["reason"] or "", line["corrects"] is not None): (line["quantity"], line["amount"])
        for line in await core_lines(job)
    }


async def portrait(world: World) -> list[Json]:
    """The money of all, and the sums of lines by what they are for."""
    balances = ok(await world.finance.get("/ledger/trial-balance"))["accounts"]
    sums: Counter[str] = Counter()
    for line in ok(await world.finance.get("/lines", limit=200))["items"]:
        key = " ".join(str(line[name]) for name in ("job", "component", "tariff", "price_list", "bearer", "reason"))
        sums[f"{key}: quantity"] += line["quantity"]
        sums[f"{key}: fen"] += Money.parse(line["amount"]).fen
    left = {key: total for key, total in sums.items() if total}
    return [{one["account"]: one["balance"] for one in balances if one["balance"] != "0.00"}, left, await world.funds()]


async def test_what_the_preview_says_is_what_is_then_charged(world: World, desk: Desk) -> None:
    job, other = await job_of(world, 0, 400), await job_of(world, 3600, 3700)
    before = await world.funds()
    made = await desk.propose(100, 300)
    share = {"jobs": 1, "lines": 4, "before": "4.00", "after": "2.20", "difference": "-1.80"}
    preview = made["preview"]
    assert preview["organizations"] == [{"organization": world.organization, **share}]
    assert {name: preview[name] for name in share} == share
    assert (preview["paying_more"], preview["more"], preview["paying_less"], preview["less"]) == (0, "0.00", 1, "1.80")
    assert await world.funds() == before
    assert await charges(job) == {("day", "", False): (400, "4.00")}

    ok(await desk.second.post(f"/price-corrections/{made['id']}/approve"))
    applied = await desk.until(made["id"], "applied")
    assert applied["preview"] == preview
    assert applied["progress"] == {"previewed_jobs": 1, "applied_jobs": 1}
    assert await charges(job) == {("day", "", False): (200, "2.00"), ("right", "", False): (200, "0.20")}
    assert {line["price_list"] for line in await job.lines()} == {world.price_list, desk.right}
    assert await charges(other) == {("day", "", False): (100, "1.00")}
    hold = await job.read()
    assert (hold["captured"], hold["corrected"], hold["held"]) == ("4.00", "-1.80", "46.00")
    assert (hold["movements"][-1]["step"], hold["movements"][-1]["amount"]) == ("corrected", "-1.80")
    assert (await world.funds())["charged"] == "3.20"
    export = ok(await world.finance.get("/exports/usage"))
    terms = ("offering", "starts_at", "ends_at", "price_list", "replaces")
    assert export["corrections"] == [{name: made[name] for name in terms}]
    assert {one["id"] for one in export["price_lists"]} == {world.price_list, desk.right}
    (entry,) = ok(await world.finance.get("/ledger/entries", kind="reversal"))["items"]
    assert made["id"] in entry["description"]
    await world.consistent()


async def test_explanations_and_the_sites_runs_follow_it(world: World, desk: Desk) -> None:
    job = await job_of(world, 0, 400)
    await desk.correct(100, 300)
    explained = ok(await world.member.get(f"/jobs/{job.id}/explanation"))
    assert explained["charged"] == "2.20"
    cores = {
        one["line"]["price_list"]: [(factor["start"], factor["seconds"]) for factor in one["factors"]]
        for one in explained["lines"]
        if one["line"]["component"] == "cpu_core_hour"
    }
    assert cores == {
        world.price_list: [(iso(at(0)), 100), (iso(at(300)), 100)],
        desk.right: [(iso(at(100)), 200)],
    }
    runs = ok(await world.seller.get(f"/sites/{world.site}/runs", **{"from": iso(at(0)), "to": iso(at(400))}))
    (run,) = runs["items"]
    assert {part["price_list"]: part["quantity"] for part in run["priced"] if part["component"] == "cpu_core_hour"} == {
        world.price_list: 200,
        desk.right: 200,
    }


async def test_a_second_person_approves(world: World, desk: Desk) -> None:
    await job_of(world, 0, 100)
    made = await desk.propose(0, 100)
    path = f"/price-corrections/{made['id']}"
    refused(await desk.first.post(f"{path}/approve"), 409, "second_person_needed")
    for person in (world.seller, world.admin):
        assert (await person.post(f"{path}/approve")).status_code == 404
    approved = ok(await desk.second.post(f"{path}/approve"))
    assert (approved["proposed_by"], approved["decided_by"]) == ("finance", "second")
    await desk.until(made["id"], "applied")
    assert ok(await desk.second.post(f"{path}/approve"))["state"] == "applied"
    refused(await desk.second.post(f"{path}/reject"), 409, "wrong_state")
    admin = world.service.person("auditor", "platform:admin")
    said = [entry["action"] for entry in ok(await admin.get("/audit", entity=made["id"]))["items"]]
    assert said == ["approve_price_correction", "propose_price_correction"]
    await world.consistent()


async def test_what_is_rejected_changes_nothing(world: World, desk: Desk) -> None:
    job = await job_of(world, 0, 100)
    made = await desk.propose(0, 100)
    assert ok(await desk.first.post(f"/price-corrections/{made['id']}/reject"))["state"] == "rejected"
    refused(await desk.second.post(f"/price-corrections/{made['id']}/approve"), 409, "wrong_state")
    job.use(ids.new("run"), 0, 50)
    await world.deliver()
    assert await charges(job) == {("day", "", False): (150, "1.50")}


async def test_only_what_was_placed_by_a_replaced_list_is_corrected(world: World, desk: Desk) -> None:
    other = ids.new("prl")
    world.know_prices(other, 3, tariff("other", None, None, cpu_core_hour="72"))
    await world.deliver()
    job, by_other = await job_of(world, 0, 100), await job_of(world, 0, 100, price_list=other)
    await desk.correct(0, 100, replaces=[other])
    assert await charges(job) == {("day", "", False): (100, "1.00")}
    assert await charges(by_other) == {("right", "", False): (100, "0.10")}
    await world.consistent()


async def test_each_buyer_gets_what_the_right_list_is_for_him(world: World, desk: Desk) -> None:
    classed = ids.new("prl")
    for_class = {"buyers": Buyers(classes=("高校",))}
    world.know_prices(
        classed,
        3,
        tariff("all", None, None, cpu_core_hour="18.00"),
        tariff("class", None, None, cpu_core_hour="3.60").model_copy(update=for_class),
    )
    job, other = world.job(), await job_of(world, 0, 100)
    await job.hold("5.00")
    job.place(price_class="高校")
    job.use(ids.new("run"), 0, 100)
    await world.deliver()
    preview = (await desk.correct(0, 100, classed))["preview"]
    assert (preview["before"], preview["after"]) == ("2.00", "0.60")
    assert await charges(job) == {("class", "", False): (100, "0.10")}
    assert await charges(other) == {("all", "", False): (100, "0.50")}
    await world.consistent()


async def test_a_corrected_job_is_billed_when_it_was_promised_to_be(world: World, desk: Desk) -> None:
    """The right list has modes of the site that were set after the job was placed: a correction is of prices."""
    promised, right = ids.new("prl"), ids.new("prl")
    world.know_prices(promised, 3, tariff("wrong", None, None, cpu_core_hour="36"), modes=(mode("notional", 0),))
    modes = mode("notional", 0), mode("billed", 50)
    world.know_prices(right, 4, tariff("right", None, None, cpu_core_hour="3.60"), modes=modes)
    free, paid = await job_of(world, 0, 100, hold="0.00", price_list=promised), await job_of(world, 0, 100)
    made = await desk.correct(0, 100, right)
    assert (made["preview"]["before"], made["preview"]["after"]) == ("1.00", "0.10")
    assert await charges(free) == {("right", "notional", False): (100, "0.10")}
    assert await charges(paid) == {("right", "", False): (100, "0.10")}
    await world.consistent()


async def test_the_right_list_covers_all_whom_it_is_to_price(world: World, desk: Desk) -> None:
    """What it has for some only is enough where only these are concerned."""
    some, wrong = ids.new("prl"), ids.new("prl")
    own = {"buyers": Buyers(organizations=(world.organization,))}
    world.know_prices(some, 3, tariff("own", None, None, cpu_core_hour="3.60").model_copy(update=own))
    world.know_prices(wrong, 4, tariff("wrong", None, None, cpu_core_hour="36"))
    organization, project = ids.new("org"), ids.new("prj")
    world.know_organization(organization, project)
    await world.deliver()
    await world.deposit("10.00", organization)
    other = world.job(organization, project)
    await other.hold("5.00")
    other.place()
    await job_of(world, 0, 100, price_list=wrong)
    refusal = await desk.first.post("/price-corrections", desk.draft(0, 100, some), {"Idempotency-Key": ids.new("req")})
    assert refusal.status_code == 422
    (error,) = refusal.json()["errors"]
    assert (error["code"], error["pointer"], organization in error["detail"]) == ("not_covered", "/price_list", True)
    assert (await desk.correct(0, 100, some, replaces=[wrong]))["preview"]["after"] == "0.10"
    await world.consistent()


async def test_a_minimum_charge_of_the_right_list_tops_up_what_ends_before_and_after(world: World, desk: Desk) -> None:
    with_minimum = ids.new("prl")
    right = tariff("right", None, None, cpu_core_hour="3.60").model_copy(update={"minimum_charge": Money(50)})
    world.know_prices(with_minimum, 3, right)
    before, after = await job_of(world, 0, 100), await job_of(world, 0, 100)
    before.end_attempt()
    await world.deliver()
    await desk.correct(0, 100, with_minimum)
    assert [(await job.read())["corrected"] for job in (before, after)] == ["-0.50", "-0.90"]
    after.end_attempt()
    await world.deliver()
    assert [(await job.read())["corrected"] for job in (before, after)] == ["-0.50", "-0.50"]
    await world.consistent()
    await desk.correct(0, 100, world.price_list)
    for job in (before, after):
        assert await charges(job) == {("day", "", False): (100, "1.00")}
        assert [line["component"] for line in await job.lines() if line["amount"] != "0.00"] == ["cpu_core_hour"]
    await world.consistent()


async def test_usage_that_comes_later_is_priced_by_it_and_the_last_approved_holds(world: World, desk: Desk) -> None:
    job = await job_of(world, 0, 100)
    dear = ids.new("prl")
    world.know_prices(dear, 3, tariff("dear", None, None, cpu_core_hour="72"))
    await world.deliver()
    await desk.correct(0, 7200)
    await desk.correct(50, 100, dear)
    run = ids.new("run")
    job.use(run, 0, 100)
    job.use(run, 3600, 3700, began=0)
    await world.deliver()
    assert await charges(job) == {("right", "", False): (200, "0.20"), ("dear", "", False): (100, "2.00")}
    late = await job_of(world, 90, 110)
    assert await charges(late) == {("right", "", False): (10, "0.01"), ("dear", "", False): (10, "0.20")}
    await world.consistent()


async def test_a_correction_upward_passes_the_hold_and_leaves_less_than_nothing(world: World, desk: Desk) -> None:
    """5 of 10 seconds were held: these cost more now, and what was the centre's by overrun stays so."""
    dear = ids.new("prl")
    world.know_prices(dear, 3, tariff("dear", None, None, cpu_core_hour="72000"))
    job = await job_of(world, 0, 10, hold="0.05")
    made = await desk.correct(0, 10, dear)
    assert made["preview"]["more"] == "99.95"
    assert await charges(job) == {("dear", "", False): (5, "100.00"), ("dear", "overrun", False): (5, "100.00")}
    hold = await job.read()
    assert (hold["amount"], hold["captured"], hold["corrected"]) == ("0.05", "0.05", "99.95")
    more = await job_of(world, 0, 10, hold="0.00")
    assert await charges(more) == {("dear", "overrun", False): (10, "200.00")}
    assert (await world.funds())["available"] == "0.00"
    another = world.job()
    assert (await another.hold("0.00"))["granted"]
    await desk.correct(0, 20, dear)
    job.use(ids.new("run"), 15, 16)
    await world.deliver()
    await world.consistent()


async def test_the_hold_captures_by_the_prices_of_placement_also_what_comes_later(world: World, desk: Desk) -> None:
    """Half a fen a second, of which one of two seconds is corrected: together they are 0.01 of the hold, not each by itself."""
    half = ids.new("prl")
    world.know_prices(half, 3, tariff("half", None, None, cpu_core_hour="18"))
    await world.deliver()
    job = await job_of(world, 0, 1, hold="0.02", price_list=half)
    await desk.correct(0, 1, replaces=[half])
    job.use(ids.new("run"), 3600, 3601)
    await world.deliver()
    assert await charges(job) == {("right", "", False): (1, "0.00"), ("half", "", False): (1, "0.01")}
    hold = await job.read()
    assert (hold["captured"], hold["corrected"]) == ("0.01", "0.00")
    await world.consistent()


async def test_a_job_whose_last_usage_comes_into_the_lines_by_a_correction_is_settled(world: World, desk: Desk) -> None:
    job, run = await job_of(world, 0, 100), ids.new("run")
    job.use(run, 0, 100)
    job.end(run)
    job.settle({run: {hour_of(0): 1}})
    await world.follow()
    await desk.correct(0, 100)
    await world.deliver()
    hold = await job.read()
    assert (hold["captured"], hold["corrected"], hold["held"], hold["status"]) == ("2.00", "-1.80", "0.00", "settled")
    await world.consistent()


async def test_a_holds_steps_say_what_is_left_also_where_usage_is_captured_and_corrected_at_once(
    world: World, desk: Desk
) -> None:
    job = await job_of(world, 0, 100)
    await desk.correct(0, 7200)
    job.use(ids.new("run"), 3600, 3700)
    await world.deliver()
    steps = [(one["step"], one["amount"], one["held"]) for one in (await job.read())["movements"]]
    assert steps[-2:] == [("captured", "1.00", "48.00"), ("corrected", "-0.90", "48.00")]


async def test_in_a_closed_month_it_becomes_adjustments_and_its_reverse_leaves_nothing(
    world: World, desk: Desk, hand: Hand
) -> None:
    books = Finance(world)
    job = await job_of(world, 0, 400)
    before = await portrait(world)
    await books.cut(at(3600))
    world.progress(3600, 1)
    await world.deliver()
    await books.close()
    assert (await books.settle())["state"] == "closed"
    sealed = await job.lines()

    await desk.correct(100, 300)
    lines = {(line["tariff"], line["corrects"]): (line["quantity"], line["amount"]) for line in await core_lines(job)}
    march = sealed[0]["period"]
    assert lines == {
        ("day", None): (400, "4.00"),
        ("day", march): (-200, "-2.00"),
        ("right", march): (200, "0.20"),
    }
    assert [line for line in await job.lines() if line["period"] == march] == sealed
    await world.consistent()

    await desk.correct(100, 300, world.price_list)
    assert await job.lines() == sealed
    assert await portrait(world) == before
    await world.consistent()


async def test_a_correction_goes_on_where_a_process_has_ended(settings: Settings) -> None:
    """The first process ends after one batch of the two that it takes; of the rest a late fact is charged right at once."""
    async with running(create_app(settings)) as service:
        world = World(service)
        await world.open()
        desk = Desk(world)
        await desk.open()
        await world.deposit("100.00")
        jobs = [await job_of(world, 0, 100, hold="2.00") for _ in range(BATCH + 1)]
        made = await desk.propose(0, 100)
        assert made["preview"]["jobs"] == BATCH + 1
        await service.app.provided[Runtime].loops.cancel(LOOP)
        ok(await desk.second.post(f"/price-corrections/{made['id']}/approve"))
        await world.db.write(advance, at(7200))
        assert (await desk.read(made["id"]))["progress"] == {"previewed_jobs": BATCH + 1, "applied_jobs": BATCH}
        corrected = {("right", "", False): (100, "0.10")}
        assert [await charges(job) for job in jobs[:-1]] == [corrected] * BATCH
        assert await charges(jobs[-1]) == {("day", "", False): (100, "1.00")}
        jobs[-1].use(ids.new("run"), 0, 50)
        await world.deliver()
        assert await charges(jobs[-1]) == {("right", "", False): (150, "0.15")}
        await world.consistent()
    async with running(create_app(settings)) as service:
        desk = Desk(World(service))
        applied = await desk.until(made["id"], "applied")
        assert applied["progress"] == {"previewed_jobs": BATCH + 1, "applied_jobs": BATCH + 1}
        lines = ok(await desk.first.get("/lines", limit=200))["items"]
        amounts = [line["amount"] for line in lines if line["component"] == "cpu_core_hour"]
        assert sorted(amounts) == ["0.10"] * BATCH + ["0.15"]
        await desk.world.consistent()


@pytest.mark.slow
async def test_who_is_killed_between_two_batches_leaves_the_rest_to_the_next(
    settings: Settings, tmp_path: Path
) -> None:
    async with running(create_app(settings)) as service:
        world = World(service)
        await world.open()
        desk = Desk(world)
        await desk.open()
        await world.deposit("100.00")
        for _ in range(BATCH + 1):
            await job_of(world, 0, 100, hold="2.00")
        made = await desk.propose(0, 100)
        await service.app.provided[Runtime].loops.cancel(LOOP)
        ok(await desk.second.post(f"/price-corrections/{made['id']}/approve"))
    with Hold(tmp_path, "correct", 2) as hold:
        process = served(settings, hold, tmp_path / "log")
        try:
            await hold.reached()
        finally:
            process.kill()
            process.wait()
    database = Database(settings.database_url("accounting"))
    await database.start()
    (work,) = await database.read(lambda tx: tx.execute(select(WORK)).all())
    assert (work.state, work.applied_jobs) == ("applying", BATCH)
    await database.stop()
    async with running(create_app(settings)) as service:
        desk = Desk(World(service))
        assert (await desk.until(made["id"], "applied"))["progress"]["applied_jobs"] == BATCH + 1
        lines = ok(await desk.first.get("/lines", limit=200))["items"]
        amounts = [line["amount"] for line in lines if line["component"] == "cpu_core_hour"]
        assert amounts == ["0.10"] * (BATCH + 1)
        await desk.world.consistent()


def served(settings: Settings, hold: Hold, log: Path) -> subprocess.Popen[bytes]:
    """Accounting alone, in a process of its own."""
    nowhere = {f"CARAVAN_{service}_URL": "http://127.0.0.1:9" for service in ("CATALOG", "BROKER", "ACCOUNTING")}
    environment = {name: value for name, value in os.environ.items() if not name.startswith("CARAVAN_")} | nowhere
    environment |= {
        "CARAVAN_MODE": "development",
        "CARAVAN_DATA_DIR": str(settings.data_dir),
        "CARAVAN_ACCOUNTING_DATABASE_URL": settings.database_url("accounting"),
    }
    command = [sys.executable, "-m", "caravan.cli", "serve", "accounting", "--port", "0"]
    with log.open("wb") as out:
        return subprocess.Popen(command, env=environment | hold.environment, stdout=out, stderr=out)


async def test_each_sees_what_concerns_them(world: World, desk: Desk) -> None:
    await job_of(world, 0, 100)
    organization, project = ids.new("org"), ids.new("prj")
    world.know_organization(organization, project)
    await world.deliver()
    await world.deposit("10.00", organization)
    job = world.job(organization, project)
    await job.hold("5.00")
    job.place()
    job.use(ids.new("run"), 0, 200)
    await world.deliver()
    made = await desk.propose(0, 200)
    path = f"/price-corrections/{made['id']}"
    other = world.service.person("other", f"org/{organization}:member")
    stranger = world.service.person("stranger", f"org/{ids.new('org')}:admin", f"provider/{ids.new('prv')}:admin")
    assert (await other.get(path)).status_code == 404
    assert [
        share["organization"] for share in (await desk.read(made["id"], world.seller))["preview"]["organizations"]
    ] == [*sorted((organization, world.organization))]
    ok(await desk.second.post(f"{path}/approve"))
    await desk.until(made["id"], "applied")
    seen = await desk.read(made["id"], other)
    assert [share["difference"] for share in seen["preview"]["organizations"]] == ["-1.80"]
    assert (seen["preview"]["jobs"], seen["preview"]["less"], seen["progress"]) == (1, "1.80", None)
    for person in (other, world.member, world.seller, desk.second):
        assert [one["id"] for one in ok(await person.get("/price-corrections"))["items"]] == [made["id"]]
    assert ok(await stranger.get("/price-corrections"))["items"] == []
    assert (await stranger.get(path)).status_code == 404
    assert ok(await desk.first.get("/price-corrections", offering=ids.new("off")))["items"] == []


async def test_what_can_not_be_is_refused_by_field(world: World, desk: Desk) -> None:
    key = {"Idempotency-Key": "one"}
    refused(await desk.first.post("/price-corrections", desk.draft(0, 100), key), 422, "unknown_reference")
    await job_of(world, 0, 100)
    short, elsewhere = ids.new("prl"), ids.new("prl")
    world.know_prices(short, 3, tariff("short", 50, None, cpu_core_hour="1"))
    await world.deliver()
    for draft, code, pointer in (
        (desk.draft(100, 100), "span", ""),
        (desk.draft(0, 100, short), "not_covered", "/price_list"),
        (desk.draft(0, 100, elsewhere), "unknown_reference", "/price_list"),
        (desk.draft(0, 100, replaces=[world.price_list, elsewhere]), "unknown_reference", "/replaces/1"),
        (desk.draft(0, 100, offering=ids.new("off")), "unknown_reference", "/offering"),
    ):
        answer = await desk.first.post("/price-corrections", draft, {"Idempotency-Key": ids.new("req")})
        assert answer.status_code == 422
        (error,) = answer.json()["errors"]
        assert (error["code"], error["pointer"]) == (code, pointer)
    none = desk.draft(0, 100, replaces=[])
    problem = refused(await desk.first.post("/price-corrections", none, {"Idempotency-Key": "none"}), 422, "invalid")
    assert {*pointers(problem)} == {"/replaces"}
    back = desk.draft(0, 100, short, replaces=[short])
    ok(await desk.first.post("/price-corrections", back, {"Idempotency-Key": "two"}), 201)
    first = await desk.first.post("/price-corrections", desk.draft(50, 100, short), key)
    assert ok(first, 201) == ok(await desk.first.post("/price-corrections", desk.draft(50, 100, short), key), 201)
    assert len(ok(await desk.first.get("/price-corrections"))["items"]) == 2


async def test_the_example_of_the_page_is_one_and_comes_to_what_the_page_says(world: World, desk: Desk) -> None:
    page = PAGE.read_text()
    (block,) = re.findall(r"<!-- correction: [^>]*-->\n```json\n(.*?)```", page, re.DOTALL)
    draft = CorrectionDraft.model_validate(json.loads(block))
    assert (draft.ends_at - draft.starts_at).days == 10
    wrong, right = ids.new("prl"), ids.new("prl")
    world.know_prices(wrong, 3, tariff("wrong", None, None, cpu_core_hour="1.00"))
    world.know_prices(right, 4, tariff("right", None, None, cpu_core_hour="0.10"))
    await world.deposit("1000.00")
    job, run = world.job(), ids.new("run")
    await job.hold("700.00")
    job.place(wrong)
    for hour in range(10):
        job.use(run, hour * 3600, hour * 3600 + 3600, cpus=64, began=0)
    await world.deliver()
    preview = (await desk.propose(0, 36000, right, replaces=[wrong]))["preview"]
    assert (preview["before"], preview["after"], preview["less"]) == ("640.00", "64.00", "576.00")
    assert "cost 640.00 and costs 64.00: the organization gets 576.00 back" in page
