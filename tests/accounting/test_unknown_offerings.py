"""Periods wait for the offerings of which the catalog has not told, where vouchers may pay for what was used of them."""

from sqlalchemy import update

from caravan.contracts import events
from caravan.contracts.offerings import Accelerator, AcceleratorUnit, Offering
from caravan.kernel import ids
from services.accounting.periods.closing import PeriodService
from services.accounting.periods.models import PeriodRow
from tests.accounting.books import period_at
from tests.accounting.test_redemptions import charged, issued, settle, standing
from tests.accounting.test_settlements import subsidies
from tests.accounting.volume import LATER, close
from tests.accounting.world import T0, World, tariff
from tests.support import ok


def told(world: World, accelerator: str) -> None:
    """Let the catalog tell of the world's offering as it was told of last, with an accelerator."""
    last = next(one["data"] for one in reversed(world.catalog.events) if one["type"] == events.OFFERING)
    limits = last["limits"] | {"accelerators_per_node": 1}
    capacity = last["capacity"] | {"accelerators": 1}
    changes = {"id": world.offering, "accelerator": accelerator, "limits": limits, "capacity": capacity}
    offering = Offering.model_validate(last | changes)
    world.catalog.say(events.OFFERING, world.offering, offering)


async def test_a_period_waits_for_the_offerings_that_vouchers_may_pay_for_however_long(sold: World) -> None:
    voucher = await issued(sold, "1000.00", origins=["domestic"])
    sold.offering, accelerator = ids.new("off"), "acc_ascend-910b"
    sold.price_list = ids.new("prl")
    sold.know_prices(sold.price_list, 1, tariff("day", None, None, cpu_core_hour="36.00"))
    job, run = await charged(sold)
    settle(job, run)
    period = await sold.db.write(period_at, T0)
    ok(await sold.finance.post(f"/periods/{period}/close"))
    sold.progress(400 * 86_400, len(sold.broker.events) + 1)
    loop = sold.service.app.provided[PeriodService]

    async def waits() -> tuple[str, list[str]]:
        await sold.deliver()
        await loop.iteration()
        assert ok(await sold.member.get(f"/periods/{period}"))["unknown_offerings"] == []
        found = ok(await sold.finance.get(f"/periods/{period}"))
        return found["state"], found["unknown_offerings"]

    assert await waits() == ("closing", [sold.offering])
    over = {"grace_ends_at": LATER}
    await sold.db.write(lambda tx: tx.execute(update(PeriodRow).where(PeriodRow.id == period).values(over)))
    assert await waits() == ("closing", [sold.offering]), "after the grace, too"
    told(sold, accelerator)
    assert await waits() == ("closing", [sold.offering]), "its accelerator is not known"
    kind = Accelerator(
        id=accelerator,
        vendor="Ascend",
        model="910B",
        memory_mib=65_536,
        unit=AcceleratorUnit.CARD,
        domestic=True,
    )
    sold.catalog.say(events.ACCELERATOR, accelerator, kind)
    assert await waits() == ("closed", [])
    assert await subsidies(job) == [("10.00", "3.00")]
    assert await standing(sold, voucher) == ("3.00", "3.00")


async def test_a_period_waits_for_no_offering_that_nobody_with_a_voucher_has_used(sold: World) -> None:
    sold.offering, sold.price_list = ids.new("off"), ids.new("prl")
    sold.know_prices(sold.price_list, 1, tariff("day", None, None, cpu_core_hour="36.00"))
    await charged(sold)
    await close(sold)
