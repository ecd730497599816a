"""One answer for each idempotency key of a submission, byte for byte, whoever died on the way."""

import asyncio
from typing import Any

import httpx
import pytest
from sqlalchemy import update
from sqlalchemy.orm import Session

from caravan.contracts.jobs import HoldState
from caravan.contracts.spec import JobSpec
from caravan.kernel.database import affected
from caravan.kernel.problems import KeyReused, StillRunning
from caravan.kernel.tables import idempotency
from services.broker.jobs.models import JobRow
from tests.broker.conftest import Shop

pytestmark = pytest.mark.asyncio(loop_scope="session")


class Raw:
    """The customer's requests as bytes."""

    def __init__(self, shop: Shop) -> None:
        platform = shop.market.platform
        token = platform.token("enterprise", f"org/{shop.customer.organization}:member")
        transport = httpx.ASGITransport(platform.apps["broker"])
        headers = {"Authorization": f"Bearer {token}"}
        self.http = httpx.AsyncClient(transport=transport, base_url="http://broker", headers=headers)

    async def submit(self, spec: JobSpec, key: str) -> httpx.Response:
        body: dict[str, Any] = spec.model_dump(mode="json")
        return await self.http.post("/v1/jobs", json=body, headers={"Idempotency-Key": key})


async def test_a_repeated_key_gets_the_same_bytes_and_makes_nothing(shop: Shop) -> None:
    raw, spec = Raw(shop), shop.customer.spec()
    first = await raw.submit(spec, "k")
    await shop.hand.play(first.json()["id"])
    again = await raw.submit(spec, "k")
    assert (first.status_code, first.content) == (again.status_code, again.content)
    assert first.headers["location"] == again.headers["location"] == f"/v1/jobs/{first.json()['id']}"
    other = await raw.submit(shop.customer.spec("other"), "k")
    assert (other.status_code, other.json()["code"]) == (KeyReused.status, KeyReused.code)
    refused = await raw.submit(shop.customer.spec(walltime=80_000, cpus=4, indices=100, max_parallel=1), "r")
    repeat = await raw.submit(shop.customer.spec(walltime=80_000, cpus=4, indices=100, max_parallel=1), "r")
    assert (refused.status_code, refused.content) == (402, repeat.content)
    assert len((await shop.customer.broker.list_jobs()).items) == 2
    await raw.http.aclose()


async def test_many_clients_with_one_key_make_one_job(shop: Shop) -> None:
    raw, spec = Raw(shop), shop.customer.spec()

    async def stubborn() -> bytes:
        while True:
            answer = await raw.submit(spec, "one")
            if answer.status_code != StillRunning.status:
                return answer.content
            await asyncio.sleep(0.01)

    answers = await asyncio.gather(*(stubborn() for _ in range(20)))
    assert len(set(answers)) == 1
    assert len((await shop.customer.broker.list_jobs()).items) == 1
    await raw.http.aclose()


@pytest.mark.parametrize("after", ["accepted", "asked", "refused"])
async def test_a_key_whose_owner_died_is_taken_over_with_what_it_had_made(shop: Shop, after: str) -> None:
    """The answer is lost after transaction 1; after the hold; or for a job that was refused."""
    raw, db = Raw(shop), shop.market.platform.runtime.db
    spec = shop.customer.spec()
    if after == "refused":
        spec = shop.customer.spec(walltime=80_000, cpus=4, indices=100, max_parallel=1)
    first = await raw.submit(spec, after)
    job = first.json()["job" if after == "refused" else "id"]

    def forget(tx: Session) -> None:
        mine = idempotency.c.key == after, idempotency.c.reference == job
        unanswered = {"status": None, "body": None, "headers": None, "owner": "own_dead"}
        assert affected(tx, update(idempotency).where(*mine).values(unanswered)) == 1
        if after == "accepted":
            tx.execute(update(JobRow).where(JobRow.id == job).values(hold_state=HoldState.UNCONFIRMED))

    await db.write(forget)
    again = await raw.submit(spec, after)
    assert again.status_code == first.status_code
    assert again.json()["job" if after == "refused" else "id"] == job
    assert len((await shop.customer.broker.list_jobs()).items) == 1
    assert (await raw.submit(spec, after)).content == again.content
    await raw.http.aclose()
