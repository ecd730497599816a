"""The OpenAPI document and the pages made from it."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import pytest

from caravan.kernel.openapi import invalid_examples, known_problems, problem_example, problem_schemas, schema_name
from caravan.kernel.problems import NotReady
from caravan.kernel.web import ServiceApp
from tests.kernel.webapp import TooWild, client_of, create_app


@pytest.fixture
def app(tmp_path: Path) -> ServiceApp:
    return create_app(tmp_path)


@pytest.fixture
async def client(app: ServiceApp) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(app) as client:
        yield client


def codes(operation: dict[str, Any]) -> dict[str, set[str]]:
    """The problem codes that an operation documents, by status."""
    return {
        status: set(response["content"]["application/problem+json"]["examples"])
        for status, response in operation["responses"].items()
        if "application/problem+json" in response.get("content", {})
    }


def test_an_operation_documents_every_problem_that_can_occur(app: ServiceApp) -> None:
    paths = app.openapi()["paths"]
    assert codes(paths["/v1/animals"]["post"]) == {
        "400": {"not_json"},
        "401": {"unauthenticated"},
        "402": {"too_wild"},
        "404": {"not_found"},
        "408": {"body_timeout"},
        "409": {"still_running"},
        "413": {"too_large"},
        "415": {"unsupported_media_type"},
        "422": {"invalid", "idempotency_key_reused", "not_done"},
        "500": {"internal_error"},
        "503": {"busy"},
    }
    assert codes(paths["/v1/animals"]["get"]) == {
        "401": {"unauthenticated"},
        "422": {"invalid"},
        "500": {"internal_error"},
        "503": {"busy"},
    }
    assert set(codes(paths["/v1/animals/{id}"]["put"])) == {
        *("400", "401", "404", "408", "412", "413", "415", "422", "428", "500", "503"),
    }
    assert set(codes(paths["/v1/hello"]["get"])) == {"422", "500", "503"}


def test_operations_have_ids_summaries_tags_and_the_permissions_that_may(app: ServiceApp) -> None:
    document = app.openapi()
    assert document["components"]["securitySchemes"]["token"]["scheme"] == "bearer"
    add, hello = document["paths"]["/v1/animals"]["post"], document["paths"]["/v1/hello"]["get"]
    assert add["operationId"] == "add_animal"
    assert add["tags"] == ["animals"]
    assert add["security"] == [{"token": ["org/<id>:admin", "org/<id>:member"]}]
    assert "security" not in hello
    assert document["paths"]["/v1/animals"]["get"]["security"] == [{"token": []}]
    assert add["responses"]["201"]["content"]["application/json"]["schema"] == {"$ref": "#/components/schemas/Animal"}
    assert [p["name"] for p in add["parameters"]] == ["Idempotency-Key"]


def test_if_match_is_required(app: ServiceApp) -> None:
    parameters = app.openapi()["paths"]["/v1/animals/{id}"]["put"]["parameters"]
    assert {p["name"]: p["required"] for p in parameters} == {"id": True, "If-Match": True}


def test_the_kernels_own_routes_are_not_in_the_document(app: ServiceApp) -> None:
    assert all(path.startswith("/v1/") for path in app.openapi()["paths"])


def test_every_reference_leads_somewhere(app: ServiceApp) -> None:
    document = app.openapi()

    def references(value: Any) -> list[str]:
        if isinstance(value, dict):
            own = [value["$ref"]] if isinstance(value.get("$ref"), str) else []
            return own + [r for inner in value.values() for r in references(inner)]
        return [r for inner in value for r in references(inner)] if isinstance(value, list) else []

    found = set(references(document))
    assert found
    assert {r.removeprefix("#/components/schemas/") for r in found} <= set(document["components"]["schemas"])
    assert "HTTPValidationError" not in document["components"]["schemas"]


def test_examples_are_valid(app: ServiceApp) -> None:
    document = app.openapi()
    assert invalid_examples(document) == []
    add = document["paths"]["/v1/animals"]["post"]["requestBody"]["content"]["application/json"]
    assert add["example"] == {"name": "Bactrian"}
    add["example"] = {"name": ""}
    assert [words.partition(":")[0] for words in invalid_examples(document)] == ["POST /v1/animals"]


@pytest.mark.parametrize("kind", [TooWild, NotReady])
def test_a_problems_schema_has_its_members_and_its_example_fits(kind: Any) -> None:
    schemas = problem_schemas(kind)
    schema = schemas[schema_name(kind)]
    assert set(kind.member_types()) <= set(schema["required"])
    root = {**schema, "components": {"schemas": schemas}}
    jsonschema.validate(problem_example(kind, schemas), root)


async def test_an_answered_problem_fits_its_schema(app: ServiceApp, client: httpx.AsyncClient) -> None:
    document = app.openapi()
    for body in ({"name": "tiger"}, {"name": ""}, {"name": "camel", "wings": 1}):
        answer = await client.post("/v1/animals", json=body)
        responses = document["paths"]["/v1/animals"]["post"]["responses"]
        schema = responses[str(answer.status_code)]["content"]["application/problem+json"]["schema"]
        jsonschema.validate(answer.json(), {**schema, "components": document["components"]})


async def test_the_pages_need_nothing_from_elsewhere(client: httpx.AsyncClient) -> None:
    del client.headers["Authorization"]
    for path in ("/docs", "/problems", "/problems/too_wild"):
        answer = await client.get(path)
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert "http://" not in answer.text
        assert "src=" not in answer.text


async def test_the_docs_show_operations_and_problems(client: httpx.AsyncClient) -> None:
    docs = (await client.get("/docs")).text
    assert "add_animal" in docs
    assert "org/&lt;id&gt;:member" in docs
    assert 'href="problems/too_wild"' in docs
    page = (await client.get("/problems/too_wild")).text
    assert "过于狂野" in page
    assert "wilder than its stable allows" in page
    assert (await client.get("/problems/unheard_of")).status_code == 404


async def test_the_document_is_served_as_it_is_generated(app: ServiceApp, client: httpx.AsyncClient) -> None:
    assert (await client.get("/openapi.json")).json() == app.openapi()


def test_every_problem_is_documented() -> None:
    for code, kind in known_problems().items():
        assert kind.__doc__, code
        assert kind.title_zh, code
