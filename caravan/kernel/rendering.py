"""How a failure becomes an `application/problem+json` answer. Nothing of refused input is in one, and no internals."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from fastapi.exceptions import RequestValidationError
from starlette.responses import Response

from caravan.kernel.bodies import escape_pointer
from caravan.kernel.logs import current_request_id
from caravan.kernel.problems import FieldError, Invalid, Problem
from caravan.kernel.wrong_input import fields, told, words

MEDIA_TYPE: Final = "application/problem+json"
MAX_ERRORS: Final = 50


def problem_body(problem: Problem) -> bytes:
    """The answer's bytes, with the id of the request that is being served."""
    body = problem.body()
    request_id = current_request_id()
    if request_id is not None:
        body["request_id"] = request_id
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def problem_response(problem: Problem, headers: Mapping[str, str] | None = None) -> Response:
    """The whole answer: body, status and headers."""
    return Response(problem_body(problem), problem.status, problem.response_headers() | dict(headers or {}), MEDIA_TYPE)


ProblemTypes = Mapping[str, type[Problem]]
"""Which error types (of PydanticCustomError) make the whole answer another problem than `invalid`."""


def validation_problem(error: RequestValidationError, problem_types: ProblemTypes) -> Problem:
    """The problem that says what is wrong with which field."""
    found = told(error.errors())
    errors = [field_error(one) for one in found[:MAX_ERRORS]]
    for one in found:
        special = problem_types.get(one["type"])
        if special is not None:
            return special(errors=[field_error(e) for e in found if e["type"] == one["type"]][:MAX_ERRORS])
    return Invalid(errors=errors)


def field_error(error: Mapping[str, Any]) -> FieldError:
    """One pydantic error as where, what and what to do."""
    return FieldError(pointer=pointer(error["loc"]), code=error["type"], detail=words(error))


def pointer(location: Sequence[str | int]) -> str:
    """`/resources/nodes` (RFC 6901, the whole body is "") for bodies; `query/limit`, `header/If-Match`, `path/id` for others."""
    where, parts = location[0], fields(location[1:])
    if where == "body":
        return "".join("/" + escape_pointer(part) for part in parts)
    if where == "header":
        parts = ["-".join(word.capitalize() for word in part.split("-")) for part in parts]
    return "/".join([str(where), *map(escape_pointer, parts)])
