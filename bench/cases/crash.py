"""kill -9 of the platform in the middle of everything: each job still runs once, ends as it should and is charged once."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from bench.case import Trial, Verdict, case
from bench.deaths import AT_A_STEP_SECONDS, CLOSING, DYING, one_death, plan
from bench.platform import Market, Platform, open_market, until
from bench.steps import Hold
from bench.submitter import Submitter, all_settled
from caravan.client import AccountingClient, BrokerClient, each
from caravan.contracts.jobs import ArrayTask, Job, JobState
from caravan.contracts.spec import JobSpec, Resources
from caravan.contracts.statements import PeriodCut, PeriodState
from caravan.kernel import clock

SETTLE_SECONDS = 180


@case(
    "kill-nine",
    claim="kill -9 of caravan serve during 200 short jobs, 20 times, at least once in each step: "
    "each ran once, reached its true end, is charged once; no hold is left",
    goal="200 jobs: 200 lines, 200 true ends, charges equal the seconds, held 0.00",
)
def kill_nine(trial: Trial) -> Verdict:
    return asyncio.run(_kill_nine(trial, jobs=200, kills=20) if trial.long else _kill_nine(trial, jobs=12, kills=3))


async def _kill_nine(trial: Trial, *, jobs: int, kills: int) -> Verdict:
    lines = trial.folder / "lines"
    lines.touch()
    lines.chmod(0o666)
    trial.folder.chmod(0o755)
    async with Platform(trial.folder).start() as platform:
        market = await open_market(platform, cpus=32)
        submitting = Submitter(platform, market, lambda number: job_spec(market, lines, number))
        died = Counter[str]()
        rounds = plan(trial, kills)
        for number, step in enumerate(rounds):
            first, last = number * jobs // kills, (number + 1) * jobs // kills
            if number == 0:
                platform.stop()
            await one_death(trial, platform, submitting.submit, range(first, last), step)
            died[step] += 1
            trial.say(f"death {number + 1} of {kills}: {step}")
        platform.restart()
        await submitting.all_answered()
        found = await all_settled(platform, market, SETTLE_SECONDS)
        trial.say(f"{len(found)} jobs settled")
        died[CLOSING] += await close_through_death(trial, platform)
        return await judge(platform, market, found, lines, jobs, died)


def job_spec(market: Market, lines: Path, number: int) -> JobSpec:
    script = f"echo {number} >> {lines}\nsleep 0.{3 + number % 7}\nexit {exit_code(number)}\n"
    return JobSpec(name=str(number), project=market.project, script=script, resources=Resources(walltime_seconds=60))


def exit_code(number: int) -> int:
    return 3 if number % 5 == 0 else 0


async def close_through_death(trial: Trial, platform: Platform) -> int:
    """Cut the period now and close it; die in the middle of closing; see it closed after the restart. Returns the deaths."""
    platform.stop()
    with Hold(trial.folder, CLOSING) as hold:
        platform.restart(**hold.environment)
        finance = await platform.accounting("platform:finance")
        (period,) = [p async for p in each(finance.list_periods) if p.state is PeriodState.OPEN]
        cut = clock.from_seconds(clock.to_seconds(clock.now()) + 2)
        await finance.cut_period(period.id, PeriodCut(at=cut))
        await asyncio.sleep(2.5)
        closing = asyncio.create_task(finance.close_period(period.id))
        await hold.reached(AT_A_STEP_SECONDS)
        platform.kill()
        await asyncio.gather(closing, return_exceptions=True)
    platform.restart()

    async def closed() -> bool:
        now = await finance.get_period(period.id)
        if now.state is PeriodState.OPEN:
            await finance.close_period(period.id)
        return now.state is PeriodState.CLOSED

    await until(closed, "the period to be closed")
    return 1


async def judge(
    platform: Platform, market: Market, found: Sequence[Job], lines: Path, jobs: int, died: Counter[str]
) -> Verdict:
    broker = await platform.broker(f"org/{market.organization}:member")
    money = await platform.accounting(f"org/{market.organization}:member", "platform:finance")
    ran = Counter((await asyncio.to_thread(lines.read_text)).split())
    once = sum(ran[job.name] == 1 for job in found)
    true_ends = sum(job.state is (JobState.FAILED if exit_code(int(job.name)) else JobState.SUCCEEDED) for job in found)
    charged = [await charged_rightly(broker, money, job) for job in found]

    async def nothing_held() -> bool:
        return (await money.get_funds(market.organization)).held.fen == 0

    await until(nothing_held, "all holds to be settled")
    books = await money.get_trial_balance()
    statements = [s async for s in each(money.list_statements)]
    faults = {
        "jobs": len(found) - jobs,
        "not run once": jobs - once,
        "another end": jobs - true_ends,
        "charged otherwise": charged.count(False),
        "books": books.sum.fen,
        "steps not died in": len(set(DYING) - set(died)) if len(found) >= 200 else 0,
        "statements": 2 - len(statements),
    }
    return Verdict(
        not any(faults.values()),
        f"{len(found)} jobs after {sum(died.values())} deaths: {once} ran once, {true_ends} true ends, "
        f"{charged.count(True)} charged for their seconds, held 0.00",
        {"faults": faults, "deaths": dict(died)},
    )


async def charged_rightly(broker: BrokerClient, money: AccountingClient, job: Job) -> bool:
    """At 36.00 a core-hour one core costs one fen a second: the charge is the run's seconds."""
    tasks: list[ArrayTask] = [task async for task in each(broker.list_job_tasks, job.id)]
    seconds = sum(
        (task.ended_at - task.started_at).total_seconds() for task in tasks if task.ended_at and task.started_at
    )
    return (await money.explain_job(job.id)).charged.fen == seconds
