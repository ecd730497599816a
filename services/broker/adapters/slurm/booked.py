"""What slurmdbd has of the site's runs in a stretch of time. It is asked for an hour at a time: it tells of all jobs of the cluster."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from caravan.contracts.books import BookedRun
from caravan.contracts.slurm import is_of_site, run_identity
from caravan.kernel import clock
from services.broker.adapters.slurm.errors import NOTHING_FOUND
from services.broker.adapters.slurm.records import Record, from_books
from services.broker.adapters.slurm.rest import Rest, readable
from services.broker.adapters.slurm.runs import is_run
from services.broker.adapters.slurm.states import Stage, meaning
from services.broker.adapters.slurm.tres import Accelerators

STRETCH_SECONDS: Final = 3600


@dataclass
class _Reading:
    """How far [since, until) has been read, and what of it."""

    since: int
    until: int
    through: int
    found: dict[str, BookedRun] = field(default_factory=dict)


class Booked:
    """By one site's slurmrestd."""

    def __init__(self, site: str, rest: Rest, cluster: str, accelerators: Accelerators) -> None:
        self._site = site
        self._rest = rest
        self._cluster = cluster
        self._accelerators = accelerators
        self._reading: _Reading | None = None

    async def between(self, start: datetime, end: datetime) -> tuple[BookedRun, ...]:
        """Each run once, as slurmdbd last told of it. Raises Unavailable: asked for the same again, it goes on where it failed.

        Of a stretch that is over nothing is lost by that: what went on when its first hours were read is told of in its last one.
        """
        since, until = clock.to_seconds(start), clock.to_seconds(end)
        reading = self._reading
        if reading is None or (reading.since, reading.until) != (since, until):
            reading = self._reading = _Reading(since, until, since)
        while reading.through < until:
            last = min(reading.through + STRETCH_SECONDS, until)
            reading.found |= await self._stretch(reading.through, last)
            reading.through = last
        self._reading = None
        return tuple(reading.found.values())

    async def _stretch(self, start: int, end: int) -> Mapping[str, BookedRun]:
        # uts: the one form of a time that all versions read, whatever their zone
        answer = await self._rest.read(f"jobs?start_time=uts{start}&end_time=uts{end}&skip_steps=true", books=True)
        with readable():
            jobs = answer.content.get("jobs") or []
            if answer.faults and not jobs and not answer.says(NOTHING_FOUND):
                raise answer.unavailable()
            return dict(self._runs([from_books(job) for job in jobs], start, end))

    def _runs(self, records: list[Record], start: int, end: int) -> Iterator[tuple[str, BookedRun]]:
        for record in records:
            if not (is_of_site(self._site, record.name, record.comment) and is_run(record)):
                continue
            # 24.11 gives what runs an end, the time at which it was asked
            ended = record.ended if meaning(record.state)[0] is Stage.ENDED else None
            if record.started < end and (ended is None or max(record.started, start) < ended):
                identity = run_identity(self._cluster, record.job, record.submitted)
                yield identity, self._run(record, identity, ended)

    def _run(self, record: Record, identity: str, ended: int | None) -> BookedRun:
        elapsed = record.elapsed
        # a clock that was set back meanwhile leaves an end too early for what elapsed
        suspended = 0 if ended is None or elapsed is None else max(0, ended - record.started - elapsed)
        return BookedRun(
            identity=identity,
            start=clock.from_seconds(record.started),
            end=None if ended is None else clock.from_seconds(ended),
            suspended_seconds=suspended,
            nodes=record.tres.get("node", 1),
            cpus=record.tres.get("cpu", 0),
            memory_mib=record.tres.get("mem", 0),
            accelerators=self._accelerators.held(record.tres, record.partition)[1],
        )
