"""Idempotency keys under fire, and after a death."""

import asyncio

import httpx

from bench.case import Trial, Verdict, case
from bench.platform import Market, Platform, open_market, until
from bench.steps import Hold
from caravan.client import BrokerClient
from caravan.contracts.spec import JobSpec, Resources

CLIENTS = 20


def spec_of(market: Market, name: str = "once") -> JobSpec:
    return JobSpec(name=name, project=market.project, script="sleep 1", resources=Resources(walltime_seconds=30))


async def post(http: httpx.AsyncClient, url: str, token: str, key: str, spec: JobSpec) -> httpx.Response:
    """POST /v1/jobs, again while the first one with this key is at work."""
    headers = {"Authorization": f"Bearer {token}", "Idempotency-Key": key, "Content-Type": "application/json"}
    while True:
        response = await http.post(f"{url}/v1/jobs", content=spec.model_dump_json(), headers=headers)
        if response.status_code != 409:
            return response
        await asyncio.sleep(0.05)


@case(
    "one-answer-per-key",
    claim="One Idempotency-Key, 20 clients at once, retrying on 409: one job, one answer",
    goal="each key: 1 job, 1 answer of 20",
)
def one_answer_per_key(trial: Trial) -> Verdict:
    return asyncio.run(_one_answer_per_key(trial))


async def _one_answer_per_key(trial: Trial) -> Verdict:
    keys = 20 if trial.long else 3
    async with Platform(trial.folder).start() as platform:
        market = await open_market(platform)
        token = platform.token(f"org/{market.organization}:member")
        worst = 0
        async with httpx.AsyncClient(limits=httpx.Limits(max_connections=CLIENTS), timeout=60) as http:
            for number in range(keys):
                calls = [
                    post(http, platform.url("broker"), token, f"key-{number}", spec_of(market)) for _ in range(CLIENTS)
                ]
                answers = await asyncio.gather(*calls)
                worst = max(worst, len({(answer.status_code, answer.content) for answer in answers}))
        broker = await platform.broker(f"org/{market.organization}:member")
        jobs = len((await broker.list_jobs(limit=200)).items)
    return Verdict(jobs == keys and worst == 1, f"{keys} keys x {CLIENTS} clients: {jobs} jobs, {worst} answer a key")


@case(
    "key-of-the-dead",
    claim="A key whose owner died between its two transactions is taken over, and its job is the one answered",
    goal="1 job, answered 201",
)
def key_of_the_dead(trial: Trial) -> Verdict:
    return asyncio.run(_key_of_the_dead(trial))


async def _key_of_the_dead(trial: Trial) -> Verdict:
    async with Platform(trial.folder).start() as platform:
        market = await open_market(platform)
        token = platform.token(f"org/{market.organization}:member")
        platform.stop()
        with Hold(trial.folder, "submit") as hold:
            platform.restart(**hold.environment)
            async with httpx.AsyncClient(timeout=60) as http:
                first = asyncio.create_task(post(http, platform.url("broker"), token, "dead", spec_of(market)))
                await hold.reached()
                platform.kill()
                died = isinstance((await asyncio.gather(first, return_exceptions=True))[0], httpx.TransportError)
        platform.restart()
        async with httpx.AsyncClient(timeout=60) as http:
            again = await post(http, platform.url("broker"), token, "dead", spec_of(market))
            repeat = await post(http, platform.url("broker"), token, "dead", spec_of(market))
        broker = await platform.broker(f"org/{market.organization}:member")
        jobs = (await broker.list_jobs()).items
        await until(lambda: _settled(broker, jobs[0].id), "the job to settle")
    same = again.content == repeat.content and again.json()["id"] == jobs[0].id
    return Verdict(
        died and again.status_code == 201 and len(jobs) == 1 and same, f"{len(jobs)} job, answered {again.status_code}"
    )


async def _settled(broker: BrokerClient, job: str) -> bool:
    return (await broker.get_job(job)).settled_at is not None
