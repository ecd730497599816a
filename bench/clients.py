"""Jobs sent to the platform by several clients at once: in batches, or each by itself."""

import asyncio
from typing import Final

from caravan.client import BrokerClient
from caravan.contracts.spec import JobBatch, JobSpec

CLIENTS: Final = 16
PART: Final = 100
"""Jobs of one batch."""


async def in_batches(broker: BrokerClient, spec: JobSpec, count: int) -> list[str]:
    """`count` jobs like `spec`; their ids. Raises RuntimeError: one was not taken."""
    left = iter([PART] * (count // PART) + ([count % PART] if count % PART else []))
    jobs: list[str] = []

    async def client() -> None:
        for size in left:
            for answer in (await broker.submit_jobs(JobBatch(jobs=(spec,) * size))).items:
                if answer.job is None:
                    raise RuntimeError(f"not all jobs were taken: {answer}")
                jobs.append(answer.job.id)

    await asyncio.gather(*(client() for _ in range(CLIENTS)))
    return jobs


async def one_by_one(broker: BrokerClient, spec: JobSpec, count: int) -> list[str]:
    """The same by a request for each."""
    left = iter(range(count))
    jobs: list[str] = []

    async def client() -> None:
        for _ in left:
            jobs.append((await broker.submit_job(spec)).id)

    await asyncio.gather(*(client() for _ in range(CLIENTS)))
    return jobs
