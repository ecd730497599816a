"""Bad input and bad tokens: each gets a problem that names the field or the byte, and nothing is stored; its good twin is accepted."""

import asyncio

import httpx

from bench.bad_input.requests import FEED, JOBS, Bad, Request, bad_requests, job
from bench.bad_input.tokens import Forge
from bench.case import Trial, Verdict, case
from bench.platform import Market, Platform, open_market
from bench.submitter import all_settled

BEFORE = 2
"""Jobs that are stored before: a list has a cursor then."""
SETTLE_SECONDS = 120


@case(
    "bad-input",
    claim="Bad input and bad tokens are answered by a problem that names the field or the byte, and nothing is stored; "
    "the same without what is wrong is accepted",
    goal="every one as specified, 0 jobs stored; every good twin accepted",
)
def bad_input(trial: Trial) -> Verdict:
    return asyncio.run(_bad_input(trial))


async def _bad_input(trial: Trial) -> Verdict:
    async with Platform(trial.folder).start() as platform, httpx.AsyncClient(timeout=60) as http:
        market = await open_market(platform)
        caller = Caller(platform, market, http)
        for number in range(BEFORE):
            (await caller.send(job(market), f"before-{number}")).raise_for_status()
        cursor = (await caller.send(Request(f"{JOBS}?limit=1"), "")).json()["next"]
        position = (await caller.send(Request(FEED), "")).json()["next"]

        requests = bad_requests(market, cursor, position)
        forge = Forge(platform, market)
        wrong = [
            f"{one.what}: {fault}"
            for one in requests
            if (fault := judged(one, await caller.send(one.bad, f"bad {one.what}")))
        ]
        for what, token in forge.bad().items():
            answer = await caller.send(Request(JOBS), "", token)
            if answer.status_code != 401 or answer.json().get("code") != "unauthenticated" or token in answer.text:
                wrong.append(f"a token {what}: {answer.status_code} {answer.text[:200]}")
        stored = len(await all_settled(platform, market, SETTLE_SECONDS)) - BEFORE

        twins = [(one.what, await caller.send(one.good, f"good {one.what}")) for one in requests]
        twins += [(what, await caller.send(Request(JOBS), "", token)) for what, token in forge.good().items()]
        refused = [f"{what}: {said.status_code} {said.text[:200]}" for what, said in twins if not said.is_success]
        jobs = BEFORE + sum(one.good.path == JOBS for one in requests)
        kept = len(await all_settled(platform, market, SETTLE_SECONDS))
    total = len(requests) + len(forge.bad())
    for fault in wrong:
        trial.say(fault)
    for fault in refused:
        trial.say(f"the good twin of {fault}")
    return Verdict(
        not wrong and not stored and not refused and kept == jobs,
        f"{total - len(wrong)} of {total} as specified, {stored} jobs stored; {len(twins) - len(refused)} of {len(twins)} good ones "
        f"accepted, {kept} of {jobs} jobs kept",
        {"wrong": wrong, "refused": refused},
    )


class Caller:
    """Everybody at once, so that nothing is refused for who asks."""

    def __init__(self, platform: Platform, market: Market, http: httpx.AsyncClient) -> None:
        self._http = http
        self._root = platform.url("broker").removesuffix("/broker")
        self._token = platform.token(
            f"org/{market.organization}:admin",
            f"provider/{market.provider}:admin",
            "platform:finance",
            "platform:admin",
        )

    async def send(self, request: Request, key: str, token: str | None = None) -> httpx.Response:
        headers = {"Authorization": f"Bearer {token or self._token}"}
        if request.body is None:
            return await self._http.get(self._root + request.path, headers=headers)
        headers |= {"Idempotency-Key": key.replace(" ", "-"), "Content-Type": "application/json"}
        return await self._http.post(self._root + request.path, content=request.body, headers=headers)


def judged(bad: Bad, answer: httpx.Response) -> str | None:
    """What is wrong with the answer, or None."""
    if answer.headers.get("content-type") != "application/problem+json":
        return f"not a problem: {answer.status_code} {answer.text[:200]}"
    problem = answer.json()
    if (answer.status_code, problem["code"]) != (bad.status, bad.code):
        return f"{answer.status_code} {problem['code']} instead of {bad.status} {bad.code}"
    pointers = [error["pointer"] for error in problem.get("errors", [])]
    if bad.pointer is not None and bad.pointer not in pointers:
        return f"names {pointers}, not {bad.pointer!r}"
    if bad.offset is not None and problem.get("offset") != bad.offset:
        return f"names byte {problem.get('offset')}, not {bad.offset}"
    return None
