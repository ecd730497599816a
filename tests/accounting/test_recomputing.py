"""Lines beside the usage that they are made of: any one that is altered is named, with its job."""

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import delete, insert, select, update

from caravan.contracts.jobs import Outcome
from caravan.kernel import ids
from services.accounting.charging import recomputing
from services.accounting.charging.models import ChargeDue, LineRow
from services.accounting.funds.models import HoldRow
from services.accounting.ledger.verify import verify_ledger
from services.accounting.usage.models import RunRow, UsageRow
from tests.accounting.test_charging import close, job_with_hold
from tests.accounting.world import Job, World, span


async def found(world: World) -> list[tuple[str, str]]:
    return [(one.subject, one.detail) for one in (await verify_ledger(world.db)).findings if one.check == "usage"]


async def change(world: World, statement: Any) -> None:
    await world.db.write(lambda tx: tx.execute(statement))


async def charged(world: World, hold: str = "50.00") -> tuple[Job, str]:
    """Forty seconds of two cores, as far as the hold has them."""
    job, run = await job_with_hold(world, hold), ids.new("run")
    job.use(run, 0, 40, cpus=2)
    await world.deliver()
    await world.consistent()
    return job, run


@pytest.mark.parametrize("hold", ["50.00", "0.50"])
async def test_a_line_that_was_altered_is_named_with_what_its_usage_comes_to(world: World, hold: str) -> None:
    job, _ = await charged(world, hold)
    core = (LineRow.component == "cpu_core_hour") & (LineRow.bearer == "organization")
    row = await world.db.read(lambda tx: tx.execute(select(LineRow.id, LineRow.quantity).where(core)).one())
    await change(world, update(LineRow).where(LineRow.id == row.id).values(quantity=row.quantity + 1))
    ((who, words),) = await found(world)
    assert who == job.id
    assert words.startswith(f"{row.id} of cpu_core_hour day all organization: {row.quantity + 1} (0.")
    assert f"its usage comes to {row.quantity} (0." in words


LINES_GONE: dict[str, Callable[[str, str], Any]] = {
    "an hour that was stated differently": lambda job, run: (
        update(UsageRow).where(UsageRow.run == run).values(spans=(span(0, 41, 2),))
    ),
    "an hour that is gone": lambda job, run: delete(UsageRow).where(UsageRow.run == run),
    "lines that are gone": lambda job, run: delete(LineRow).where(LineRow.job == job),
    "an outcome that nobody charged by": lambda job, run: (
        update(RunRow).where(RunRow.id == run).values(outcome=Outcome.LOST.value)
    ),
    "a hold that would not have covered it": lambda job, run: (
        update(HoldRow).where(HoldRow.job == job).values(amount=80 - 1, captured=0)
    ),
}


@pytest.mark.parametrize("what", LINES_GONE)
async def test_facts_that_were_altered_behind_charging_are_seen(world: World, what: str) -> None:
    job, run = await charged(world)
    await charged(world)
    await change(world, LINES_GONE[what](job.id, run))
    assert {who for who, _ in await found(world)} == {job.id}


async def test_a_line_that_is_missing_is_told_as_none_of_nothing(world: World) -> None:
    job, run = await job_with_hold(world), ids.new("run")
    job.use(run, 0, 1)
    await world.deliver()
    await change(world, delete(LineRow).where(LineRow.job == job.id))
    words = {one.partition(":")[0]: one for _, one in await found(world)}
    core = "no line of cpu_core_hour day all organization"
    assert words[core] == f"{core}: 0 (0.00), and its usage comes to 1 (0.01)"
    assert len(words) == 3


async def test_lines_and_what_corrects_them_are_held_against_the_usage_together(world: World) -> None:
    job, run = await charged(world)
    await close(world, 0)
    job.use(run, 0, 70, cpus=2, revision=2)
    await world.deliver()
    await world.consistent()
    assert await found(world) == []
    await change(world, delete(LineRow).where(LineRow.job == job.id, LineRow.corrects != ""))
    assert {who for who, _ in await found(world)} == {job.id}


async def test_what_waits_to_be_charged_is_no_difference(world: World) -> None:
    job, run = await charged(world)
    await change(world, delete(LineRow).where(LineRow.job == job.id))
    await change(world, insert(ChargeDue).values(job=job.id, run=run, hour=0, before=None))
    assert await found(world) == []


async def test_all_jobs_are_looked_at_in_batches(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = [(await charged(world))[0].id for _ in range(5)]
    monkeypatch.setattr(recomputing, "BATCH", 2)
    for table in (LineRow, UsageRow):
        await change(world, delete(table).where(table.job.in_(jobs[1:4:2])))
    assert {who for who, _ in await found(world)} <= set(jobs)
    await change(world, delete(LineRow).where(LineRow.job == jobs[4]))
    assert {who for who, _ in await found(world)} == {jobs[4]}
