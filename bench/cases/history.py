"""Cost grows with what changed, not with what exists: the same calls beside a hundred times the history."""

import asyncio
import re
import sqlite3
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from statistics import median
from typing import Any, Final

from bench.case import Trial, Verdict, case
from bench.cases.load import occupy, spec
from bench.platform import Market, Platform, open_market, until
from caravan.client import BrokerClient
from caravan.contracts.dispatch import LeaseRequest, Report
from caravan.contracts.problems import LeaseTaken
from caravan.contracts.spec import JobSpec, Resources
from caravan.kernel import clock
from services.broker.adapters.port import installed

GOAL: Final = 1.5
OWNED: Final = re.compile(r"\b(job|att|run|plc|lin)_([0-9a-f]{32})\b")
TABLES: Final = {
    "broker": ("jobs", "array_tasks", "attempts", "runs", "placements", "job_events"),
    "accounting": (
        "job_names",
        "attempts",
        "runs",
        "usage_records",
        "holds",
        "hold_movements",
        "settlements",
        "lines",
    ),
}
"""What a finished job leaves behind."""


@case(
    "history-cost",
    claim="With 100,000 finished jobs stored, submit, list, get and a quiet reconcile pass cost at most 1.5 times "
    "what they cost with 1,000",
    goal="each ratio at most 1.5",
)
def history_cost(trial: Trial) -> Verdict:
    return asyncio.run(_history_cost(trial))


async def _history_cost(trial: Trial) -> Verdict:
    trial.folder.chmod(0o755)
    few, many, times = (1_000, 100_000, 150) if trial.long else (20, 200, 5)
    sides: dict[int, Side] = {}
    async with Platform(trial.folder / "few") as one, Platform(trial.folder / "many") as other:
        for platform, finished in ((one, few), (other, many)):
            platform.folder.chmod(0o755)
            platform.start()
            market = await open_market(platform, cpus=1, deposit="100000000.00")
            template = await finish_one(platform, market)
            await occupy(platform, market)
            platform.stop()
            await asyncio.to_thread(multiply, platform.data, template, finished)
            platform.start(CARAVAN_EMBEDDED_AGENTS="false", CARAVAN_LOG_LEVEL="warning")
            sides[finished] = await Side.of(platform, market, finished)
            trial.say(f"{finished:,} finished jobs stored")
        took: dict[tuple[str, int], list[float]] = {}
        for turn in range(times):
            order = list(sides) if turn % 2 else list(reversed(sides))
            for name in ("submit", "list", "list deep", "get", "reconcile"):
                for finished in order:
                    began = clock.monotonic()
                    await sides[finished].calls[name](turn)
                    if turn:  # the first one warms caches
                        took.setdefault((name, finished), []).append(clock.monotonic() - began)
    medians = {key: median(values) * 1000 for key, values in took.items()}
    names = dict.fromkeys(name for name, _ in medians)
    ratios = {name: medians[name, many] / medians[name, few] for name in names}
    return Verdict(
        not trial.long or all(ratio <= GOAL for ratio in ratios.values()),
        ", ".join(f"{name} {ratio:.2f}" for name, ratio in ratios.items()),
        {f"{name} with {finished:,}": f"{value:.2f} ms" for (name, finished), value in medians.items()},
    )


class Side:
    """One platform and the calls that are timed on it."""

    def __init__(self, calls: dict[str, Callable[[int], Awaitable[Any]]]) -> None:
        self.calls = calls

    @classmethod
    async def of(cls, platform: Platform, market: Market, finished: int) -> "Side":
        broker = await platform.broker(f"org/{market.organization}:member")
        agent = await platform.broker(f"site/{market.site}:agent", subject="agent")
        descriptor = installed()["local"].descriptor

        async def lease() -> int | None:
            try:
                return (await agent.take_lease(market.site, LeaseRequest(holder="bench", descriptor=descriptor))).epoch
            except LeaseTaken:  # the agent before us still has it
                return None

        epoch = await until(lease, "the site's lease")
        deep = await deep_cursor(broker, finished)

        async def reconcile(_: int) -> None:
            work = await agent.get_work(market.site, epoch, 0, 0)
            assert len(work.items) <= 1, "nothing is open but the one that runs"
            await agent.report(market.site, Report(epoch=epoch, items=()))

        return cls(
            {
                "submit": lambda _: broker.submit_job(spec(market)),
                "list": lambda _: broker.list_jobs(limit=50),
                "list deep": lambda _: broker.list_jobs(limit=50, cursor=deep),
                "get": lambda turn: broker.get_job(f"job_{turn % finished + 1:032x}"),
                "reconcile": reconcile,
            }
        )


async def deep_cursor(broker: BrokerClient, finished: int) -> str | None:
    """A cursor some pages in: the last page costs what the first one does."""
    cursor = None
    for _ in range(min(5, finished // 200)):
        cursor = (await broker.list_jobs(limit=200 if finished > 1000 else 50, cursor=cursor)).next
    if cursor is None:
        return None
    return (await broker.list_jobs(limit=50, cursor=cursor)).next if finished <= 1000 else cursor


async def finish_one(platform: Platform, market: Market) -> str:
    """A job that has run and been charged, to be multiplied."""
    broker = await platform.broker(f"org/{market.organization}:member")
    money = await platform.accounting(f"org/{market.organization}:member")
    job = await broker.submit_job(
        JobSpec(name="past", project=market.project, script="sleep 1.2", resources=Resources(walltime_seconds=30))
    )

    async def charged() -> bool:
        return (await broker.get_job(job.id)).settled_at is not None and bool((await money.explain_job(job.id)).lines)

    await until(charged, "a job to multiply")
    return job.id


def multiply(data: Path, job: str, times: int) -> None:
    """Store `times` copies of the finished job, with ids of their own, as if each had run."""
    for service, tables in TABLES.items():
        with sqlite3.connect(data / f"{service}.db") as connection:
            for table in tables:
                columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
                owner = "job" if "job" in columns else "id"
                rows = connection.execute(f"SELECT * FROM {table} WHERE {owner} = ?", (job,)).fetchall()
                if not rows:
                    raise RuntimeError(f"the job left nothing in {table} of {service}")
                marks = ", ".join("?" * len(columns))
                connection.executemany(f"INSERT INTO {table} VALUES ({marks})", copies(rows, columns, times))


def copies(rows: list[tuple[Any, ...]], columns: list[str], times: int) -> Iterable[tuple[Any, ...]]:
    """Each row `times` times, with the ids that it owns replaced."""
    for number in range(1, times + 1):
        for place, row in enumerate(rows):
            yield tuple(copied(value, column, number, place) for value, column in zip(row, columns, strict=True))


def copied(value: Any, column: str, number: int, place: int) -> Any:
    if not isinstance(value, str):
        return value
    if column == "backend_identity":
        return f"{value}:{number}"

    def fresh(match: re.Match[str]) -> str:
        return f"{match[1]}_{number + (place << 64 if match[1] == 'lin' else 0):032x}"

    return OWNED.sub(fresh, value)
