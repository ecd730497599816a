"""Jobs sent to the platform by several clients at once, in batches or each by itself, and how fast beside a plain script."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from statistics import median
from typing import Final

from bench.platform import until
from caravan.client import BrokerClient
from caravan.contracts.jobs import JobState
from caravan.contracts.spec import JobBatch, JobSpec

CLIENTS: Final = 16
PART: Final = 100
"""Jobs of one batch."""
ENDED_SECONDS: Final = 600


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


async def cancelled(broker: BrokerClient, jobs: Iterable[str]) -> None:
    """All of them, by a request for each, until no job is on its way any more."""
    left = iter(jobs)

    async def client() -> None:
        for job in left:
            await broker.cancel_job(job)

    await asyncio.gather(*(client() for _ in range(CLIENTS)))
    await all_ended(broker)


async def all_ended(broker: BrokerClient) -> None:
    """Wait until no job is on its way any more."""

    async def ended() -> bool:
        states = (JobState.PENDING, JobState.QUEUED, JobState.RUNNING)
        return not any([(await broker.list_jobs(state=state, limit=1)).items for state in states])

    await until(ended, "all jobs of the platform to have ended", ENDED_SECONDS)


def beside_direct(rates: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """The median share that `batch` and `single` have of the rate `direct` of the same round."""
    return {
        name: median(one / direct for one, direct in zip(rates[name], rates["direct"], strict=True))
        for name in ("batch", "single")
    }
