"""A job goes from catalog to statement over real HTTP, one process for each service, on each engine; the broker is killed on the way."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from bench.platform import SERVICES, Platform, open_market, until
from caravan.client import each
from caravan.contracts.funds import HoldStatus
from caravan.contracts.jobs import JobState
from caravan.contracts.spec import Array, JobSpec, Resources
from caravan.contracts.statements import PeriodCut, PeriodState, StatementParty
from caravan.kernel import clock
from caravan.kernel.money import Money


@pytest.mark.slow
async def test_one_process_a_service_bills_what_ran_through_a_death(
    tmp_path: Path, migrated: Callable[[str], str]
) -> None:
    databases = {service: migrated(service) for service in SERVICES}
    async with Platform(tmp_path, split=True, databases=databases).start() as platform:
        market = await open_market(platform)
        member = f"org/{market.organization}:member"
        broker, money = await platform.broker(member), await platform.accounting(member)
        finance = await platform.accounting("platform:finance")
        spec = JobSpec(
            name="array",
            project=market.project,
            script="sleep 2; exit $CARAVAN_ARRAY_INDEX",
            resources=Resources(walltime_seconds=30),
            array=Array(indices=(0, 3)),
        )
        job = (await broker.submit_job(spec)).id

        async def running() -> bool:
            return (await broker.get_job(job)).state is JobState.RUNNING

        await until(running, "the job to run")
        platform.kill("broker")
        platform.start()

        async def settled() -> bool:
            return (await money.get_hold(job)).status is HoldStatus.SETTLED

        await until(settled, "the job to be charged")
        tasks = (await broker.list_job_tasks(job)).items
        assert [(task.state, task.exit_code) for task in tasks] == [(JobState.SUCCEEDED, 0), (JobState.FAILED, 3)]
        seconds = sum(
            (task.ended_at - task.started_at).total_seconds() for task in tasks if task.ended_at and task.started_at
        )
        charged = (await money.explain_job(job)).charged
        assert charged == Money(int(seconds))  # 36.00 a core-hour is a fen a second
        await _close(platform)
        statements = {s.party: s.gross async for s in each(finance.list_statements)}
        assert statements == {StatementParty.ORGANIZATION: charged, StatementParty.PROVIDER: charged}
        assert not (await finance.get_trial_balance()).sum
        proved = await asyncio.to_thread(_verify, databases["accounting"])
        assert proved.returncode == 0, proved.stdout + proved.stderr


async def _close(platform: Platform) -> None:
    finance = await platform.accounting("platform:finance")
    (period,) = [p for p in (await finance.list_periods()).items if p.state is PeriodState.OPEN]
    await finance.cut_period(period.id, PeriodCut(at=clock.floor_second(clock.now()) + timedelta(seconds=1)))
    await finance.close_period(period.id)

    async def closed() -> bool:
        return (await finance.get_period(period.id)).state is PeriodState.CLOSED

    await until(closed, "the period to close")


def _verify(accounting: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"CARAVAN_MODE": "development", "CARAVAN_ACCOUNTING_DATABASE_URL": accounting}
    command = [sys.executable, "-m", "caravan.cli", "ledger", "verify"]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
