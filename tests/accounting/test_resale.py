"""A job that a reseller sells on: its member pays the reseller, the reseller pays the centre, each by their own prices and holds."""

import io
from collections.abc import AsyncIterator
from typing import Any

import pytest
from rich.console import Console

from caravan.cli import show
from caravan.contracts.funds import BudgetDraft, Hold, Holds, HoldUse, ResaleHold
from caravan.contracts.jobs import Outcome
from caravan.contracts.prices import Component
from caravan.contracts.usage import Resale
from caravan.kernel import ids
from caravan.kernel.money import Money
from caravan.kernel.settings import Settings
from services.accounting.app import create_app
from services.accounting.ledger.verify import verify_ledger
from services.accounting.usage import records
from tests.accounting.test_charging import close as close_period
from tests.accounting.test_contests import contested, decided
from tests.accounting.test_corrections import Desk
from tests.accounting.test_redemptions import issued, standing
from tests.accounting.volume import LATER, close, given, tiers
from tests.accounting.world import T0, Job, World, hour_of, tariff
from tests.support import Json, Person, ok, refused, running


class Sold:
    """The world, with a reseller that buys a core-second at 0.01 and sells it to the world's organization at 0.02."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.reseller, self.project, self.retail = ids.new("org"), ids.new("prj"), ids.new("prl")
        self.person = world.service.person("reseller", f"org/{self.reseller}:admin")

    async def open(self) -> None:
        self.world.know_organization(self.reseller, self.project)
        prices = tariff("retail", None, None, cpu_core_hour="72.00")
        self.world.know_prices(self.retail, 1, prices, reseller=self.reseller)
        await self.world.deliver()
        await self.world.deposit("100.00")
        await self.world.deposit("100.00", self.reseller)

    async def ask(self, job: Job, retail: str, wholesale: str, ahead: tuple[HoldUse, ...] = ()) -> Json:
        resale = ResaleHold(organization=self.reseller, project=self.project, amount=Money.parse(wholesale))
        return await job.hold(retail, resale=resale, ahead=ahead)

    async def job(
        self, retail: str = "20.00", wholesale: str = "10.00", ahead: tuple[HoldUse, ...] = ()
    ) -> tuple[Job, str]:
        job = self.world.job()
        assert (await self.ask(job, retail, wholesale, ahead))["granted"]
        job.place(
            self.retail,
            resale=Resale(reseller=self.reseller, project=self.project, price_list=self.world.price_list),
        )
        return job, ids.new("run")

    async def money(self) -> dict[str, tuple[str, str]]:
        """What the member and the reseller were charged, and hold."""
        found = {}
        for name, organization in (("member", self.world.organization), ("reseller", self.reseller)):
            funds = ok(await self.world.finance.get(f"/funds/{organization}"))
            found[name] = (funds["charged"], funds["held"])
        return found

    async def balances(self) -> dict[str, str]:
        names = {
            self.world.organization: "member", self.reseller: "reseller", self.world.provider: "centre",
        }  # fmt: skip
        accounts = ok(await self.world.finance.get("/ledger/trial-balance"))["accounts"]
        split = [(one["account"].partition(":"), one["balance"]) for one in accounts]
        return {f"{kind} {names[who]}": balance for (kind, _, who), balance in split if who in names}

    async def sound(self) -> None:
        await self.world.consistent()
        assert (await verify_ledger(self.world.db)).findings == ()


@pytest.fixture
async def sold(world: World) -> Sold:
    made = Sold(world)
    await made.open()
    return made


@pytest.fixture
async def later(settings: Settings) -> AsyncIterator[World]:
    """The world, in a year that is over."""
    async with running(create_app(settings, now=lambda: LATER)) as service:
        world = World(service)
        await world.open()
        yield world


async def lines(person: Person, job: Job, **filters: Any) -> set[tuple[str, str, str, int]]:
    """(organization, seller, bearer and reason, core-seconds)."""
    found = ok(await person.get("/lines", job=job.id, **filters))["items"]
    cores = [one for one in found if one["component"] == "cpu_core_hour"]
    return {
        (one["organization"], one["seller"], f"{one['bearer']} {one['reason'] or ''}".strip(), one["quantity"])
        for one in cores
    }


async def test_one_usage_is_charged_to_the_member_by_the_resellers_prices_and_to_the_reseller_by_the_centres(
    sold: Sold,
) -> None:
    job, run = await sold.job()
    assert await sold.money() == {"member": ("0.00", "20.00"), "reseller": ("0.00", "10.00")}
    job.use(run, 0, 200, cpus=2)
    await sold.world.deliver()
    member, world = sold.world.organization, sold.world
    retail = (member, sold.reseller, "organization", 400)
    wholesale = (sold.reseller, world.provider, "organization", 400)
    assert await lines(world.finance, job) == {retail, wholesale}
    assert await lines(world.member, job) == {retail}
    assert await lines(sold.person, job) == {retail, wholesale}
    assert await lines(world.seller, job) == {wholesale}
    assert await sold.money() == {"member": ("8.00", "12.00"), "reseller": ("4.00", "6.00")}
    assert await sold.balances() == {
        "prepaid member": "-92.00",
        "prepaid reseller": "-96.00",
        "payable reseller": "-8.00",
        "payable centre": "-4.00",
    }
    await sold.sound()
    job.end(run)
    job.settle({run: {hour_of(0): 1}})
    await world.deliver()
    assert await sold.money() == {"member": ("8.00", "0.00"), "reseller": ("4.00", "0.00")}
    await sold.sound()


async def test_what_the_centre_bears_nobody_pays_in_either_set(sold: Sold) -> None:
    job, run = await sold.job()
    job.use(run, 0, 200)
    await sold.world.deliver()
    job.end(run, Outcome.SITE)
    await sold.world.deliver()
    assert {(bearer, seconds) for _, _, bearer, seconds in await lines(sold.world.finance, job)} == {
        ("provider site_fault", 200)
    }
    assert await sold.money() == {"member": ("0.00", "20.00"), "reseller": ("0.00", "10.00")}
    await sold.sound()


async def test_an_upheld_contest_of_a_resold_run_moves_both_sets_and_all_who_pay_read_it(sold: Sold) -> None:
    """The centre contests it against the reseller, and isn't told who bought it there."""
    job, run = await sold.job()
    job.use(run, 0, 100)
    job.end(run, Outcome.LOST)
    await sold.world.deliver()
    opened = await contested(sold.world, run)
    assert opened["organization"] == sold.reseller
    found = await decided(sold.world, opened, "uphold")
    assert await lines(sold.world.finance, job) == {
        (sold.world.organization, sold.reseller, "organization", 100),
        (sold.reseller, sold.world.provider, "organization", 100),
    }
    assert await sold.money() == {"member": ("2.00", "18.00"), "reseller": ("1.00", "9.00")}
    for person in (sold.world.member, sold.person, sold.world.seller):
        assert ok(await person.get("/contests"))["items"] == [found]
    stranger = sold.world.service.person("stranger", f"org/{ids.new('org')}:admin")
    assert ok(await stranger.get("/contests"))["items"] == []
    await sold.sound()


@pytest.mark.parametrize(("retail", "wholesale"), [("2.00", "10.00"), ("20.00", "1.00")])
async def test_what_passes_either_hold_is_the_centres_in_both_sets_until_that_hold_is_raised(
    sold: Sold, retail: str, wholesale: str
) -> None:
    job, run = await sold.job(retail, wholesale)
    for end in (80, 200):
        job.use(run, 0, end, revision=end)
        await sold.world.deliver()
    job.use(run, 3600, 3650)
    await sold.world.deliver()
    found = await lines(sold.world.finance, job)
    assert {(bearer, seconds) for _, _, bearer, seconds in found} == {
        ("organization", 100),
        ("provider overrun", 150),
    }
    assert len(found) == 4
    assert {name: charged for name, (charged, _) in (await sold.money()).items()} == {
        "member": "2.00", "reseller": "1.00",
    }  # fmt: skip
    await sold.sound()
    assert (await sold.ask(job, "20.00", "10.00"))["granted"]
    assert {(bearer, seconds) for _, _, bearer, seconds in await lines(sold.world.finance, job)} == {
        ("organization", 250)
    }
    await sold.sound()


async def test_both_holds_are_granted_or_neither_and_the_resellers_figures_are_its_own(sold: Sold) -> None:
    job = sold.world.job()
    short = await sold.ask(job, "20.00", "100.01")
    figures = ("limit", "held", "fits", "budget", "budget_name")
    assert (short["granted"], short["short"], short["asked"]) == (False, "reseller", "20.00")
    assert [short[name] for name in figures] == [None] * len(figures)
    own = await sold.ask(job, "100.01", "10.00")
    assert (own["granted"], own["short"], own["fits"]) == (False, "funds", "100.00")
    nothing = {"member": ("0.00", "0.00"), "reseller": ("0.00", "0.00")}
    assert await sold.money() == nothing
    refused(await sold.world.finance.get(f"/holds/{job.id}"), 404, "not_found")
    assert (await sold.ask(job, "20.00", "100.00"))["granted"]
    other = await sold.ask(sold.world.job(), "1.00", "0.01")
    assert other["short"] == "reseller"
    await sold.sound()


async def test_a_budget_of_the_resellers_project_counts_what_it_buys(sold: Sold) -> None:
    draft = BudgetDraft(
        organization=sold.reseller, project=sold.project, name="resale", limit=Money.parse("10.00"), starts_at=T0
    )
    budget = ok(await sold.person.post("/budgets", draft), 201)
    job, run = await sold.job()
    assert (await sold.ask(sold.world.job(), "1.00", "0.01"))["short"] == "reseller"
    job.use(run, 0, 200, cpus=2)
    await sold.world.deliver()
    found = ok(await sold.person.get(f"/budgets/{budget['id']}"))
    assert (found["charged"], found["held"]) == ("4.00", "6.00")
    await sold.sound()


async def test_each_party_reads_its_own_hold(sold: Sold) -> None:
    job, run = await sold.job()
    job.use(run, 0, 100)
    await sold.world.deliver()
    for person, organization, amount, captured in (
        (sold.world.member, sold.world.organization, "20.00", "2.00"),
        (sold.person, sold.reseller, "10.00", "1.00"),
    ):
        hold = ok(await person.get(f"/holds/{job.id}"))
        assert (hold["organization"], hold["amount"], hold["captured"]) == (organization, amount, captured)
        assert [step["step"] for step in hold["movements"]] == ["granted", "captured"]
        for reader in (person, sold.world.finance):
            assert ok(await reader.get(f"/holds/{job.id}", organization=organization)) == hold
    assert ok(await sold.world.finance.get(f"/holds/{job.id}"))["organization"] == sold.world.organization
    for person, organization in ((sold.world.member, sold.reseller), (sold.person, sold.world.organization)):
        refused(await person.get(f"/holds/{job.id}", organization=organization), 404, "not_found")


async def test_each_set_is_explained_to_its_parties(sold: Sold) -> None:
    job, run = await sold.job()
    job.use(run, 0, 100)
    await sold.world.deliver()
    read = f"/jobs/{job.id}/explanation"
    for person, organization, charged, which in (
        (sold.world.member, sold.world.organization, "2.00", "retail: "),
        (sold.person, sold.world.organization, "2.00", "retail: "),
        (sold.world.seller, sold.reseller, "1.00", "wholesale: "),
    ):
        found = ok(await person.get(read))
        assert (found["organization"], found["charged"]) == (organization, charged)
        assert found["words"]["en"].startswith(which)
        assert {one["line"]["organization"] for one in found["lines"]} == {organization}
    rows = {
        one["seller"]: one
        for one in ok(await sold.person.get("/lines", job=job.id))["items"]
        if one["amount"] != "0.00"
    }
    of_retail, of_wholesale = (f"/lines/{rows[who]['id']}/explanation" for who in (sold.reseller, sold.world.provider))
    bought = ok(await sold.person.get(of_wholesale))
    assert bought["arithmetic"]["amount"] == "1.00"
    assert bought["rate"]["tariff"] == "day" and bought["seconds"] == 100
    assert ok(await sold.world.member.get(of_retail))["rate"]["tariff"] == "retail"
    ok(await sold.world.seller.get(of_wholesale))
    refused(await sold.world.member.get(of_wholesale), 404, "not_found")
    refused(await sold.world.seller.get(of_retail), 404, "not_found")


async def test_the_centre_reads_runs_as_it_sold_them(sold: Sold) -> None:
    job, run = await sold.job()
    job.use(run, 0, 100)
    await sold.world.deliver()
    hours = {"from": "2026-03-10T08:00:00Z", "to": "2026-03-10T09:00:00Z"}
    found = ok(await sold.world.seller.get(f"/sites/{sold.world.site}/runs", **hours))
    (shown,) = found["items"]
    assert (shown["organization"], shown["project"]) == (sold.reseller, sold.project)
    assert {one["organization"] for one in found["lines"]} == {sold.reseller}


async def test_usage_waits_for_the_hold_and_the_prices_of_the_reseller(sold: Sold) -> None:
    job = sold.world.job()
    await job.hold("20.00")
    resale = Resale(reseller=sold.reseller, project=sold.project, price_list=sold.world.price_list)
    job.place(sold.retail, resale=resale)
    job.use(ids.new("run"), 0, 100)
    await sold.world.deliver()
    assert (await sold.world.parked(), await lines(sold.world.finance, job)) == (1, set())
    assert (await sold.ask(job, "20.00", "10.00"))["granted"]
    await sold.world.deliver()
    assert len(await lines(sold.world.finance, job)) == 2
    await sold.sound()


async def test_what_an_outsider_charges_again_is_told_with_both_sets_of_prices(sold: Sold) -> None:
    job, run = await sold.job()
    job.use(run, 0, 100)
    await sold.world.deliver()
    export = ok(await sold.world.finance.get("/exports/usage"))
    (one,) = export["usage"]
    assert (one["hold_amount"], one["resale_hold_amount"]) == ("20.00", "10.00")
    assert (one["resale"]["reseller"], one["resale"]["price_list"]) == (sold.reseller, sold.world.price_list)
    assert {found["id"] for found in export["price_lists"]} == {sold.retail, sold.world.price_list}


@pytest.mark.parametrize("retail", [True, False])
async def test_a_correction_of_one_sellers_prices_moves_its_set_alone_and_is_its_buyers_to_see(
    sold: Sold, retail: bool
) -> None:
    job, run = await sold.job()
    job.use(run, 0, 100)
    right = ids.new("prl")
    prices = tariff("right", None, None, cpu_core_hour="18.00")
    sold.world.know_prices(right, 2, prices, reseller=sold.reseller if retail else None)
    await sold.world.deliver()
    wrong = sold.retail if retail else sold.world.price_list
    desk = Desk(sold.world)
    other = desk.draft(0, 3600, right, replaces=[sold.world.price_list if retail else sold.retail])
    problem = refused(await desk.first.post("/price-corrections", other, {"Idempotency-Key": "other"}), 422, "invalid")
    assert (problem["errors"][0]["pointer"], problem["errors"][0]["code"]) == ("/replaces/0", "seller")
    for number, replaces in enumerate(("all", [wrong])):
        done = await desk.correct(0, 3600, right, replaces=replaces)
        assert done["reseller"] == (sold.reseller if retail else None)
        shares = {one["organization"]: one["difference"] for one in done["preview"]["organizations"]}
        buyer, difference = (sold.world.organization, "-1.50") if retail else (sold.reseller, "-0.50")
        assert shares == ({} if number else {buyer: difference})
        sees = (
            (sold.person, retail or not number),
            (sold.world.member, retail and not number),
            (sold.world.seller, not retail),
        )
        for person, may in sees:
            assert (await person.get(f"/price-corrections/{done['id']}")).status_code == (200 if may else 404)
    charged = {name: charged for name, (charged, _) in (await sold.money()).items()}
    assert charged == ({"member": "0.50", "reseller": "1.00"} if retail else {"member": "2.00", "reseller": "0.50"})


async def test_an_adjustment_names_what_moved_it_within_its_own_set(later: World) -> None:
    sold = Sold(later)
    await sold.open()
    rule = {"category": "compute_service", "treatment": "taxed", "rate": 300, "starts_at": "2025-12-31T16:00:00Z"}
    ok(await later.finance.post("/tax-rules", rule | {"seller": sold.reseller}), 201)
    job, run = await sold.job()
    job.use(run, 0, 100)
    right = ids.new("prl")
    later.know_prices(right, 2, tariff("right", None, None, cpu_core_hour="18.00"))
    await later.deliver()
    await close_period(later, 0)
    made = await Desk(later).correct(0, 3600, right)
    job.end(run, Outcome.SITE)
    await later.deliver()
    lines = {one["id"]: one for one in await job.lines() if one["corrects"] and one["component"] == "cpu_core_hour"}
    assert len(lines) == 4
    for id, line in lines.items():
        (other,) = ok(await later.finance.get(f"/lines/{id}/explanation"))["moved"]
        there, wholesale = lines[other["line"]], line["organization"] == sold.reseller
        assert there["organization"] == line["organization"]
        assert {line["reason"], there["reason"]} == {None, "site_fault"}
        assert other["price_corrections"] == ([made["id"]] if wholesale else [])


async def test_the_price_per_job_is_each_sets_own_where_a_reseller_sells_a_part_of_a_job(sold: Sold) -> None:
    """The first try is the centre's to sell, at 0.30 a job; the second a reseller's, who buys at 0.10."""
    direct, wholesale = ids.new("prl"), ids.new("prl")
    for number, (name, price) in enumerate(((direct, "0.30"), (wholesale, "0.10")), start=2):
        sold.world.know_prices(name, number, tariff("day", None, None, cpu_core_hour="36.00", job=price))
    job, first, second = sold.world.job(), ids.new("run"), ids.new("run")
    assert (await sold.ask(job, "20.00", "10.00"))["granted"]
    resale = Resale(reseller=sold.reseller, project=sold.project, price_list=wholesale)
    tries = (job.attempt, ids.new("att"))
    job.place(direct)
    job.attempt = tries[1]
    job.place(sold.retail, resale=resale)
    job.use(second, 100, 150)
    await sold.world.deliver()
    assert {who: charged for who, (charged, _) in (await sold.money()).items()} == {
        "member": "1.00",
        "reseller": "0.60",
    }
    await sold.sound()
    job.attempt = tries[0]
    job.use(first, 0, 50)
    await sold.world.deliver()
    assert await sold.world.db.read(records.sold_in_part, [job.id]) == {job.id}
    assert {who: charged for who, (charged, _) in (await sold.money()).items()} == {
        "member": "1.80",
        "reseller": "0.60",
    }
    await sold.sound()
    hours = {"from": "2026-03-10T08:00:00Z", "to": "2026-03-10T09:00:00Z"}
    found = ok(await sold.world.seller.get(f"/sites/{sold.world.site}/runs", **hours))
    priced = {
        (run["run"], part["price_list"])
        for run in found["items"]
        for part in run["priced"]
        if part["component"] == "job"
    }
    assert priced == {(first, direct), (second, wholesale)}
    assert {line["price_list"] for line in found["lines"] if line["component"] == "job"} == {direct, wholesale}


async def test_a_job_that_a_reseller_might_have_sold_is_charged_as_the_centres_where_that_sold_it(sold: Sold) -> None:
    """It isn't computed anew with each hour, as one is that both sold."""
    job = sold.world.job()
    assert (await sold.ask(job, "20.00", "10.00"))["granted"]
    job.place()
    job.use(ids.new("run"), 0, 50)
    await sold.world.deliver()
    assert await sold.world.db.read(records.sold_in_part, [job.id]) == set()
    assert {who: charged for who, (charged, _) in (await sold.money()).items()} == {
        "member": "0.50",
        "reseller": "0.00",
    }
    await sold.sound()


async def test_what_is_taken_back_behind_the_second_in_which_a_hold_was_used_up_was_not_paid_for(sold: Sold) -> None:
    """Also of a job that a reseller sells, whose second is kept with the member's hold."""
    job, run = await sold.job(retail="2.00")
    for revision, end in enumerate((200, 150, 120), start=1):
        job.use(run, 0, end, revision=revision)
        await sold.world.deliver()
        assert await sold.money() == {"member": ("2.00", "0.00"), "reseller": ("1.00", "9.00")}
        await sold.sound()
    assert (await sold.ask(job, "20.00", "10.00"))["granted"]
    job.use(ids.new("run"), 3600, 3650)
    await sold.world.deliver()
    assert await sold.money() == {"member": ("3.40", "16.60"), "reseller": ("1.70", "8.30")}
    await sold.sound()


async def test_a_minimum_charge_of_what_is_resold_changes_with_late_usage(sold: Sold) -> None:
    least = ids.new("prl")
    prices = tariff("least", None, None, cpu_core_hour="72.00").model_copy(update={"minimum_charge": Money(300)})
    sold.world.know_prices(least, 2, prices, reseller=sold.reseller)
    sold.retail = least
    job, run = await sold.job()
    job.use(run, 0, 100)
    job.end_attempt()
    await sold.world.deliver()
    assert await sold.money() == {"member": ("3.00", "17.00"), "reseller": ("1.00", "9.00")}
    job.use(run, 0, 120, revision=2)
    await sold.world.deliver()
    assert await sold.money() == {"member": ("3.00", "17.00"), "reseller": ("1.20", "8.80")}
    await sold.sound()


async def test_a_job_that_a_reseller_might_have_sold_leaves_its_hold_alone_where_the_members_is_used_up(
    sold: Sold,
) -> None:
    job = sold.world.job()
    assert (await sold.ask(job, "0.30", "10.00"))["granted"]
    job.place()
    job.use(ids.new("run"), 0, 50)
    await sold.world.deliver()
    assert await sold.money() == {"member": ("0.30", "0.00"), "reseller": ("0.00", "10.00")}
    await sold.sound()


async def test_a_closed_period_has_each_sellers_discount_tax_and_statement_and_the_fee_of_the_centre_alone(
    later: World,
) -> None:
    """Ten core-hours are bought at 360.00 less 10 % above five, and sold at 720.00 less 20 %."""
    sold = Sold(later)
    await sold.open()
    for name, number, price, percent, reseller in (
        (later.price_list, 2, "36.00", "10", None),
        (sold.retail, 2, "72.00", "20", sold.reseller),
    ):
        volume = {Component.CPU_CORE_HOUR: tiers((5, percent))}
        later.know_prices(
            ids.new("prl"), number, tariff(name[-5:], None, None, cpu_core_hour=price), volume=volume, reseller=reseller
        )
    for who in (later.organization, sold.reseller):
        await later.deposit("1000.00", who)
    rule = {"category": "compute_service", "treatment": "taxed", "rate": 300, "starts_at": "2025-12-31T16:00:00Z"}
    ok(await later.finance.post("/tax-rules", rule | {"seller": sold.reseller}), 201)
    platform = rule | {"seller": "platform", "category": "platform_service", "rate": 600}
    ok(await later.finance.post("/tax-rules", platform), 201)
    agreed = {"provider": later.provider, "rate": 1000, "starts_at": "2025-12-31T16:00:00Z"}
    ok(await later.finance.post("/fee-agreements", agreed), 201)
    job, run = await sold.job("1000.00", "500.00")
    job.use(run, 0, 3600, cpus=10)
    await later.deliver()
    period = await close(later)
    found = {
        (one["party"], one["party_id"]): one
        for one in ok(await later.finance.get("/statements", period=period))["items"]
    }
    member, reseller, centre = later.organization, sold.reseller, later.provider
    assert {
        key: [(s["counterparty"], s["gross"], s["rate"]) for s in one["sections"]] for key, one in found.items()
    } == {
        ("organization", member): [(reseller, "648.00", 300)],
        ("organization", reseller): [(centre, "342.00", 600)],
        ("provider", centre): [(reseller, "342.00", 600)],
        ("reseller", reseller): [(member, "648.00", 300)],
    }
    assert (found["provider", centre]["payout"], found["reseller", reseller]["payout"]) == ("307.80", "648.00")
    off = {(one["organization"], one["seller"]): one for one in await given(later)}
    assert {parties: one["amount"] for parties, one in off.items()} == {
        (member, reseller): "-72.00",
        (reseller, centre): "-18.00",
    }
    explained = ok(await later.member.get(f"/lines/{off[member, reseller]['id']}/explanation"))
    assert (explained["basis"], explained["discount"]) == ("720.00", "72.00")
    refused(await later.member.get(f"/lines/{off[reseller, centre]['id']}/explanation"), 404, "not_found")
    refused(await later.seller.get(f"/lines/{off[member, reseller]['id']}/explanation"), 404, "not_found")
    job.use(run, 0, 3600, cpus=8, revision=2)
    await later.deliver()
    corrected = {
        (one["organization"], one["amount"])
        for one in ok(await later.finance.get("/lines", job=job.id))["items"]
        if one["corrects"] and one["component"] == "cpu_core_hour"
    }
    assert corrected == {(member, "-144.00"), (reseller, "-72.00")}
    await sold.sound()


async def test_a_resellers_own_voucher_pays_nothing_of_what_it_sells_on(later: World) -> None:
    sold = Sold(later)
    await sold.open()
    rule = {"category": "compute_service", "treatment": "taxed", "rate": 300, "starts_at": "2025-12-31T16:00:00Z"}
    ok(await later.finance.post("/tax-rules", rule | {"seller": sold.reseller}), 201)
    of_reseller = await issued(later, "1000.00", sold.reseller)
    of_member = await issued(later, "1000.00")
    job, run = await sold.job()
    job.use(run, 0, 400)
    await later.deliver()
    await close(later)
    found = ok(await later.finance.get("/lines", job=job.id))["items"]
    paid = {one["organization"]: one["subsidy"] for one in found if one["component"] == "cpu_core_hour"}
    assert paid == {later.organization: "2.40", sold.reseller: None}
    assert (await standing(later, of_member), await standing(later, of_reseller)) == (
        ("2.40", "2.40"),
        ("0.00", "0.00"),
    )


async def test_what_a_voucher_pays_for_is_judged_by_who_sells_to_its_organization(later: World) -> None:
    sold = Sold(later)
    await sold.open()
    rule = {"category": "compute_service", "treatment": "taxed", "rate": 300, "starts_at": "2025-12-31T16:00:00Z"}
    ok(await later.finance.post("/tax-rules", rule | {"seller": sold.reseller}), 201)
    centre, reseller = [
        await issued(later, "1000.00", eligibility={"suppliers": [one]}) for one in (later.provider, sold.reseller)
    ]
    components = {Component.CPU_CORE_HOUR: Money.parse("20.00")}
    use = HoldUse(offering=later.offering, reseller=sold.reseller, components=components)
    job, run = await sold.job(ahead=(use,))
    assert [await standing(later, one) for one in (reseller, centre)] == [("6.00", "0.00"), ("0.00", "0.00")]
    job.use(run, 0, 400)
    await later.deliver()
    assert [await standing(later, one) for one in (reseller, centre)] == [("6.00", "2.40"), ("0.00", "0.00")]
    await close(later)
    assert [await standing(later, one) for one in (reseller, centre)] == [("6.00", "2.40"), ("0.00", "0.00")]
    found = ok(await later.finance.get("/lines", job=job.id))["items"]
    assert [one["subsidy"] for one in found if one["subsidy"] is not None] == ["2.40"]


async def test_a_jobs_holds_are_listed_to_each_whose_money_they_are(sold: Sold) -> None:
    job, _ = await sold.job()

    async def seen(person: Person) -> list[tuple[str, str]]:
        return [(one["organization"], one["amount"]) for one in ok(await person.get("/holds", job=job.id))["items"]]

    member, reseller = (sold.world.organization, "20.00"), (sold.reseller, "10.00")
    assert await seen(sold.world.finance) == [member, reseller]
    assert await seen(sold.world.member) == [member]
    assert await seen(sold.person) == [reseller]
    assert await seen(sold.world.service.person("stranger", f"org/{ids.new('org')}:admin")) == []
    refused(await sold.world.seller.get("/holds", job=job.id), 404, "not_found")
    refused(await sold.world.finance.get("/holds"), 422, "invalid")
    found = Holds.model_validate(ok(await sold.world.finance.get("/holds", job=job.id)))
    assert found.items[0] == Hold.model_validate(ok(await sold.world.finance.get(f"/holds/{job.id}")))
    shown = Console(width=200, file=io.StringIO(), record=True)
    shown.print(show.holds(found))
    text = shown.export_text()
    assert all(cell in text for cell in (*member, *reseller, "granted", "open, revision 1"))
