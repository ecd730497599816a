"""The loop that charges: what can't be charged waits alone, and is told and tried again."""

import asyncio
import os
from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from select import select as readable

import pytest
from sqlalchemy import Connection, event, select, text
from sqlalchemy import Engine as SqlEngine
from sqlalchemy.orm import Session
from structlog.testing import capture_logs

from caravan.contracts import events
from caravan.contracts.usage import SiteProgress
from caravan.kernel import clock, ids, leases, steps
from caravan.kernel.metrics import Metrics
from services.accounting.charging import due
from services.accounting.charging.charger import LEASE, LEASE_TTL, Charger, FailedCharges
from services.accounting.charging.models import ChargeFailed
from services.accounting.periods import service as periods
from services.accounting.periods.models import SiteProgressRow
from services.accounting.usage import records
from tests.accounting.world import Job, World, at
from tests.support import until


async def used(world: World, count: int) -> list[Job]:
    """Jobs of which 10 seconds are stored and not charged yet."""
    await world.deposit("1000.00")
    jobs = [world.job() for _ in range(count)]
    for job in jobs:
        await job.hold("50.00")
        job.place()
        job.use(ids.new("run"), 0, 10)
    await world.follow()
    return jobs


async def charged(jobs: Sequence[Job]) -> list[str]:
    return [(await job.read())["captured"] for job in jobs]


def spans(tx: Session, job: str, now: str) -> str:
    """Make `now` what is stored of the job's usage, and give what it was."""
    was = tx.execute(text("SELECT spans FROM usage_records WHERE job = :job"), {"job": job}).scalar_one()
    tx.execute(text("UPDATE usage_records SET spans = :now WHERE job = :job"), {"job": job, "now": now})
    return str(was)


def failed(tx: Session) -> list[str]:
    return list(tx.scalars(select(ChargeFailed.job)))


async def test_a_job_that_cannot_be_charged_waits_alone_is_told_and_tried_again(world: World) -> None:
    jobs = await used(world, 3)
    broken, metrics, now = jobs[1], Metrics(), at(0)
    gauge = FailedCharges(world.db, metrics)

    async def shown() -> float | None:
        await gauge.iteration()
        return metrics.registry.get_sample_value("caravan_charges_failed")

    def moment() -> datetime:
        return now

    charger = Charger(world.db, "charger", moment)
    stored = await world.db.write(spans, broken.id, '[{"nodes": 1}]')
    with capture_logs() as logs:
        while await charger.charge():
            pass
    assert await charged(jobs) == ["0.10", "0.00", "0.10"]
    assert await world.db.read(failed) == [broken.id]
    assert [(one["event"], one["job"]) for one in logs if one["log_level"] == "error"] == [("charge_failed", broken.id)]
    assert await shown() == 1

    await world.db.write(spans, broken.id, stored)
    assert not await charger.charge()  # it was tried less than a minute ago
    now += timedelta(minutes=1)
    assert await charger.charge()
    assert await charged(jobs) == ["0.10", "0.10", "0.10"]
    assert await shown() == 0
    await world.consistent()


async def test_of_two_jobs_the_one_that_cannot_be_charged_is_told_whichever_comes_first(world: World) -> None:
    for broken in (0, 1):
        jobs = sorted(await used(world, 2), key=lambda job: job.id)
        await world.db.write(spans, jobs[broken].id, '[{"nodes": 1}]')
        with capture_logs():
            assert await Charger(world.db, "charger", lambda: at(0)).charge()
        assert await charged(jobs) == [("0.00" if place == broken else "0.10") for place in (0, 1)]
        assert jobs[broken].id in await world.db.read(failed)
        await world.db.write(due.done, await world.db.read(due.of_job, jobs[broken].id))


async def test_the_lease_is_asked_for_when_something_is_due_and_again_when_half_of_it_is_over(world: World) -> None:
    (job,) = await used(world, 1)
    ticks = iter([0.0, 4.9, 5.0])
    charger = Charger(world.db, "charger", clock.now, lambda: next(ticks))

    async def until() -> datetime | None:
        lease = await world.db.read(leases.peek, LEASE)
        return lease.expires_at if lease else None

    async def charge() -> datetime | None:
        await world.db.write(due.mark, [due.a_look_at(job.id)])
        assert await charger.charge()
        return await until()

    first = await charge()
    assert first is not None
    assert not await charger.charge(), "nothing is due"
    assert await charge() == first
    renewed = await charge()
    assert renewed is not None and renewed > first


async def test_nobody_leads_who_has_nothing_to_charge(world: World) -> None:
    assert not await Charger(world.db, "charger", clock.now).charge()
    assert await world.db.read(leases.peek, LEASE) is None


async def test_an_iteration_charges_what_is_due_or_waits_and_is_followed_by_the_next_at_once(world: World) -> None:
    jobs = await used(world, 1)
    charger = Charger(world.db, "charger", clock.now)
    async with asyncio.timeout(30):
        assert await charger.iteration() == 0
    assert await charged(jobs) == ["0.10"]
    world.db.close_waits()
    assert await charger.iteration() == 0


@pytest.mark.parametrize("database_engine", ["sqlite"])
async def test_a_step_is_reached_for_each_record_before_it_is_charged(
    world: World, tmp_path: Path, database_engine: str
) -> None:
    """PostgreSQL's units run in the loop, which would be held, too."""
    jobs = await used(world, 3)
    pipes = out, into = str(tmp_path / "out"), str(tmp_path / "into")
    for pipe in pipes:
        os.mkfifo(pipe)
    reader = os.open(out, os.O_RDONLY | os.O_NONBLOCK)

    async def reached() -> bool:
        return bool(readable([reader], [], [], 0)[0]) and os.read(reader, 99) == b"reached\n"

    steps.arm(development=True, environment={"CARAVAN_HOLD_STEP": "charge:3", "CARAVAN_HOLD_PIPES": f"{out},{into}"})
    try:
        charging = asyncio.create_task(world.deliver())
        await until(reached)
        assert await charged(jobs) == ["0.00"] * 3
        await asyncio.to_thread(Path(into).write_text, "g")
        await charging
    finally:
        steps.arm(development=True, environment={})
        os.close(reader)
    assert await charged(jobs) == ["0.10"] * 3


async def test_what_a_raised_hold_has_charged_is_not_charged_again(world: World) -> None:
    (job,) = await used(world, 1)
    await job.hold("0.05")
    await world.deliver()
    assert await charged([job]) == ["0.05"]
    job.use(ids.new("run"), 0, 10)
    await world.follow()
    await job.hold("50.00")
    assert await charged([job]) == ["0.20"]
    await world.deliver()
    assert await charged([job]) == ["0.20"]
    await world.consistent()


async def test_one_charges_at_a_time(world: World) -> None:
    jobs = await used(world, 1)
    await world.db.write(leases.acquire, LEASE, "other", LEASE_TTL)
    charger = Charger(world.db, "charger", clock.now)
    assert not await charger.charge()
    assert await charged(jobs) == ["0.00"]
    epoch = (await world.db.read(leases.peek, LEASE)).epoch  # type: ignore[union-attr]
    await world.db.write(leases.release, LEASE, epoch)
    while await charger.charge():
        pass
    assert await charged(jobs) == ["0.10"]


@pytest.mark.parametrize("database_engine", ["postgresql"])
async def test_a_batch_has_nothing_to_do_with_the_leases_of_other_loops(world: World, database_engine: str) -> None:
    """Leases are one small table, which PostgreSQL reads whole: a batch that took its own there would have to run again."""
    await used(world, 1)
    charger = Charger(world.db, "charger", clock.now)
    units: defaultdict[Connection, str] = defaultdict(str)
    batches: list[str] = []

    def note(connection: Connection, cursor: object, statement: str, *_: object) -> None:
        units[connection] += statement

    def over(connection: Connection) -> None:
        unit = units.pop(connection, "")
        batches.extend([unit] if "DELETE FROM charges_due" in unit else [])

    event.listen(SqlEngine, "before_cursor_execute", note)
    event.listen(SqlEngine, "commit", over)
    try:
        assert await charger.charge()
    finally:
        event.remove(SqlEngine, "before_cursor_execute", note)
        event.remove(SqlEngine, "commit", over)
    assert batches
    assert not any("leases" in batch for batch in batches)


async def test_of_what_a_site_tells_at_once_the_latest_is_kept(world: World) -> None:
    def kept(tx: Session) -> tuple[datetime, int]:
        row = tx.execute(select(SiteProgressRow).where(SiteProgressRow.site == world.site)).scalar_one()
        return row.complete_through, row.version

    def told(second: int, version: int) -> SiteProgress:
        return SiteProgress(site=world.site, provider=world.provider, complete_through=at(second), version=version)

    await world.db.write(periods.keep_progress, [told(50, 2), told(70, 3), told(60, 1)], at(0))
    assert await world.db.read(kept) == (at(70), 3)
    await world.db.write(periods.keep_progress, [told(90, 2)], at(0))
    assert await world.db.read(kept) == (at(70), 3)


async def test_progress_does_not_part_what_is_stored_together(world: World) -> None:
    handlers = world.facts.handlers()
    assert handlers[events.SITE_PROGRESS] is handlers[events.USAGE_STATED]


async def test_a_price_list_for_all_is_one_for_all_organizations(world: World) -> None:
    (mine,) = await used(world, 1)
    organization, project = ids.new("org"), ids.new("prj")
    world.know_organization(organization, project)
    other = world.job(organization, project)
    other.place()
    await world.follow()
    terms = await world.db.read(records.terms, {mine.attempt, other.attempt})
    assert terms[mine.attempt].organization != terms[other.attempt].organization
    assert terms[mine.attempt].price_list is terms[other.attempt].price_list
