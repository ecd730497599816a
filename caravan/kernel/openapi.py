"""The OpenAPI document: what FastAPI derives from the signatures, with every problem an operation can answer, and examples.

Problems of one status stand together as a `oneOf` told apart by `code`. Which ones can occur follows from the route itself:
`route_problems`. Examples are the models' own (`examples=[...]` on a field), put together; `invalid_examples` finds those that
their schema refuses.
"""

import http
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

import jsonschema
from fastapi.routing import APIRoute
from pydantic import TypeAdapter

from caravan.kernel import access
from caravan.kernel.problems import (
    BodyTimeout,
    Busy,
    FieldError,
    Internal,
    Invalid,
    NotFound,
    NotJson,
    Problem,
    TooLarge,
    Unauthenticated,
    UnsupportedMediaType,
)
from caravan.kernel.rendering import MEDIA_TYPE

REF: Final = "#/components/schemas/"


def route_problems(route: APIRoute) -> list[type[Problem]]:
    """What the operation can answer: the framework's own as far as they can occur, the dependencies', the declared."""
    roles, _ = access.authorizations(route.dependant)
    levels = [route.dependant, *access.walk(route.dependant)]
    in_path = any(level.path_params for level in levels)
    found: list[type[Problem]] = []
    if roles:
        found.append(Unauthenticated)
    if in_path or any(role.restricts for role in roles):
        found.append(NotFound)
    if route.body_field is not None:
        found += [NotJson, UnsupportedMediaType]
    if (route.methods or set()) - {"GET", "HEAD"}:
        found += [TooLarge, BodyTimeout]
    found.append(Invalid)  # an unknown parameter, at least
    found += access.declared_problems(route.dependant)
    for response in route.responses.values():
        found += response.get("problems", ())
    return list(dict.fromkeys([*found, Internal, Busy]))


def plain_responses(
    problems: Iterable[type[Problem]], declared: dict[int | str, dict[str, Any]]
) -> dict[int | str, Any]:
    """`responses` as FastAPI takes them: the statuses of the problems (their content follows in `document`) and all others."""
    out: dict[int | str, Any] = {
        status: {name: value for name, value in response.items() if name != "problems"}
        for status, response in declared.items()
        if "problems" not in response or len(response) > 1
    }
    for problem in problems:
        out.setdefault(problem.status, {"description": http.HTTPStatus(problem.status).phrase})
    return out


def document(base: dict[str, Any], operations: Iterable[tuple[str, Sequence[type[Problem]]]]) -> dict[str, Any]:
    """FastAPI's document `base` with problems and examples. `operations`: each operation id with its problems."""
    by_id = dict(operations)
    schemas: dict[str, Any] = base.setdefault("components", {}).setdefault("schemas", {})
    for item in base["paths"].values():
        for operation in item.values():
            of_status: dict[str, list[type[Problem]]] = {}
            for problem in by_id[operation["operationId"]]:
                of_status.setdefault(str(problem.status), []).append(problem)
                for name, schema in problem_schemas(problem).items():
                    schemas.setdefault(name, schema)
            for status, classes in of_status.items():
                operation["responses"][status] = _problem_response(classes, schemas)
            operation["responses"] = dict(sorted(operation["responses"].items()))
            for parameter in operation.get("parameters", ()):
                # its absence has a status of its own (428), so it is optional to FastAPI
                parameter["required"] = parameter["required"] or parameter["name"] == "If-Match"
            _add_examples(operation, schemas)
    base["components"]["schemas"] = dict(sorted(schemas.items()))
    return base


def schema_name(problem: type[Problem]) -> str:
    return f"{problem.__name__}Problem"


def problem_schemas(problem: type[Problem]) -> dict[str, Any]:
    """The component schema of a problem class, and those that it refers to, by name."""
    out: dict[str, Any] = {}

    def of(kind: Any) -> dict[str, Any]:
        schema = TypeAdapter(kind).json_schema(mode="serialization", ref_template=REF + "{model}")
        out.update(schema.pop("$defs", {}))
        return schema

    members = {name: of(kind) for name, kind in problem.member_types().items()}
    out[schema_name(problem)] = {
        "title": problem.title,
        "description": " ".join((problem.__doc__ or "").split()),
        "type": "object",
        "properties": {
            "type": {"type": "string", "format": "uri-reference"},
            "title": {"type": "string"},
            "title_zh": {"type": "string"},
            "status": {"type": "integer", "const": problem.status},
            "code": {"type": "string", "const": problem.code},
            "detail": {"type": "string"},
            "request_id": {"type": "string"},
            "errors": of(list[FieldError]),
            **members,
        },
        "required": ["type", "title", "title_zh", "status", "code", "detail", *members],
    }
    return out


def problem_example(problem: type[Problem], schemas: dict[str, Any]) -> dict[str, Any]:
    """What an answer looks like."""
    schema = schemas[schema_name(problem)]
    example = {
        "type": problem.type_uri(),
        "title": problem.title,
        "title_zh": problem.title_zh,
        "status": problem.status,
        "code": problem.code,
        "detail": schema["description"],
        "request_id": f"req_{HEX}",
    }
    if problem is Invalid:
        example["errors"] = [
            {
                "pointer": "/resources/walltime_seconds",
                "code": "greater_than_equal",
                "detail": "This should be greater than or equal to 1.",
            }
        ]
    return example | {name: sample(schema["properties"][name], schemas) for name in problem.member_types()}


def _problem_response(classes: Sequence[type[Problem]], schemas: dict[str, Any]) -> dict[str, Any]:
    refs = [{"$ref": REF + schema_name(problem)} for problem in classes]
    schema: dict[str, Any] = refs[0]
    if len(refs) > 1:
        mapping = {problem.code: REF + schema_name(problem) for problem in classes}
        schema = {"oneOf": refs, "discriminator": {"propertyName": "code", "mapping": mapping}}
    headers = sorted({header for problem in classes for header in problem.headers})
    response: dict[str, Any] = {
        "description": "; ".join(problem.title for problem in classes),
        "content": {
            MEDIA_TYPE: {
                "schema": schema,
                "examples": {
                    problem.code: {"summary": problem.title, "value": problem_example(problem, schemas)}
                    for problem in classes
                },
            }
        },
    }
    if headers:
        response["headers"] = {header: {"schema": {"type": "string"}} for header in headers}
    return response


def _json_contents(operation: dict[str, Any]) -> Iterator[dict[str, Any]]:
    body = operation.get("requestBody", {}).get("content", {}).get("application/json")
    if body:
        yield body
    for status, response in operation["responses"].items():
        content = response.get("content", {}).get("application/json")
        if status.startswith("2") and content:
            yield content


def _add_examples(operation: dict[str, Any], schemas: dict[str, Any]) -> None:
    for content in _json_contents(operation):
        if "example" not in content and "examples" not in content and content.get("schema"):
            content["example"] = sample(content["schema"], schemas)


def invalid_examples(doc: dict[str, Any]) -> list[str]:
    """Operations whose request or answer example is missing or breaks its schema, with why."""
    out = []
    for path, item in doc["paths"].items():
        for method, operation in item.items():
            for content in _json_contents(operation):
                schema = {**content["schema"], "components": doc["components"]}
                validator = jsonschema.Draft202012Validator(schema)
                out += [
                    f"{method.upper()} {path}: {error.json_path}: {error.message}"
                    for error in validator.iter_errors(content.get("example"))
                ]
    return out


HEX: Final = "0198c5d2a1b07c3e8f4a5b6c7d8e9f01"
_WORDS: Final = (
    "example",
    "demo-1",
    "1.00",
    "0.35",
    "91310000775785552L",
    "stdout",
    f"acc_{HEX}",
    "acc_nvidia-h100-80g",
)
_FORMATS: Final = {
    "date-time": "2026-01-31T08:00:00Z",
    "date": "2026-01-31",
    "time": "08:00:00",
    "duration": "PT1H",
    "uri": "https://example.org/",
    "email": "someone@example.org",
    "uuid": "0198c5d2-a1b0-7c3e-8f4a-5b6c7d8e9f01",
}


def sample(schema: dict[str, Any], schemas: dict[str, Any], depth: int = 0) -> Any:
    """A value that the schema accepts: its own example where it has one, else required fields and those with examples."""
    if "$ref" in schema:
        return sample(schemas[schema["$ref"].removeprefix(REF)], schemas, depth + 1) if depth < 24 else {}
    for key in ("examples", "enum"):
        if schema.get(key):
            return schema[key][0]
    for key in ("example", "const", "default"):
        if schema.get(key) is not None:
            return schema[key]
    for key in ("anyOf", "oneOf", "allOf"):
        if key in schema:
            return sample(next((s for s in schema[key] if s.get("type") != "null"), schema[key][0]), schemas, depth + 1)
    match schema.get("type"):
        case "object":
            required = schema.get("required", [])
            found = {
                name: sample(inner, schemas, depth + 1)
                for name, inner in schema.get("properties", {}).items()
                if name in required or "examples" in inner
            }
            if schema.get("minProperties", 0) > len(found) and isinstance(schema.get("additionalProperties"), dict):
                key = sample(schema.get("propertyNames", {}) | {"type": "string"}, schemas, depth + 1)
                found[key] = sample(schema["additionalProperties"], schemas, depth + 1)
            return found
        case "array":
            if "prefixItems" in schema:
                return [sample(inner, schemas, depth + 1) for inner in schema["prefixItems"]]
            count = max(schema.get("minItems", 0), 1)
            return [sample(schema["items"], schemas, depth + 1)] * count if schema.get("items") else []
        case "string":
            return _sample_string(schema)
        case "integer" | "number":
            low = schema.get("minimum", schema.get("exclusiveMinimum", 0) + 1)
            return int(min(max(low, 1), schema.get("maximum", 10**18)))
        case "boolean":
            return False
    return {} if not schema.get("type") else None


def _sample_string(schema: dict[str, Any]) -> str:
    if schema.get("format") in _FORMATS:
        return _FORMATS[schema["format"]]
    pattern = schema.get("pattern")
    if pattern and (choices := re.fullmatch(r"\^\(([a-z_]+)(\|[a-z_]+)*\)\$", pattern)):
        return choices[1]
    if pattern:
        prefixed = re.match(r"\^(?:\((?:\?:)?)?([a-z]{3})(?:\|[a-z]{3})*\)?_\[0-9a-f\]\{32\}", pattern)
        words = [f"{prefixed[1]}_{HEX}"] if prefixed else [word for word in _WORDS if re.search(pattern, word)]
        return words[0] if words else ""
    return "example".ljust(schema.get("minLength", 0), "x")[: schema.get("maxLength", 100)]


def known_problems() -> dict[str, type[Problem]]:
    """Every problem class of this process, by code."""
    out: dict[str, type[Problem]] = {}
    waiting: list[type[Problem]] = [Problem]
    while waiting:
        one = waiting.pop(0)
        waiting += one.__subclasses__()
        if one is not Problem:
            out.setdefault(one.code, one)
    return out
