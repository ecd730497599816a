"""Which submissions wait, held, to be released or discarded: what this process did, on top of a listing once a minute at most."""

import asyncio
from typing import Final

from caravan.kernel import clock
from services.broker.adapters.port import Staged
from services.broker.adapters.slurm.dialect import words
from services.broker.adapters.slurm.errors import GONE
from services.broker.adapters.slurm.known import HELD
from services.broker.adapters.slurm.records import Record, from_controller
from services.broker.adapters.slurm.reference import Reference
from services.broker.adapters.slurm.rest import Rest, readable
from services.broker.adapters.slurm.states import Stage, meaning
from services.broker.adapters.slurm.submit import mark

LISTING_SECONDS: Final = 60.0
AT_ONCE: Final = 8


class StagedList:
    """Of one site: jobs of others, and of other platforms and sites on the same cluster, aren't in it."""

    def __init__(self, rest: Rest, site: str) -> None:
        self._rest = rest
        self._mark = mark(site)
        self._held: dict[int, Staged] = {}
        self._others: set[int] = set()
        """Jobs that wait, and were seen not to be of this list."""
        self._listed_at = float("-inf")
        self._lock = asyncio.Lock()

    def add(self, reference: Reference, second: int) -> None:
        self._held[reference.job] = Staged(reference.tag, str(reference), clock.from_seconds(second))

    def remove(self, reference: Reference) -> None:
        """It was released, cancelled or discarded."""
        if self._held.pop(reference.job, None) is not None:
            self._others.add(reference.job)

    def has(self, reference: Reference) -> bool:
        """It is known here that slurmctld has it under this id."""
        held = self._held.get(reference.job)
        return held is not None and held.reference == str(reference)

    async def all(self) -> list[Staged]:
        """Raises Unavailable."""
        async with self._lock:
            if clock.monotonic() - self._listed_at >= LISTING_SECONDS:
                at = clock.monotonic()
                await self._list()
                self._listed_at = at
        return list(self._held.values())

    async def _list(self) -> None:
        """Where states are listed, only what waits and isn't known yet is read; 22.05 gives all of everything."""
        before = dict(self._held)
        if (await self._rest.dialect()).lists_states:
            waiting = await self._waiting()
            self._others &= waiting.keys()
            records = await self._read([task for job, task in waiting.items() if job not in self._others])
        else:
            records = await self._jobs("jobs")
        found = {record.array or record.job: self._staged(record) for record in records if self._ours(record)}
        self._others |= {record.array or record.job for record in records} - found.keys()
        # what was staged or let go here meanwhile is known better
        added = {job: staged for job, staged in self._held.items() if job not in before}
        gone = before.keys() - self._held.keys()
        self._held = {job: staged for job, staged in found.items() if job not in gone} | added

    def _ours(self, record: Record) -> bool:
        return (
            meaning(record.state)[0] is Stage.WAITING
            and record.reason == HELD
            and not record.restarts
            and record.comment.startswith(self._mark)
            and record.comment.removeprefix(self._mark).split(" ")[0].isdigit()
        )

    def _staged(self, record: Record) -> Staged:
        tasks = int(record.comment.removeprefix(self._mark).split(" ")[0])
        reference = Reference(record.array or record.job, tasks, record.name, record.user)
        return Staged(record.name, str(reference), clock.from_seconds(record.submitted))

    async def _waiting(self) -> dict[int, str]:
        """Jobs that wait: the id that each was submitted under, and one of its tasks."""
        answer = await self._rest.read("jobs/state/")
        if answer.faults:
            raise answer.unavailable()
        waiting: dict[int, str] = {}
        with readable():
            for one in answer.content["jobs"]:
                if meaning(words(one["state"]))[0] is Stage.WAITING:
                    task = str(one["job_id"])
                    waiting.setdefault(int(task.partition("_")[0]), task)
        return waiting

    async def _read(self, tasks: list[str]) -> list[Record]:
        slots = asyncio.Semaphore(AT_ONCE)

        async def one(task: str) -> list[Record]:
            async with slots:
                return await self._jobs(f"job/{task}")

        return [record for records in await asyncio.gather(*map(one, tasks)) for record in records]

    async def _jobs(self, path: str) -> list[Record]:
        answer = await self._rest.read(path)
        if answer.says(GONE):
            return []
        if answer.faults:
            raise answer.unavailable()
        with readable():
            return [from_controller(job) for job in answer.content["jobs"]]
