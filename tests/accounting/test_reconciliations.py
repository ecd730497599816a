"""Each night the books are held against each other, by what has changed; what doesn't hold is told until it does."""

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import update

from caravan.contracts import events
from caravan.contracts.books import BookedRun, BooksRead
from caravan.contracts.jobs import Outcome
from caravan.kernel import ids, leases
from caravan.kernel.metrics import Metrics
from caravan.kernel.runtime import Runtime
from services.accounting.charging.models import LineRow
from services.accounting.funds.models import Fund, HoldRow
from services.accounting.ledger import sealing
from services.accounting.reconciliations import nightly
from services.accounting.reconciliations.nightly import Nightly
from tests.accounting.test_charging import job_with_hold
from tests.accounting.world import Job, World, at
from tests.support import Json, ok, refused

NIGHT = datetime(2026, 3, 11, 3, 30, tzinfo=ZoneInfo("Asia/Shanghai")).astimezone(UTC)
DAY = timedelta(days=1)


class Nights:
    """The loop, on a clock that the test sets."""

    def __init__(self, world: World) -> None:
        self.world, self.metrics, self.now = world, Metrics(), NIGHT
        self._nightly = Nightly(world.db, ids.new("own"), lambda: self.now, self.metrics, 3)

    async def pass_(self, now: datetime) -> None:
        sealer = self.world.service.app.provided[Runtime].owner.id  # its loop has the lease
        while await self.world.db.write(sealing.seal, sealer):
            pass
        self.now = now
        assert await self._nightly.iteration() == nightly.LOOK_SECONDS

    async def last(self) -> tuple[str, int, list[str]]:
        """Of the last night: its scope, how many jobs it looked at, and what of which job it found."""
        one = (await self.all())[0]
        assert one["found"] == len(one["findings"])
        assert f"caravan_reconciliation_findings {float(one['found'])}" in self.metrics.render().decode()
        return one["scope"], one["checked"], [f"{found['check']} {found['subject']}" for found in one["findings"]]

    async def all(self) -> list[Json]:
        return list(ok(await self.world.finance.get("/reconciliations"))["items"])


@pytest.fixture
def nights(world: World) -> Nights:
    return Nights(world)


async def used(world: World, start: int = 0, run: str | None = None) -> Job:
    job = await job_with_hold(world)
    job.use(run or ids.new("run"), start, start + 40)
    await world.deliver()
    return job


async def change(world: World, statement: Any) -> None:
    await world.db.write(lambda tx: tx.execute(statement))


async def test_once_in_a_night_in_its_hour_alone(nights: Nights) -> None:
    for hours in (-1, 1):
        await nights.pass_(NIGHT + timedelta(hours=hours))
    assert await nights.all() == []
    for minutes in (-30, 0, 29):
        await nights.pass_(NIGHT + timedelta(minutes=minutes))
    assert await nights.last() == ("all", 0, [])
    assert len(await nights.all()) == 1
    await nights.pass_(NIGHT + DAY)
    assert await nights.last() == ("changed", 0, [])
    assert len(await nights.all()) == 2
    await nights.pass_(NIGHT.replace(month=4, day=1) - DAY)
    await nights.pass_(NIGHT.replace(month=3, day=31))
    assert [one["scope"] for one in await nights.all()][:1] == ["all"]


async def test_only_the_holder_of_the_lease_reconciles(world: World, nights: Nights) -> None:
    await world.db.write(leases.acquire, nightly.LOOP, "another", nightly.LEASE_TTL)
    await nights.pass_(NIGHT)
    assert await nights.all() == []


async def test_what_has_changed_is_looked_at_and_nothing_else(world: World, nights: Nights) -> None:
    old = await used(world)
    await nights.pass_(NIGHT + 2 * DAY)
    assert await nights.last() == ("all", 1, [])
    run = ids.new("run")
    late = await used(world, run=run)
    new = await used(world, start=5 * 86_400)
    await nights.pass_(NIGHT + 6 * DAY)
    assert await nights.last() == ("changed", 2, [])
    await nights.pass_(NIGHT + 8 * DAY)
    assert await nights.last() == ("changed", 0, [])
    for job in (old, late, new):
        core = (LineRow.job == job.id) & (LineRow.component == "cpu_core_hour")
        await change(world, update(LineRow).where(core).values(quantity=41, amount=41))
    late.use(run, 0, 20, revision=2)
    await world.deliver()
    await nights.pass_(NIGHT + 9 * DAY)
    assert await nights.last() == ("changed", 1, [f"usage {late.id}", f"funds {late.id}"])


async def test_what_does_not_hold_is_told_each_night_until_it_does(world: World, nights: Nights) -> None:
    await used(world)
    await nights.pass_(NIGHT)
    job = await used(world)
    held = HoldRow.job == job.id
    await change(world, update(HoldRow).where(held).values(captured=39))
    await change(world, update(Fund).values(charged=Fund.charged - 1))
    expected = [f"funds {world.organization}", f"funds {job.id}"]
    for day in (1, 2, 3):
        await nights.pass_(NIGHT + day * DAY)
        scope, _, found = await nights.last()
        assert (scope, found) == ("changed", expected)
    await change(world, update(HoldRow).where(held).values(captured=40))
    await change(world, update(Fund).values(charged=Fund.charged + 1))
    await nights.pass_(NIGHT + 4 * DAY)
    assert (await nights.last())[2] == []


async def test_reconciliations_are_finances_alone(world: World, nights: Nights) -> None:
    await nights.pass_(NIGHT)
    for person in (world.member, world.admin, world.seller):
        refused(await person.get("/reconciliations"), 404, "not_found")
    await nights.pass_(NIGHT + DAY)
    first = ok(await world.finance.get("/reconciliations", limit=1))
    second = ok(await world.finance.get("/reconciliations", limit=1, cursor=first["next"]))
    assert [one["scope"] for one in (*first["items"], *second["items"])] == ["changed", "all"]


FIRST = datetime(2026, 3, 9, 16, tzinfo=UTC)
"""Midnight of 10 March in Shanghai, the day of T0."""


def booked(identity: str, start: int, end: int | None, cpus: int = 1) -> BookedRun:
    """What the site's books have of a run: from `start` to `end` seconds after T0."""
    until = None if end is None else at(end)
    return BookedRun(identity=identity, start=at(start), end=until, nodes=1, cpus=cpus, memory_mib=0)


def tell(
    world: World, *runs: BookedRun, page: int = 0, last: bool = True, keeps_all: bool = True, day: int = 0
) -> None:
    start = FIRST + day * DAY
    told = BooksRead(
        site=world.site,
        start=start,
        end=start + DAY,
        page=page,
        last=last,
        as_of=start + DAY,
        keeps_all=keeps_all,
        runs=runs,
    )
    world.broker.say(events.BOOKS_READ, f"books:{world.site}", told)


async def ran(world: World, identity: str, start: int, end: int, cpus: int = 1) -> str:
    """A run that is final; gives its id."""
    job, run = await job_with_hold(world), ids.new("run")
    job.use(run, start, end, cpus=cpus, identity=identity)
    job.end(run, Outcome.SUCCEEDED)
    return run


async def test_a_days_books_of_a_site_are_held_against_what_was_stated_once(world: World, nights: Nights) -> None:
    world.progress(20 * 3600, 1)
    await ran(world, "alike", 0, 40)
    longer, wider = await ran(world, "longer", 0, 40), await ran(world, "wider", 50, 90, cpus=2)
    missing = await ran(world, "missing", 100, 140)
    going = await job_with_hold(world)
    going.use(ids.new("run"), 300, 340, identity="going")
    tell(world, booked("half told before", 0, 10), last=False)
    tell(world, booked("alike", 0, 40), booked("longer", 0, 41), booked("going", 300, None), last=False)
    tell(world, booked("wider", 50, 90), booked("unknown", 10, 30, cpus=3), page=1)
    await world.deliver()
    await nights.pass_(NIGHT)
    one = (await nights.all())[0]
    assert [(found["check"], found["subject"], found["detail"]) for found in one["findings"]] == [
        ("site", *expected)
        for expected in sorted(
            [
                (
                    longer,
                    f"{world.site}, other seconds: 41 s, 1 cores, 1 nodes by the site's books, 40 s, 1 cores, 1 nodes stated",
                ),
                (
                    wider,
                    f"{world.site}, other cores: 40 s, 1 cores, 1 nodes by the site's books, 40 s, 2 cores, 1 nodes stated",
                ),
                (
                    missing,
                    f"{world.site}, not in the site's books: nothing by the site's books, 40 s, 1 cores, 1 nodes stated",
                ),
            ]
        )
    ] + [("site", "unknown", f"{world.site}, not stated: 20 s, 3 cores, 1 nodes by the site's books, nothing stated")]
    assert one["sites"] == [
        {"site": world.site, "start": "2026-03-09T16:00:00Z", "end": "2026-03-10T16:00:00Z"}
        | {"compared": 6, "differing": 4, "open": 1, "newer": 0, "not_kept": 0}
    ]
    assert (await nights.last())[:2] == ("all", 5)
    await nights.pass_(NIGHT + DAY)
    assert await nights.last() == ("changed", 5, [])
    assert (await nights.all())[0]["sites"] == []


async def test_books_that_are_here_in_part_wait_and_those_that_forget_miss_nothing(
    world: World, nights: Nights
) -> None:
    world.progress(20 * 3600, 1)
    await ran(world, "forgotten", 0, 40)
    await ran(world, "kept", 0, 40)
    tell(world, booked("kept", 0, 40), last=False, keeps_all=False)
    await world.deliver()
    await nights.pass_(NIGHT)
    assert (await nights.all())[0]["sites"] == []
    tell(world, page=1, keeps_all=False)
    await world.deliver()
    await nights.pass_(NIGHT + DAY)
    one = (await nights.all())[0]
    assert [(said["compared"], said["differing"], said["not_kept"]) for said in one["sites"]] == [(1, 0, 1)]
    assert one["found"] == 0


async def test_a_day_of_which_a_site_tells_no_books_any_more_is_found_every_night(world: World, nights: Nights) -> None:
    async def found(day: int) -> list[Json]:
        await nights.pass_(NIGHT + day * DAY)
        return list((await nights.all())[0]["findings"])

    async def stated_through(second: timedelta, version: int) -> None:
        world.progress(int((FIRST + second - at(0)).total_seconds()), version)
        await world.deliver()

    await stated_through(9 * DAY, 1)
    assert await found(0) == [], "it never told any"
    tell(world)
    await world.deliver()
    await stated_through(2 * DAY + timedelta(minutes=59), 2)
    assert await found(1) == [], "they may be on their way"
    await used(world)
    await stated_through(2 * DAY + timedelta(hours=1), 3)
    (one,) = await found(2)
    assert (await nights.last())[:2] == ("changed", 1)
    assert (one["check"], one["subject"]) == ("site", world.site)
    assert one["detail"].startswith(f"{world.site}, no books of 2026-03-11 or later, ")
    assert [one] == await found(3)
    assert (await nights.last())[:2] == ("changed", 0), (
        "no more is looked at than what has changed since the night before"
    )
    tell(world, day=1)
    await world.deliver()
    assert await found(4) == []


async def test_a_run_of_another_site_on_the_same_cluster_is_not_missed(world: World, nights: Nights) -> None:
    await ran(world, "cluster:7:1", 0, 40)
    await world.deliver()
    world.site = ids.new("sit")
    world.progress(20 * 3600, 1)
    tell(world, booked("cluster:7:1", 0, 99))
    await world.deliver()
    await nights.pass_(NIGHT)
    assert [(said["compared"], said["differing"]) for said in (await nights.all())[0]["sites"]] == [(0, 0)]
