"""openapi/*.json: each example is what the schema beside it says, and what the service takes."""

import json
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from fastapi.routing import APIRoute

from scripts.openapi import FOLDER, SERVICES

DOCUMENTS: dict[str, dict[str, Any]] = {name: json.loads((FOLDER / f"{name}.json").read_text()) for name in SERVICES}


def nodes(value: Any, place: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Each object of a document, with where it is. What examples hold is no part of it."""
    if isinstance(value, dict):
        yield place, value
        for name, inner in value.items():
            if name not in ("example", "examples"):
                yield from nodes(inner, f"{place}/{name}")
    elif isinstance(value, list):
        for position, inner in enumerate(value):
            yield from nodes(inner, f"{place}/{position}")


def examples(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any], Any]]:
    """Where it is, its schema, and the example: beside a schema (of a body, an answer, a parameter), or in one."""
    for place, node in nodes(document):
        if isinstance(node.get("examples"), list):
            yield from ((place, node, value) for value in node["examples"])
        elif "schema" in node:
            named = node.get("examples", {})
            yield from ((f"{place}: {name}", node["schema"], one["value"]) for name, one in named.items())
            if "example" in node:
                yield place, node["schema"], node["example"]


@pytest.mark.parametrize("service", SERVICES)
def test_each_example_fits_its_schema(service: str) -> None:
    document = DOCUMENTS[service]
    found = list(examples(document))
    for place, schema, value in found:
        validator = jsonschema.Draft202012Validator({**schema, "components": document["components"]})
        assert [error.message for error in validator.iter_errors(value)] == [], place
    assert len(found) > len(document["paths"])


@pytest.mark.parametrize("service", SERVICES)
def test_what_tells_the_kinds_of_an_object_apart_is_required_of_each(service: str) -> None:
    document = DOCUMENTS[service]
    told = [node["discriminator"] for _, node in nodes(document) if isinstance(node.get("discriminator"), dict)]
    assert told
    for one in told:
        for reference in one["mapping"].values():
            name = reference.removeprefix("#/components/schemas/")
            assert one["propertyName"] in document["components"]["schemas"][name]["required"], name


@pytest.mark.parametrize("service", SERVICES)
def test_the_service_takes_the_example_of_each_body(service: str, tmp_path: Path) -> None:
    settings = import_module(f"services.{service}.settings").Settings(mode="development", data_dir=tmp_path)
    app = import_module(f"services.{service}.app").create_app(settings)
    fields = {
        route.unique_id: route.body_field
        for route in app.operations()
        if isinstance(route, APIRoute) and route.body_field is not None
    }
    operations = [
        one
        for item in DOCUMENTS[service]["paths"].values()
        for one in item.values()
        if "application/json" in one.get("requestBody", {}).get("content", {})
    ]
    assert fields.keys() == {one["operationId"] for one in operations} != set()
    for one in operations:
        example = one["requestBody"]["content"]["application/json"]["example"]
        _, errors = fields[one["operationId"]].validate(example, {}, loc=("body",))
        assert not errors, one["operationId"]
