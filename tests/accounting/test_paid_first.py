"""The example paid-first of docs/programmes.md through the real rooms: applied for, used, closed, claimed and paid, to the fen."""

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, NamedTuple

from caravan.contracts import events
from caravan.contracts.offerings import Accelerator, AcceleratorUnit, Capacity, Limits, Offering, OfferingState, Tier
from caravan.contracts.prices import Component, PriceList, Tariff
from caravan.contracts.programmes import ProgrammeDraft
from caravan.contracts.usage import Span, UsageRecord
from caravan.kernel import clock, ids
from caravan.kernel.money import Money
from tests.accounting.books import period_at
from tests.accounting.programmes_cases import ENTERPRISE, FIRST, PASSES, Hands, issued, key, office
from tests.accounting.test_programmes_docs import DOCS, PAGES, fen, tables
from tests.accounting.test_reimbursement_decisions import attached, path, reviewed
from tests.accounting.volume import close
from tests.accounting.world import T0, World, at
from tests.support import Json, ok

KIND = "acc_domestic-card"
CARD_HOUR, CORE_HOUR = Decimal("100"), Decimal("36")


class Sold(NamedTuple):
    """An offering of the centre, and its price list."""

    offering: str
    price_list: str


def sell(world: World, tier: Tier, accelerator: str | None) -> Sold:
    sold = Sold(ids.new("off"), ids.new("prl"))
    of_node = {"cpus_per_node": 64, "memory_mib_per_node": 1024, "accelerators_per_node": 8 if accelerator else 0}
    limits = Limits(nodes=1, walltime_seconds=86400, **of_node)
    offering = Offering(
        id=sold.offering,
        provider=world.provider,
        site=world.site,
        name=tier.value,
        tier=tier,
        target={},
        accelerator=accelerator,
        limits=limits,
        capacity=Capacity(cpus=64, memory_mib=1024),
        state=OfferingState.ACTIVE,
        version=1,
        created_at=T0,
    )
    world.catalog.say(events.OFFERING, sold.offering, offering)
    prices = {Component.CPU_CORE_HOUR: CORE_HOUR} | ({Component.ACCELERATOR_HOUR: CARD_HOUR} if accelerator else {})
    tariff = Tariff(name="day", starts_at=datetime(2026, 1, 1, tzinfo=UTC), ends_at=None, prices=prices)
    entity = PriceList(
        id=sold.price_list, offering=sold.offering, reseller=None, revision=1, created_at=T0, tariffs=(tariff,)
    )
    world.catalog.say(events.PRICE_LIST, sold.price_list, entity)
    return sold


def shapes(used: str, amount: int) -> list[tuple[int, dict[str, Any]]]:
    """(seconds, what was held of them) that come to `amount` fen."""
    if used.startswith(Component.ACCELERATOR_HOUR):
        cards, left = divmod(amount, int(CARD_HOUR) * 100)
        assert left == 0
        return [(3600, {"cpus": 0, "accelerators": cards, "accelerator": KIND})]
    cores, left = divmod(amount, 3600)
    return [(3600, {"cpus": cores}), (left, {"cpus": 1})]


async def use(world: World, row: dict[str, str], second: int, sold: Sold) -> str:
    """A job whose line comes to what the row says, charged."""
    job = world.job()
    assert (await job.hold("2000000.00", submitted_at=at(second)))["granted"]
    world.offering = sold.offering
    job.place(price_list=sold.price_list)
    for seconds, held in shapes(row["used"], fen(row["amount"])):
        span = Span(start=at(second), end=at(second + seconds), nodes=1, memory_mib=0, **held)
        record = UsageRecord(
            hour=clock.floor_hour(at(second)),
            revision=1,
            spans=(span,),
            run=ids.new("run"),
            attempt=job.attempt,
            job=job.id,
            run_started_at=at(second),
            backend_identity=None,
            index=None,
        )
        world.broker.say(events.USAGE_STATED, job.id, record)
    await world.deliver()
    return job.id


async def payments(world: World, programme: Json, day: int) -> list[tuple[str, str]]:
    """What the period of a day after T0 has paid back, and who funds it."""
    period = await world.db.write(period_at, at(day * 86_400))
    found = ok(await office(world).get(f"/programmes/{programme['id']}/payments", period=period))
    assert (found["sellers"], found["total"]) == ([], found["reimbursements"][0]["amount"])
    return [(one["amount"], part["funder"]) for one in found["reimbursements"] for part in one["funders"]]


async def test_the_example_paid_first_is_paid_back_to_the_fen(spring: World, hands: Hands) -> None:
    world = spring
    hands.at = datetime(2026, 3, 5, tzinfo=UTC)
    held, rows = tables(PAGES[0], "paid-first")
    sums = [row for row in rows if row["line"] == "sum"]
    lines = [row for row in rows if row["line"] != "sum"]
    draft = ProgrammeDraft.model_validate(json.loads((DOCS / "programmes" / "paid-first.json").read_text()))
    made = ok(await office(world).post("/programmes", draft), 201)
    programme = ok(await office(world).post(f"/programmes/{made['id']}/publish", headers=FIRST))
    card = Accelerator(id=KIND, vendor="甲", model="卡", memory_mib=65536, unit=AcceleratorUnit.CARD, domestic=True)
    world.catalog.say(events.ACCELERATOR, KIND, card)
    cards, cores = sell(world, Tier.AI, KIND), sell(world, Tier.HPC, None)
    await world.deposit("9000000.00")

    async def voucher(one: dict[str, str]) -> Json:
        enterprise = ENTERPRISE | {"kinds": one["kinds"].split()}
        return await issued(world, programme, one["issued for"].replace(",", ""), enterprise=enterprise)

    vouchers = [await voucher(held[0])]
    months = ((0, (2026, 4, 5)), (31, (2026, 7, 5)), (122, (2026, 10, 5)))
    for number, ((day, after), line, total) in enumerate(zip(months, lines, sums, strict=True)):
        job = await use(world, line, day * 86_400, cards if line["used"].endswith("domestic") else cores)
        hands.at = datetime(*after, tzinfo=UTC)
        await close(world, day * 86_400)
        if number == 1:
            vouchers.append(await voucher(held[1]))
        body = {"organization": world.organization, "programme": programme["id"]}
        claim = ok(await world.admin.post("/reimbursements", body, key(ids.new("req"))), 201)
        (span,) = claim["spans"]
        assert (span["voucher"], fen(span["claimed"]), fen(span["amount"])) == (
            vouchers[int(total["voucher"]) - 1]["id"], fen(total["share"]), fen(total["pays"]),
        )  # fmt: skip
        (told,) = ok(await world.member.get(path(claim, "lines")))["items"]
        assert (told["line"]["job"], fen(told["line"]["amount"])) == (job, fen(line["amount"]))
        assert (fen(told["share"]), fen(told["pays"])) == (fen(line["share"]), fen(line["pays"]))
        approved = await reviewed(world, await attached(world, claim), PASSES, PASSES)
        payment = {"reference": f"XAFB-{number}", "paid_on": hands.at.date().isoformat()}
        ok(await world.finance.post(path(approved, "pay"), payment, key(f"pay-{number}")))
    assert await payments(world, programme, 31) == [("420000.00", "市经济和信息化局")]
    assert await payments(world, programme, 122) == [("80000.00", "市经济和信息化局")]
    found = [ok(await world.member.get(f"/vouchers/{one['id']}")) for one in vouchers]
    assert [(one["redeemed"], one["state"]) for one in found] == [("500000.00", "redeemed"), ("500000.00", "issued")]
    assert ok(await world.finance.get(f"/funds/{world.organization}"))["granted"] == "0.00"
    spent = sum((Money.parse(line["amount"].replace(",", "")) for line in lines), Money(0))
    assert ok(await world.finance.get(f"/funds/{world.organization}"))["charged"] == str(spent)
