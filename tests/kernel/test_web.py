"""The web layer over HTTP: problems for everything that goes wrong, who is let in, and what each answer carries."""

import asyncio
import gc
import re
import weakref
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated, Any

import httpx
import pytest
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field, ValidationError
from structlog.testing import capture_logs

from caravan.kernel import bodies, ids
from caravan.kernel.problems import Problem
from caravan.kernel.rendering import validation_problem
from caravan.kernel.web import Public, Router, ServiceApp, create_service_app, started, unauthorized_routes
from caravan.kernel.wrong_input import words
from tests.kernel.webapp import Stable, client_of, create_app, router


@pytest.fixture
def app(tmp_path: Path) -> ServiceApp:
    return create_app(tmp_path)


@pytest.fixture
async def client(app: ServiceApp) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(app) as client:
        yield client


def problem(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """The problem in `answer`, after checking what every problem has."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = answer.json()
    assert body["code"] == code
    assert body["status"] == status
    assert body["type"] == f"/problems/{code}"
    assert body["request_id"] == answer.headers["x-request-id"]
    assert body["title"]
    assert body["title_zh"]
    assert body["detail"]
    return body


def pointers(body: dict[str, Any]) -> dict[str, str]:
    return {error["pointer"]: error["code"] for error in body["errors"]}


async def post(client: httpx.AsyncClient, body: bytes | str, **headers: str) -> httpx.Response:
    return await client.post(
        "/v1/animals",
        content=body,
        headers={"Content-Type": "application/json"} | {k.replace("_", "-"): v for k, v in headers.items()},
    )


async def test_a_good_request_is_answered(client: httpx.AsyncClient) -> None:
    answer = await post(client, '{"name": "camel", "price": "12.34"}')
    assert answer.status_code == 201
    assert answer.json() == {"name": "camel", "legs": {"count": 4}, "tags": {}, "notes": {}, "price": "12.34"}
    assert re.fullmatch(r"req_[0-9a-f]{32}", answer.headers["x-request-id"])


async def test_a_sane_request_id_is_kept_and_another_replaced(client: httpx.AsyncClient) -> None:
    assert (await client.get("/v1/hello", headers={"X-Request-Id": "mine-1"})).headers["x-request-id"] == "mine-1"
    for insane in ("a b", "x" * 65, "<script>"):
        answer = await client.get("/v1/hello", headers={"X-Request-Id": insane})
        assert answer.headers["x-request-id"].startswith("req_")


async def test_a_domain_problem_has_its_members(client: httpx.AsyncClient) -> None:
    body = problem(await post(client, '{"name": "tiger"}'), 402, "too_wild")
    assert body["fits"] == "1.50"
    assert body["detail"] == "The thing is wilder than its stable allows. Ask for less; `fits` would do."


async def test_each_wrong_field_is_named_by_its_pointer(client: httpx.AsyncClient) -> None:
    answer = await post(
        client, '{"name": "", "legs": {"count": 0, "a/b~c": 1}, "tags": {"x": 1}, "price": 12.34, "colour": 1}'
    )
    assert pointers(problem(answer, 422, "invalid")) == {
        "/name": "string_too_short",
        "/legs/count": "greater_than_equal",
        "/legs/a~1b~0c": "extra_forbidden",
        "/tags/x": "string_type",
        "/price": "money",
        "/colour": "extra_forbidden",
    }


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ('{"name": "camel", "legs": {"count": "s3cr3t"}}', "int_type"),
        ('{"name": {"s3cr3t": 1}}', "string_type"),
        ('{"name": "camel", "price": "s3cr3t"}', "money"),
        ('{"name": "camel", "tags": "s3cr3t"}', "dict_type"),
    ],
)
async def test_no_answer_echoes_refused_input(client: httpx.AsyncClient, body: str, code: str) -> None:
    answer = await post(client, body)
    assert code in pointers(problem(answer, 422, "invalid")).values()
    assert "s3cr3t" not in answer.text


async def test_the_words_of_a_value_error_are_not_shown(client: httpx.AsyncClient) -> None:
    answer = await post(client, '{"name": "camel", "legs": {"count": 777}}')
    body = problem(answer, 422, "invalid")
    assert pointers(body) == {"/legs/count": "value_error"}
    assert "777" not in str(body | {"request_id": ""})  # which is drawn, and may have any digits


async def test_an_error_of_the_whole_body_points_at_it(client: httpx.AsyncClient) -> None:
    body = problem(await post(client, '{"name": "snake"}'), 422, "invalid")
    assert body["errors"] == [{"pointer": "", "code": "snake", "detail": "A snake has no legs."}]


@pytest.mark.parametrize("body", ["", "null", "[]", '"text"', "1"])
async def test_a_body_of_another_shape_is_refused(client: httpx.AsyncClient, body: str) -> None:
    assert set(pointers(problem(await post(client, body), 422, "invalid"))) == {""}


async def test_a_mapped_error_type_makes_the_whole_answer_another_problem(client: httpx.AsyncClient) -> None:
    body = problem(await post(client, '{"name": "camel", "wings": 2}'), 422, "not_done")
    assert body["errors"] == [{"pointer": "", "code": "not_done_here", "detail": "Not done here: wings."}]


@pytest.mark.parametrize(
    ("path", "pointer", "code"),
    [
        ("/v1/animals?limit=-1", "query/limit", "greater_than_equal"),
        ("/v1/animals?limit=201", "query/limit", "less_than_equal"),
        ("/v1/animals?limit=many", "query/limit", "int_parsing"),
        ("/v1/animals?limit=" + "9" * 5000, "query/limit", "int_parsing_size"),
        ("/v1/animals?cursor=made-up", "query/cursor", "cursor"),
        ("/v1/animals?knd=a", "query/knd", "extra_forbidden"),
        ("/v1/animals/1/wash?hot=1", "query/hot", "extra_forbidden"),
        ("/v1/animals?kind=a%00b", "query/kind", "nul_character"),
        ("/v1/animals/one/wash", "path/id", "int_parsing"),
    ],
)
async def test_a_wrong_parameter_is_named(client: httpx.AsyncClient, path: str, pointer: str, code: str) -> None:
    answer = await client.request("POST" if "wash" in path else "GET", path)
    assert pointers(problem(answer, 422, "invalid")) == {pointer: code}


async def test_an_unknown_path_is_404_and_a_wrong_method_405_with_all_that_are_allowed(
    client: httpx.AsyncClient,
) -> None:
    problem(await client.get("/v1/nothing"), 404, "not_found")
    problem(await client.get("/v1/animals/"), 404, "not_found")
    answer = await client.delete("/v1/animals")
    problem(answer, 405, "method_not_allowed")
    assert answer.headers["allow"] == "GET, POST"


async def test_an_unexpected_failure_shows_nothing_and_is_logged_with_its_request(client: httpx.AsyncClient) -> None:
    with capture_logs() as logs:
        answer = await client.get("/v1/failure")
    problem(answer, 500, "internal_error")
    assert "hunter2" not in answer.text
    assert "Uninvited" not in answer.text
    assert [entry["event"] for entry in logs] == ["unexpected_failure"]
    assert str(logs[0]["exc_info"]) == "the password is hunter2"


def test_a_list_with_a_wrong_item_is_not_called_too_short_as_well() -> None:
    class Herd(BaseModel):
        legs: Annotated[tuple[int, ...], Field(min_length=1, max_length=2)]

    def errors(legs: list[Any]) -> list[tuple[str, str]]:
        with pytest.raises(ValidationError) as refused:
            Herd.model_validate({"legs": legs})
        found = [{**error, "loc": ("body", *error["loc"])} for error in refused.value.errors()]
        return [(one.pointer, one.detail) for one in validation_problem(RequestValidationError(found), {}).errors]

    assert errors(["four"]) == [("/legs/0", "Give a whole number.")]
    assert errors([]) == [("/legs", "Give at least 1 of them.")]
    assert errors([4, 4, 4]) == [("/legs", "Give at most 2 of them.")]


def test_of_an_id_is_said_what_it_is_made_of() -> None:
    class Herd(BaseModel):
        owner: Annotated[str, Field(pattern=ids.pattern("prj"))]

    with pytest.raises(ValidationError) as refused:
        Herd.model_validate({"owner": "me"})
    assert words(refused.value.errors()[0]) == "Give an id: prj_ and 32 hexadecimal digits."


async def test_a_refusal_leaves_a_line_with_what_was_asked_and_answered(client: httpx.AsyncClient) -> None:
    with capture_logs() as logs:
        await client.get("/v1/animals")
        await client.post("/v1/animals", json={"name": 7})
    assert [(line["event"], line["method"], line["path"], line["status"]) for line in logs] == [
        ("refused", "POST", "/v1/animals", 422)
    ]


@pytest.mark.parametrize("content_type", ["", "text/plain", "application/x-www-form-urlencoded", "application/jsonp"])
async def test_a_body_that_is_not_marked_as_json_is_415(client: httpx.AsyncClient, content_type: str) -> None:
    headers = {"Content-Type": content_type} if content_type else {}
    answer = await client.post("/v1/animals", content=b'{"name": "camel"}', headers=headers)
    problem(answer, 415, "unsupported_media_type")


@pytest.mark.parametrize(
    "content_type", ["application/json; charset=utf-8", "APPLICATION/JSON", "application/cloudevents+json"]
)
async def test_other_spellings_of_json_are_accepted(client: httpx.AsyncClient, content_type: str) -> None:
    answer = await client.post("/v1/animals", content=b'{"name": "camel"}', headers={"Content-Type": content_type})
    assert answer.status_code == 201


async def in_pieces(size: int) -> AsyncIterator[bytes]:
    yield b'{"name": "'
    for _ in range(size // 65536):
        yield b"x" * 65536
    yield b'"}'


async def test_a_body_over_the_limit_is_413_also_without_a_content_length(client: httpx.AsyncClient) -> None:
    big = b'{"name": "' + b"x" * 1024 * 1024 + b'"}'
    assert problem(await post(client, big), 413, "too_large")["limit_bytes"] == 1048576
    json = {"Content-Type": "application/json"}
    problem(await client.post("/v1/animals", content=in_pieces(1024 * 1024), headers=json), 413, "too_large")
    assert (await client.post("/v1/animals", content=in_pieces(512 * 1024), headers=json)).status_code == 201
    problem(await client.post("/v1/animals/1/wash", content=big), 413, "too_large")


@pytest.mark.parametrize(("headers", "read"), [([], 40), ([(b"expect", b"100-continue")], 0)])
async def test_a_refused_body_is_read_away_before_the_answer(
    app: ServiceApp, headers: list[tuple[bytes, bytes]], read: int
) -> None:
    events: list[str] = []

    async def receive() -> dict[str, Any]:
        events.append("read")
        return {"type": "http.request", "body": b"x" * 65536, "more_body": events.count("read") < 40}

    async def send(message: Any) -> None:
        events.append(str(message.get("status", "body")))

    async with client_of(app) as client:
        token = client.headers["authorization"].encode()
        scope = {"type": "http", "method": "POST", "path": "/v1/animals", "query_string": b"", "root_path": ""}
        length = (b"content-length", b"2621440")
        await app(scope | {"headers": [(b"authorization", token), length, *headers]}, receive, send)
    assert events == ["read"] * read + ["413", "body"]


async def test_a_body_that_stops_in_the_middle_is_408(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bodies, "SILENCE_SECONDS", 0.05)
    monkeypatch.setattr(bodies, "DRAIN_SECONDS", 0.05)

    async def half() -> AsyncIterator[bytes]:
        yield b'{"name": '
        await asyncio.sleep(60)

    json = {"Content-Type": "application/json"}
    problem(await client.post("/v1/animals", content=half(), headers=json), 408, "body_timeout")


async def test_a_refusal_is_a_line_in_the_log_unless_it_is_ordinary(app: ServiceApp, client: httpx.AsyncClient) -> None:
    class Waiting(Problem):
        """Not yet."""

        status, code, ordinary = 409, "waiting", True

    router = Router(prefix="/v1")

    @router.get("/waiting")
    async def waiting(_: Public) -> None:
        raise Waiting

    with capture_logs() as logs:
        await client.get("/v1/nothing")
    assert [(entry["log_level"], entry["status"]) for entry in logs] == [("info", 404)]
    other_app = create_service_app("catalog", "Waiting", app.settings, routers=[router])
    with capture_logs() as logs:
        async with client_of(other_app) as other:
            assert (await other.get("/v1/waiting")).status_code == 409
    assert [entry["log_level"] for entry in logs if entry["event"] == "refused"] == ["debug"]


async def test_a_nul_in_the_path_is_404(client: httpx.AsyncClient) -> None:
    problem(await client.post("/v1/animals/%00/wash"), 404, "not_found")


async def test_a_batch_route_takes_more(app: ServiceApp) -> None:
    async with client_of(app, ["service:broker"]) as client:
        many = [{"name": "x" * 100}] * 20_000
        assert (await client.post("/v1/flocks", json=many)).json() == 20_000


async def test_a_route_without_a_model_can_still_read_its_body(client: httpx.AsyncClient) -> None:
    assert (await client.post("/v1/animals/1/wash", content=b"soap")).json() == 4
    assert (await client.post("/v1/animals/1/wash")).json() == 0


async def test_the_token_is_checked_before_the_body_is_read(app: ServiceApp) -> None:
    async with client_of(app) as client:
        del client.headers["Authorization"]
        answer = await post(client, b"\xff")
        problem(answer, 401, "unauthenticated")
        assert answer.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer ", "Basic YTpi", "Bearer not-a-token", "Bearer a.b.c"])
async def test_a_missing_or_wrong_token_is_401(app: ServiceApp, header: str) -> None:
    async with client_of(app) as client:
        answer = await client.get("/v1/animals", headers={"Authorization": header})
        problem(answer, 401, "unauthenticated")


async def test_missing_and_forbidden_look_the_same(client: httpx.AsyncClient) -> None:
    missing, forbidden = await client.get("/v1/nothing"), await client.get("/v1/till")
    problem(forbidden, 404, "not_found")
    for answer in (missing, forbidden):
        del answer.headers["x-request-id"]
    assert {k: v for k, v in missing.json().items() if k != "request_id"} == {
        k: v for k, v in forbidden.json().items() if k != "request_id"
    }
    assert missing.headers == forbidden.headers


async def test_a_role_lets_in_who_has_it(app: ServiceApp) -> None:
    async with client_of(app, ["platform:finance"]) as client:
        assert (await client.get("/v1/till")).json() == "alice"
    async with client_of(app, ["platform:admin"]) as client:
        problem(await client.get("/v1/till"), 404, "not_found")


async def test_a_public_route_asks_for_no_token(app: ServiceApp) -> None:
    async with client_of(app) as client:
        del client.headers["Authorization"]
        assert (await client.get("/v1/hello")).json() == "hello"


async def test_a_change_needs_the_version_that_was_read(client: httpx.AsyncClient) -> None:
    def change(**headers: str) -> Any:
        return client.put(
            "/v1/animals/1", json={"name": "camel"}, headers={k.replace("_", "-"): v for k, v in headers.items()}
        )

    problem(await change(), 428, "version_needed")
    problem(await change(If_Match='"2"'), 412, "stale")
    for wrong in ("3", "*", 'W/"3"', '"x"', '"-1"', '"' + "9" * 30 + '"'):
        assert pointers(problem(await change(If_Match=wrong), 422, "invalid")) == {"header/If-Match": "etag"}
    answer = await change(If_Match='"3"')
    assert answer.status_code == 200
    assert answer.headers["etag"] == '"4"'


async def test_an_idempotency_key_is_bound_to_caller_operation_and_body(app: ServiceApp) -> None:
    async with client_of(app) as client:
        for body in ('{"name": "camel"}', '{"name": "camel"}', '{"name": "llama"}'):
            assert (await post(client, body)).status_code == 201
        one, same, other = app.provided[Stable].keys
        assert one == same
        assert one.startswith("alice add_animal /v1/animals|k-1|")
        assert one != other
        for wrong in ("", "a b", "x" * 129):
            answer = await post(client, '{"name": "camel"}', Idempotency_Key=wrong)
            assert set(pointers(problem(answer, 422, "invalid"))) == {"header/Idempotency-Key"}
        del client.headers["Idempotency-Key"]
        answer = await post(client, '{"name": "camel"}')
        assert pointers(problem(answer, 422, "invalid")) == {"header/Idempotency-Key": "missing"}


async def test_health_readiness_and_metrics(tmp_path: Path) -> None:
    broken = False

    async def database() -> None:
        if broken:
            raise ConnectionError("postgres://user:hunter2@db is down")

    async with client_of(create_app(tmp_path, checks={"database": database})) as client:
        del client.headers["Authorization"]
        assert (await client.get("/healthz")).json() == {"service": "catalog", "status": "up"}
        assert (await client.get("/readyz")).json() == {"service": "catalog", "status": "ready"}
        broken = True
        answer = await client.get("/readyz")
        assert problem(answer, 503, "not_ready")["failing"] == ["database"]
        assert "hunter2" not in answer.text
        assert (await client.get("/healthz")).status_code == 200
        await client.get("/v1/nothing/at/all")
        metrics = (await client.get("/metrics")).text
    assert 'caravan_http_requests_total{operation="readyz",status="503"} 1.0' in metrics
    assert 'caravan_http_requests_total{operation="unmatched",status="404"} 1.0' in metrics
    assert 'caravan_http_request_seconds_count{operation="healthz"} 2.0' in metrics


def test_every_route_of_the_example_says_who_may_call(app: ServiceApp) -> None:
    assert unauthorized_routes(app) == []


def test_an_app_with_a_route_without_authorization_is_not_made(app: ServiceApp) -> None:
    open_router = Router()

    @open_router.get("/v1/open")
    async def open_door() -> int:
        return 1

    with pytest.raises(TypeError, match="GET /v1/open"):
        create_service_app("catalog", "Open", app.settings, routers=[open_router])


def test_operations_have_names_of_their_own_and_are_async(app: ServiceApp) -> None:
    with pytest.raises(TypeError, match="two operations are named add_animal"):
        create_service_app("catalog", "Twice", app.settings, routers=[router, router], provide=[Stable()])
    with pytest.raises(TypeError, match="not `async def`"):

        @Router().get("/v1/blocking")
        def blocking(_: Public) -> int:
            return 1


async def test_an_app_that_lacks_what_its_routes_need_does_not_start(app: ServiceApp) -> None:
    lacking = create_service_app("catalog", "Lacking", app.settings, routers=[router])
    with pytest.raises(TypeError, match="needs Stable"):
        async with started(lacking):
            pass


async def test_mounted_below_a_path_all_works_the_same(app: ServiceApp) -> None:
    from starlette.applications import Starlette
    from starlette.routing import Mount

    async with client_of(app) as inner:
        front = Starlette(routes=[Mount("/catalog", app)])
        transport = httpx.ASGITransport(front)
        async with httpx.AsyncClient(transport=transport, base_url="http://front", headers=inner.headers) as client:
            assert (await client.get("/catalog/v1/hello")).json() == "hello"
            problem(await client.get("/catalog/v1/nothing"), 404, "not_found")
            problem(await client.delete("/catalog/v1/hello"), 405, "method_not_allowed")
            assert (await client.get("/catalog/openapi.json")).json()["servers"] == [{"url": "/catalog"}]


def test_of_an_app_that_is_over_nothing_is_kept(tmp_path: Path) -> None:
    # what a framework keeps of routes may keep all that they refer to, for as long as the process lives
    app = create_app(tmp_path)
    gone = weakref.ref(app)
    del app
    gc.collect()
    assert gone() is None
