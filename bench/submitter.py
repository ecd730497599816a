"""Clients that send each job under its own key until it is answered, whatever dies meanwhile."""

import asyncio
from collections.abc import Callable, Iterable

import httpx

from bench.platform import Market, Platform, until
from caravan.client import each
from caravan.contracts.jobs import Job
from caravan.contracts.spec import JobSpec

AGAIN_SECONDS = 0.2


class Submitter:
    """`spec(number)` is the job of that number."""

    def __init__(self, platform: Platform, market: Market, spec: Callable[[int], JobSpec]) -> None:
        self._platform = platform
        self._market = market
        self._spec = spec
        self._tasks: list[asyncio.Task[None]] = []

    def submit(self, numbers: Iterable[int]) -> None:
        self._tasks += [asyncio.create_task(self._until_answered(number)) for number in numbers]

    async def all_answered(self) -> None:
        await asyncio.gather(*self._tasks)

    async def _until_answered(self, number: int) -> None:
        content = self._spec(number).model_dump_json()
        headers = {
            "Authorization": f"Bearer {self._platform.token(f'org/{self._market.organization}:member')}",
            "Idempotency-Key": f"job-{number}",
            "Content-Type": "application/json",
        }
        async with httpx.AsyncClient(timeout=30) as http:
            while True:
                try:
                    url = f"{self._platform.url('broker')}/v1/jobs"
                    response = await http.post(url, content=content, headers=headers)
                except httpx.TransportError:
                    await asyncio.sleep(AGAIN_SECONDS)
                    continue
                if response.status_code == 201:
                    return
                if response.status_code not in (409, 503):
                    raise RuntimeError(f"job {number}: {response.status_code} {response.text}")
                await asyncio.sleep(AGAIN_SECONDS)


async def all_settled(platform: Platform, market: Market, seconds: float) -> list[Job]:
    """All jobs of the organization, once each of them has settled."""
    broker = await platform.broker(f"org/{market.organization}:member")

    async def settled() -> list[Job]:
        found = [job async for job in each(broker.list_jobs)]
        return found if all(job.settled_at for job in found) else []

    return await until(settled, "all jobs to settle", seconds)
