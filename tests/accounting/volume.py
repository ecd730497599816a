"""Months of the world with an offering that has volume discounts (the fixture `sold`): used, and closed by their loop."""

from decimal import Decimal
from typing import Final

from caravan.contracts.jobs import Outcome
from caravan.contracts.prices import Component, VolumeTier
from caravan.kernel import ids
from services.accounting.ledger.verify import verify
from services.accounting.periods import closing
from tests.accounting.books import period_at
from tests.accounting.world import Job, World, at
from tests.support import Json, ok

CORE: Final = Component.CPU_CORE_HOUR
LATER: Final = at(400 * 86_400)


def tiers(*steps: tuple[int, str]) -> tuple[VolumeTier, ...]:
    return tuple(VolumeTier(above=above, percent_off=Decimal(percent)) for above, percent in steps)


TIERS: Final = tiers((5, "10"), (8, "50"))
"""Of core-hours, which cost 36.00 in the world: 3.60 less from the sixth on, 18.00 from the ninth."""


async def use(world: World, core_hours: int, hour: int = 0, outcome: Outcome = Outcome.SUCCEEDED) -> tuple[Job, str]:
    """A job of that many cores in that hour after T0, charged; gives it and its run."""
    job, run = world.job(), ids.new("run")
    await job.hold("1000.00")
    job.place()
    job.use(run, 3600 * hour, 3600 * (hour + 1), cpus=core_hours)
    job.end(run, outcome)
    await world.deliver()
    return job, run


async def close(world: World, second: int = 0) -> str:
    """Close the period of a second after T0 through its loop; gives its id."""
    period = await world.db.write(period_at, at(second))
    ok(await world.finance.post(f"/periods/{period}/close"))
    world.progress(400 * 86_400, len(world.broker.events) + 1)
    await world.deliver()
    await world.service.app.provided[closing.PeriodService].iteration()
    assert ok(await world.finance.get(f"/periods/{period}"))["state"] == "closed"
    await sound(world)
    return period


async def sound(world: World) -> None:
    await world.consistent()
    assert list(await world.db.read(lambda tx: list(verify(tx)))) == []


async def given(world: World, **filters: str) -> list[Json]:
    lines = ok(await world.finance.get("/lines", limit=200, **filters))["items"]
    return [one for one in lines if one["kind"] == "volume_discount"]


MONTH: Final = 31 * 24
