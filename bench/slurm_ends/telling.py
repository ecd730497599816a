"""What the public API tells of the jobs once all is over."""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime

from bench.slurm_ends.compare import NOTHING, Bill, Seconds, Task, Told
from caravan.client import AccountingClient, BrokerClient, each
from caravan.contracts.jobs import ArrayTask
from caravan.contracts.problems import NoLogYet
from caravan.contracts.statements import Line
from caravan.contracts.usage import Span
from caravan.kernel.money import Money


class Telling:
    """The enterprise's `broker`, finance's `accounting`; `ids`: the jobs by name."""

    def __init__(
        self, broker: BrokerClient, accounting: AccountingClient, organization: str, ids: Mapping[str, str]
    ) -> None:
        self._broker, self._accounting, self._organization, self._ids = broker, accounting, organization, ids

    async def all_charged(self) -> bool:
        """Whether all jobs have settled and nothing is held for them any more."""
        settled = [(await self._broker.get_job(job)).settled_at for job in self._ids.values()]
        return all(settled) and (await self._accounting.get_funds(self._organization)).held == Money(0)

    async def told(self, waited: Mapping[str, str]) -> dict[str, Told]:
        """By the job's name. `waited`: what those said that had to wait."""
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
                waited=waited.get(name),
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
