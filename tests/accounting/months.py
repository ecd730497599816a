"""March 2026 in the world: what finance does with it, by a clock that stands until it is set."""

from datetime import UTC, datetime, timedelta

from caravan.kernel import ids
from services.accounting.periods.closing import PeriodService
from tests.accounting.books import period_at
from tests.accounting.world import T0, World, at
from tests.support import Json, ok

MARCH = datetime(2026, 2, 28, 16, tzinfo=UTC)
APRIL = datetime(2026, 3, 31, 16, tzinfo=UTC)
GRACE = timedelta(hours=72)


class Hand:
    """A clock that stands until it is set."""

    def __init__(self) -> None:
        self.time = at(7200)

    def __call__(self) -> datetime:
        return self.time


class Finance:
    """What finance does with the period of March, in which the world's jobs run."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._person = world.finance

    async def periods(self) -> list[Json]:
        return list(reversed(ok(await self._person.get("/periods", limit=200))["items"]))

    async def march(self) -> Json:
        await self._world.db.write(period_at, T0)
        return next(period for period in await self.periods() if period["name"] == "2026-03")

    async def cut(self, moment: datetime) -> Json:
        march = await self.march()
        return ok(await self._person.post(f"/periods/{march['id']}/cut", {"at": moment.isoformat()}))

    async def close(self) -> Json:
        march = await self.march()
        return ok(await self._person.post(f"/periods/{march['id']}/close"))

    async def settle(self) -> Json:
        """Let the loop pass once; gives March as it is then."""
        periods: PeriodService = self._world.service.app.provided[PeriodService]
        await periods.iteration()
        return await self.march()


def iso(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")


async def used(world: World, start: int, end: int) -> None:
    """A job that ran from `start` to `end` seconds after T0, charged."""
    job = world.job()
    await world.deposit("100.00")
    await job.hold("50.00")
    job.place()
    run = ids.new("run")
    job.use(run, start, end)
    job.end(run)
    await world.deliver()


async def core_lines(world: World, **filters: str) -> list[Json]:
    """The lines of core-seconds."""
    lines = ok(await world.finance.get("/lines", **filters))["items"]
    return [line for line in lines if line["component"] == "cpu_core_hour"]
