"""The clients against a server that records what came and answers as told."""

import asyncio
import json
from collections.abc import Callable, Iterator
from urllib.parse import parse_qsl

import httpx
import pytest

from caravan.client import (
    AccountingClient,
    BrokerClient,
    CatalogClient,
    InProcess,
    ServiceUnavailable,
    UnknownProblem,
    each,
)
from caravan.contracts.funds import BudgetChange, DepositDraft
from caravan.contracts.jobs import JobState
from caravan.contracts.offerings import Tier
from caravan.contracts.parties import OrganizationDraft
from caravan.contracts.problems import BudgetExceeded, LeaseTaken
from caravan.kernel import clock, ids
from caravan.kernel.money import Money
from caravan.kernel.problems import CursorGone, NotFound

Answer = Callable[[httpx.Request], httpx.Response]


def _organization(name: str) -> dict[str, object]:
    return {"id": ids.new("org"), "name": name, "version": 1, "created_at": "2026-01-01T00:00:00Z"}


def _catalog(answer: Answer) -> CatalogClient:
    return CatalogClient("http://catalog.test/catalog/", "t", transport=httpx.MockTransport(answer))


async def test_a_call_sends_token_path_query_and_body() -> None:
    seen: list[httpx.Request] = []
    tokens: Iterator[str] = iter(["one", "two"])

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, json={"items": [], "next": None} if request.method == "GET" else _organization("甲"))

    async with CatalogClient("http://c.test/catalog", lambda: next(tokens), httpx.MockTransport(answer)) as catalog:
        made = await catalog.create_organization(OrganizationDraft(name="甲"))
        await catalog.search_offerings(cpus=2, text="超算", limit=5)
    assert made.name == "甲"
    assert [request.headers["authorization"] for request in seen] == ["Bearer one", "Bearer two"]
    assert str(seen[0].url) == "http://c.test/catalog/v1/organizations"
    assert json.loads(seen[0].content) == {"name": "甲", "credit_code": None, "price_class": None}
    assert dict(seen[1].url.params) == {"cpus": "2", "text": "超算", "limit": "5"}


async def test_keys_and_versions_go_as_headers() -> None:
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(404, json=NotFound().body())

    async with AccountingClient("http://a.test", "t", httpx.MockTransport(answer)) as accounting:
        draft = DepositDraft(organization=ids.new("org"), amount=Money(1200), reference="B-1")
        for key in ("mine", None, None):
            with pytest.raises(NotFound):
                await accounting.record_deposit(draft, key=key)
        with pytest.raises(NotFound):
            await accounting.update_budget("bud_x", BudgetChange(limit=Money(5)), version=7)
    keys = [request.headers.get("idempotency-key") for request in seen]
    assert keys[0] == "mine"
    assert keys[3] is None
    assert len({keys[1], keys[2], None}) == 3
    assert seen[3].headers["if-match"] == '"7"'
    assert json.loads(seen[0].content)["amount"] == "12.00"


async def test_a_problem_comes_back_as_the_class_that_the_server_raised() -> None:
    raised = BudgetExceeded(
        job="job_1", budget="bud_1", budget_name="年度", limit=Money(100), held=Money(20), asked=Money(90),
        fits=Money(80), walltime_seconds_that_fits=None,
    )  # fmt: skip

    async with _catalog(lambda request: httpx.Response(402, json=raised.body())) as catalog:
        with pytest.raises(BudgetExceeded) as caught:
            await catalog.list_sites()
    assert caught.value.body() == raised.body()
    assert caught.value.fits == Money(80)


@pytest.mark.parametrize("members", [{}, {"until": "yesterday"}])
async def test_a_problem_that_this_client_does_not_know_keeps_its_status_and_code(members: dict[str, str]) -> None:
    answered = {"code": "brand_new", "detail": "Do this.", "title": "New", "hint": 3}
    misread = {"code": LeaseTaken.code, "detail": "taken"} | members
    for body in (answered, misread):
        async with _catalog(lambda request, body=body: httpx.Response(409, json=body)) as catalog:  # type: ignore[misc]
            with pytest.raises(UnknownProblem) as caught:
                await catalog.list_sites()
        assert (caught.value.status, caught.value.code, caught.value.detail) == (409, body["code"], body["detail"])
        assert caught.value.body() == body


@pytest.mark.parametrize("answer", ["refused", "late", "proxy"])
async def test_no_answer_is_one_exception(answer: str) -> None:
    def respond(request: httpx.Request) -> httpx.Response:
        if answer == "refused":
            raise httpx.ConnectError("refused", request=request)
        if answer == "late":
            raise httpx.ReadTimeout("late", request=request)
        return httpx.Response(502, text="<html>bad gateway</html>")

    async with _catalog(respond) as catalog:
        with pytest.raises(ServiceUnavailable):
            await catalog.list_sites()


async def test_each_goes_through_all_pages() -> None:
    pages = {None: ("a", "b", "one"), "one": ("c", "d", "two"), "two": ("e", "f", None)}

    def answer(request: httpx.Request) -> httpx.Response:
        assert request.url.params["limit"] == "2"
        *names, following = pages[request.url.params.get("cursor")]
        return httpx.Response(200, json={"items": [_organization(str(name)) for name in names], "next": following})

    async with _catalog(answer) as catalog:
        names = [organization.name async for organization in each(catalog.list_organizations, limit=2)]
    assert names == list("abcdef")


async def test_a_feed_page_and_a_gone_cursor() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.params.get("after") == "old:1":
            return httpx.Response(410, json=CursorGone().body())
        assert request.extensions["timeout"]["read"] > 20
        return httpx.Response(200, json={"events": [{"type": "x"}], "next": "g:2"})

    async with _catalog(answer) as catalog:
        assert await catalog.feed(None, 20) == ([{"type": "x"}], "g:2")
        with pytest.raises(CursorGone):
            await catalog.feed("old:1", 20)


async def test_a_call_in_this_process_goes_on_when_its_caller_is_cancelled() -> None:
    entered, leave, done = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def app(scope, receive, send) -> None:  # type: ignore[no-untyped-def]
        entered.set()
        await leave.wait()
        done.set()
        await send({"type": "http.response.start", "status": 404, "headers": []})
        await send({"type": "http.response.body", "body": b"{}"})

    async with BrokerClient("http://broker", "t", transport=InProcess(app)) as broker:
        task = asyncio.create_task(broker.list_jobs(state=JobState.RUNNING))
        await entered.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        leave.set()
        async with asyncio.timeout(5):
            await done.wait()


async def test_a_long_poll_in_this_process_ends_with_its_caller() -> None:
    entered, left = asyncio.Event(), asyncio.Event()

    async def app(scope, receive, send) -> None:  # type: ignore[no-untyped-def]
        entered.set()
        try:
            await asyncio.Event().wait()
        finally:
            left.set()

    async with CatalogClient("http://catalog", "t", transport=InProcess(app)) as catalog:
        task = asyncio.create_task(catalog.feed(None, 20))
        await entered.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert left.is_set()


async def test_what_comes_and_goes_in_this_process_is_what_comes_and_goes_over_http() -> None:
    came: list[tuple[object, ...]] = []

    async def app(scope, receive, send) -> None:  # type: ignore[no-untyped-def]
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message["body"], message["more_body"]
        headers = {name: value for name, value in scope["headers"] if name in (b"authorization", b"idempotency-key")}
        came.append((scope["method"], scope["path"], parse_qsl(scope["query_string"].decode("ascii")), body, headers))
        gone = asyncio.create_task(receive())
        await send({"type": "http.response.start", "status": 409, "headers": []})
        words = json.dumps(LeaseTaken(until=clock.EPOCH).body()).encode()
        await send({"type": "http.response.body", "body": words[:20], "more_body": True})
        await asyncio.sleep(0)
        assert not gone.done()
        await send({"type": "http.response.body", "body": words[20:]})
        assert (await gone)["type"] == "http.disconnect"

    draft = DepositDraft(organization=ids.new("org"), amount=Money(1200), reference="甲&乙=1 +%")
    for transport in (httpx.ASGITransport(app), InProcess(app)):
        async with (
            CatalogClient("http://c", "t", transport) as catalog,
            AccountingClient("http://a", "t", transport) as accounting,
        ):
            with pytest.raises(LeaseTaken):
                await catalog.search_offerings(tier=[Tier.HPC, Tier.CLOUD], text="甲&乙=1 +%", limit=5)
            with pytest.raises(LeaseTaken):
                await accounting.record_deposit(draft, key="mine")
    over_http, inside = came[:2], came[2:]
    assert inside == over_http
