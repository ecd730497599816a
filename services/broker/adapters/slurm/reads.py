"""What slurmctld and slurmdbd have of a job, read a few at once."""

import asyncio
from typing import Final

from caravan.kernel.logs import get_logger
from services.broker.adapters.port import Unavailable
from services.broker.adapters.slurm.errors import GONE
from services.broker.adapters.slurm.records import Record, from_books, from_controller
from services.broker.adapters.slurm.rest import Rest, readable

log = get_logger(__name__)
AT_ONCE: Final = 2
"""Of slurmctld, and of slurmdbd: what waits for the one doesn't wait for the other, which may be frozen."""


class Reads:
    """Of one site's slurmrestd."""

    def __init__(self, rest: Rest, cluster: str) -> None:
        self._rest = rest
        self._cluster = cluster
        self._slots, self._books_slots = asyncio.Semaphore(AT_ONCE), asyncio.Semaphore(AT_ONCE)

    async def job(self, task: str) -> list[Record]:
        """What slurmctld has of a job, or of an array's task (`12_3`): nothing, when it has forgotten it. Raises Unavailable."""
        async with self._slots:
            answer = await self._rest.read(f"job/{task}")
        if answer.says(GONE):
            return []
        if answer.faults:
            raise answer.unavailable()
        with readable():
            return [from_controller(job) for job in answer.content["jobs"]]

    async def books(self, job: int) -> list[Record] | None:
        """What slurmdbd has of it. None: it is away, or late."""
        try:
            async with self._books_slots:
                answer = await self._rest.read(f"job/{job}", books=True)
            with readable():
                jobs = [from_books(job) for job in answer.content.get("jobs") or []]
            if answer.faults and not answer.says(GONE) and not jobs:
                raise answer.unavailable()
        except Unavailable as error:
            log.warning("slurm_books_unavailable", site=self._cluster, reason=str(error))
            return None
        return jobs
