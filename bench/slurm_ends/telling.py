"""What the public API tells of the jobs, while some of them wait, and once all is over."""

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Final

from bench.platform import until
from bench.slurm_ends.compare import NOTHING, Bill, Seconds, Task, Told
from caravan.client import AccountingClient, BrokerClient, each
from caravan.contracts.jobs import ArrayTask, JobState
from caravan.contracts.problems import NoLogYet
from caravan.contracts.statements import Line
from caravan.contracts.usage import Span
from caravan.kernel.money import Money

SPEAKS_SECONDS: Final = 30
"""Within it, a job that waits says why."""
RUNS_SECONDS: Final = 300


class Telling:
    """The enterprise's `broker`, finance's `accounting`; `ids`: the jobs by name, also those that are sent only later."""

    def __init__(
        self, broker: BrokerClient, accounting: AccountingClient, organization: str, ids: Mapping[str, str]
    ) -> None:
        self._broker, self._accounting, self._organization, self._ids = broker, accounting, organization, ids
        self.waited: dict[str, str] = {}
        """What those said that were listened to."""

    async def runs(self, name: str) -> str:
        """The identity of its run, once the API says that it runs."""

        async def look() -> str | None:
            (task,) = (await self._broker.list_job_tasks(self._ids[name])).items
            return task.backend_identity if task.state is JobState.RUNNING else None

        return await until(look, f"{name} runs", RUNS_SECONDS)

    async def listen(self, name: str, words: str) -> None:
        """Keep what the API says of a job that waits, as soon as that has the words, or after a while."""

        async def told() -> bool:
            self.waited[name] = await self._says(name)
            return words in self.waited[name]

        with suppress(TimeoutError):
            await until(told, f"{name} says why it waits", SPEAKS_SECONDS)

    async def _says(self, name: str) -> str:
        """The words that stand at the job now; those of events are of the past."""
        job = await self._broker.get_job(self._ids[name])
        attempts = (await self._broker.list_job_attempts(job.id)).items
        tasks = (await self._broker.list_job_tasks(job.id)).items
        said = [job.reason, job.detail, *(one.detail for one in attempts), *(one.detail for one in tasks)]
        return " ".join(filter(None, said))

    async def all_charged(self) -> bool:
        """Whether all jobs have settled and nothing is held for them any more."""
        settled = [(await self._broker.get_job(job)).settled_at for job in self._ids.values()]
        return all(settled) and (await self._accounting.get_funds(self._organization)).held == Money(0)

    async def told(self) -> dict[str, Told]:
        """By the job's name."""
        broker, accounting = self._broker, self._accounting
        usage: dict[str, dict[str, Seconds]] = {}
        for period in [one async for one in each(accounting.list_periods)]:
            for exported in (await accounting.export_usage(period.id)).usage:
                record = exported.record
                runs, run = usage.setdefault(record.job, {}), record.backend_identity or record.run
                runs[run] = sum(map(_held, record.spans), runs.get(run, NOTHING))
        told = {}
        for name, job in self._ids.items():
            lines = [one async for one in each(accounting.list_lines, job=job)]
            told[name] = Told(
                name=name,
                state=(await broker.get_job(job)).state.value,
                tasks=[
                    await _task(broker, job, task) for task in [one async for one in each(broker.list_job_tasks, job)]
                ],
                usage=usage.get(job, {}),
                billed={bearer: _bill(lines, bearer) for bearer in {line.bearer.value for line in lines}},
                models=frozenset(line.accelerator for line in lines if line.accelerator),
                waited=self.waited.get(name),
            )
        return told


async def _task(broker: BrokerClient, job: str, task: ArrayTask) -> Task:
    return Task(
        index=task.index,
        state=task.state.value,
        identity=task.backend_identity,
        outcome=task.outcome and task.outcome.value,
        exit_code=task.exit_code,
        signal=task.signal,
        log=await _log(broker, job, task.index),
        started=_epoch(task.started_at),
        ended=_epoch(task.ended_at),
    )


async def _log(broker: BrokerClient, job: str, index: int) -> str | None:
    """A task's standard output, by all its pieces; None when it has none."""
    text, at = "", 0
    while True:
        try:
            piece = await broker.read_job_log(job, index=index, stream="stdout", offset=at)
        except NoLogYet:
            return None
        text, at = text + piece.text, piece.next_offset
        if at >= piece.size:
            return text


def _epoch(at: datetime | None) -> int | None:
    return None if at is None else int(at.timestamp())


def _held(span: Span) -> Seconds:
    seconds = int((span.end - span.start).total_seconds())
    return Seconds(seconds * span.cpus, seconds * span.nodes, seconds * span.accelerators)


def _bill(lines: Sequence[Line], bearer: str) -> Bill:
    quantity, fen = Counter[str](), Counter[str]()
    for line in lines:
        if line.bearer.value == bearer:
            quantity[line.component.value] += line.quantity
            fen[line.component.value] += line.amount.fen
    return {component: (quantity[component], fen[component]) for component in quantity}
