"""What vouchers pay of jobs before their period closes: pledged with holds, redeemed as they are charged, and let go of as they settle."""

import asyncio
from typing import Any

import pytest
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from caravan.contracts.funds import HoldUse
from caravan.contracts.jobs import Outcome
from caravan.contracts.prices import Component
from caravan.kernel import clock, ids
from caravan.kernel.money import Money
from services.accounting.programmes import pools
from services.accounting.redemptions.models import RedemptionRow
from services.accounting.redemptions.verify import verify
from services.accounting.vouchers.models import ApplicationRow, VoucherRow
from tests.accounting.programmes_cases import ENTERPRISE, published
from tests.accounting.world import T0, Job, World, hour_of
from tests.support import Json, ok


async def issued(
    world: World, amount: str, organization: str | None = None, programme: Json | None = None, **terms: Any
) -> str:
    """A voucher of a programme (with these terms), issued just before the world begins. Its id."""
    programme = programme or await published(world, **terms)
    voucher, whose = ids.new("vou"), organization or world.organization
    common = {"programme": programme["id"], "organization": whose, "amount": Money.parse(amount).fen}
    application = ApplicationRow(
        **common,
        id=ids.new("vap"),
        enterprise=ENTERPRISE,
        state="issued",
        version=1,
        applied_at=T0,
        applied_by="somebody",
    )
    row = VoucherRow(
        **common,
        id=voucher,
        application=application.id,
        year=2026,
        kinds=[],
        affiliates=[],
        state="issued",
        issued_at=T0,
        expires_at=clock.from_seconds(clock.to_seconds(T0) + 86_400),
    )

    def keep(tx: Session) -> None:
        assert pools.commit(tx, programme["id"], 2026, row.amount)
        tx.add(application)
        tx.flush()
        tx.add(row)

    await world.db.write(keep)
    return voucher


def ahead(
    world: World, amount: str, component: Component = Component.CPU_CORE_HOUR, **more: str
) -> tuple[HoldUse, ...]:
    components = {component: Money.parse(amount)} | {
        Component(name): Money.parse(value) for name, value in more.items()
    }
    return (HoldUse(offering=world.offering, components=components),)


async def standing(world: World, voucher: str) -> tuple[str, str]:
    """What of it is pledged, and what of that redeemed."""
    query = select(VoucherRow.pledged, VoucherRow.redeemed).where(VoucherRow.id == voucher)
    pledged, redeemed = await world.db.read(lambda tx: tx.execute(query).one())
    assert await world.db.read(lambda tx: list(verify(tx))) == []
    return str(Money(pledged)), str(Money(redeemed))


async def funds(world: World, *names: str) -> list[str]:
    found = await world.funds()
    total = sum(Money.parse(found[name]).fen for name in ("deposited", "granted", "credit"))
    assert found["available"] == str(Money(total - Money.parse(found["charged"]).fen - Money.parse(found["held"]).fen))
    return [found[name] for name in names]


async def charged(world: World, seconds: int = 1000, amount: str = "10.00", **hold: Any) -> tuple[Job, str]:
    """A job of one core for so many seconds (10.00 at most), and its run."""
    job, run = world.job(), ids.new("run")
    hold = {"ahead": ahead(world, amount)} | hold
    assert (await job.hold(amount, **hold))["granted"]
    job.place()
    job.use(run, 0, seconds)
    await world.deliver()
    return job, run


def settle(job: Job, run: str) -> None:
    job.end(run)
    job.settle({run: {hour_of(0): 1}})


async def test_a_voucher_pays_its_part_of_a_hold_of_what_is_charged_and_lets_go_of_the_rest(world: World) -> None:
    await world.deposit("7.00")
    voucher = await issued(world, "1000.00")
    job, run = await charged(world, 800)
    assert await standing(world, voucher) == ("3.00", "2.40")
    assert await funds(world, "granted", "charged", "held", "available") == ["3.00", "8.00", "2.00", "0.00"]
    settle(job, run)
    await world.deliver()
    assert await standing(world, voucher) == ("2.40", "2.40")
    assert await funds(world, "granted", "charged", "held", "available") == ["2.40", "8.00", "0.00", "1.40"]
    accounts = {
        one["account"].partition(":")[0]: one["balance"]
        for one in ok(await world.finance.get("/ledger/trial-balance"))["accounts"]
    }
    owed = {"prepaid": "-1.40", "receivable": "0.00", "payable": "-8.00", "programme_receivable": "2.40"}
    assert accounts == {"bank": "7.00", **owed}


async def test_a_hold_needs_only_the_organizations_own_part(world: World) -> None:
    await world.deposit("6.99")
    await issued(world, "1000.00")
    answer = await world.job().hold("10.00", ahead=ahead(world, "10.00"))
    assert (answer["granted"], answer["short"]) == (False, "funds")
    assert (await funds(world, "granted", "held")) == ["0.00", "0.00"]
    await world.deposit("0.01")
    assert (await world.job().hold("10.00", ahead=ahead(world, "10.00")))["granted"]


@pytest.mark.parametrize(
    ("terms", "components", "pledged"),
    [
        ({"components": ["accelerator_hour"]}, {"cpu_core_hour": "10.00"}, "0.00"),
        ({"components": ["accelerator_hour"]}, {"cpu_core_hour": "4.00", "accelerator_hour": "6.00"}, "1.80"),
        ({"components": ["accelerator_hour"]}, {"accelerator_hour": "6.00", "minimum_charge": "0.00"}, "0.00"),
        ({}, {"accelerator_hour": "6.00", "minimum_charge": "4.00"}, "3.00"),
        ({"tiers": ["ai"]}, {"cpu_core_hour": "10.00"}, "0.00"),
        ({"origins": ["domestic"]}, {"cpu_core_hour": "10.00"}, "0.00"),
        ({"mode": "reimbursed"}, {"cpu_core_hour": "10.00"}, "0.00"),
    ],
)
async def test_it_pays_for_what_its_programme_supports_alone(
    world: World, terms: dict[str, Any], components: dict[str, str], pledged: str
) -> None:
    await world.deposit("10.00")
    voucher = await issued(world, "1000.00", **terms)
    (name, amount), *more = components.items()
    uses = ahead(world, amount, Component(name), **dict(more))
    assert (await world.job().hold("10.00", ahead=uses))["granted"]
    assert await standing(world, voucher) == (pledged, "0.00")


async def test_the_price_per_job_is_pledged_for_once_though_it_is_tried_again(world: World) -> None:
    await world.deposit("100.00")
    voucher = await issued(world, "1000.00")
    job = world.job()
    once = ahead(world, "10.00", job="20.00")
    assert (await job.hold("30.00", ahead=once))["granted"]
    assert await standing(world, voucher) == ("9.00", "0.00")
    assert (await job.hold("40.00", ahead=(*once, *once)))["granted"]
    assert await standing(world, voucher) == ("6.00", "0.00")
    assert (await job.hold("30.00", ahead=once))["granted"]
    assert await standing(world, voucher) == ("3.00", "0.00")


async def test_of_several_vouchers_the_one_that_pays_most_counts_and_stays_with_the_job(world: World) -> None:
    await world.deposit("10.00")
    small = await issued(world, "1.00", rates=[{"rate": 9000}])
    large = await issued(world, "1000.00", rates=[{"rate": 3000}])
    job = world.job()
    assert (await job.hold("10.00", ahead=ahead(world, "10.00")))["granted"]
    assert [(await standing(world, one))[0] for one in (small, large)] == ["0.00", "3.00"]
    assert (await job.hold("1.00", ahead=ahead(world, "1.00")))["granted"]
    assert [(await standing(world, one))[0] for one in (small, large)] == ["0.00", "0.30"]


async def test_a_voucher_of_others_one_that_is_over_and_one_that_is_not_yet_pay_nothing(world: World) -> None:
    await world.deposit("10.00")
    other, project = ids.new("org"), ids.new("prj")
    world.know_organization(other, project)
    await world.deliver()
    foreign = await issued(world, "1000.00", other)
    mine = await issued(world, "1000.00")
    at = clock.from_seconds(clock.to_seconds(T0) + 1)
    values = {"issued_at": at, "expires_at": at}
    await world.db.write(lambda tx: tx.execute(update(VoucherRow).where(VoucherRow.id == mine).values(values)))
    assert (await world.job().hold("1.00", ahead=ahead(world, "1.00")))["granted"]
    assert (await world.job().hold("1.00", ahead=ahead(world, "1.00"), submitted_at=at))["granted"]
    assert [(await standing(world, one))[0] for one in (foreign, mine)] == ["0.00", "0.00"]


async def test_a_hold_that_moves_to_what_is_not_supported_needs_the_money_itself(world: World) -> None:
    await world.deposit("8.00")
    voucher = await issued(world, "1000.00", components=["cpu_core_hour"])
    job = world.job()
    assert (await job.hold("10.00", ahead=ahead(world, "10.00")))["granted"]
    moved = ahead(world, "10.00", Component.NODE_HOUR)
    answer = await job.hold("10.00", ahead=moved)
    assert (answer["granted"], answer["fits"]) == (False, "8.00")
    assert await standing(world, voucher) == ("3.00", "0.00")
    assert (await job.hold("8.00", revision=3, ahead=ahead(world, "8.00", Component.NODE_HOUR)))["granted"]
    assert await standing(world, voucher) == ("0.00", "0.00")


async def test_what_is_redeemed_of_an_attempt_that_goes_on_is_not_pledged_again(world: World) -> None:
    await world.deposit("14.00")
    voucher = await issued(world, "1000.00")
    job, _ = await charged(world, 500)
    assert await standing(world, voucher) == ("3.00", "1.50")
    both = ahead(world, "10.00") * 2
    assert (await job.hold("20.00", ahead=both))["granted"]
    assert await standing(world, voucher) == ("6.00", "1.50")
    assert await funds(world, "granted", "held", "available") == ["6.00", "15.00", "0.00"]


async def test_a_hold_that_grows_counts_on_no_more_of_a_voucher_that_is_revoked(world: World) -> None:
    await world.deposit("17.00")
    voucher = await issued(world, "1000.00")
    job = world.job()
    assert (await job.hold("10.00", ahead=ahead(world, "10.00")))["granted"]
    await world.db.write(lambda tx: tx.execute(update(VoucherRow).values(state="revoked")))
    assert (await job.hold("20.00", ahead=ahead(world, "20.00")))["granted"]
    assert await standing(world, voucher) == ("3.00", "0.00")
    assert await funds(world, "granted", "held", "available") == ["3.00", "20.00", "0.00"]


async def test_what_is_taken_back_of_a_charge_is_taken_back_of_the_voucher(world: World) -> None:
    await world.deposit("7.00")
    voucher = await issued(world, "1000.00")
    job, run = await charged(world)
    assert await standing(world, voucher) == ("3.00", "3.00")
    job.use(run, 0, 500, revision=2)
    await world.deliver()
    assert await standing(world, voucher) == ("3.00", "1.50")
    job.end(run, Outcome.SITE)
    job.settle({run: {hour_of(0): 2}})
    await world.deliver()
    assert await standing(world, voucher) == ("0.00", "0.00")
    assert await funds(world, "granted", "charged", "available") == ["0.00", "0.00", "7.00"]


async def test_a_voucher_that_is_used_up_pays_what_is_left_of_it(world: World) -> None:
    await world.deposit("9.00")
    voucher = await issued(world, "1.00")
    await charged(world)
    assert await standing(world, voucher) == ("1.00", "1.00")
    assert await funds(world, "granted", "charged", "available") == ["1.00", "10.00", "0.00"]


async def test_no_voucher_is_pledged_beyond_what_it_is_issued_for_by_many_holds_at_once(world: World) -> None:
    await world.deposit("1000.00")
    voucher = await issued(world, "100.00")
    answers = await asyncio.gather(*(world.job().hold("10.00", ahead=ahead(world, "10.00")) for _ in range(100)))
    assert all(answer["granted"] for answer in answers)
    assert await standing(world, voucher) == ("100.00", "0.00")
    count = select(RedemptionRow.job).where(RedemptionRow.pledged > 0)
    assert len(await world.db.read(lambda tx: tx.scalars(count).all())) == 34


async def test_a_voucher_that_something_else_was_posted_for_is_found(world: World) -> None:
    await world.deposit("7.00")
    voucher = await issued(world, "1000.00")
    await charged(world)

    def spoil(tx: Session) -> None:
        tx.execute(update(VoucherRow).values(redeemed=VoucherRow.redeemed - 1))

    await world.db.write(spoil)
    found = await world.db.read(lambda tx: list(verify(tx)))
    programme = await world.db.read(lambda tx: tx.scalars(select(VoucherRow.programme)).one())
    assert found == [
        (voucher, "pledged and redeemed are (300, 299) fen, and should be (300, 300)"),
        (programme, "300 fen were posted of what it pays, and 299 were redeemed"),
    ]
