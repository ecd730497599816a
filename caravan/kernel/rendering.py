"""How a failure becomes an `application/problem+json` answer. Nothing of refused input is in one, and no internals."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from fastapi.exceptions import RequestValidationError
from starlette.responses import Response

from caravan.kernel import ids
from caravan.kernel.bodies import escape_pointer
from caravan.kernel.logs import current_request_id
from caravan.kernel.problems import FieldError, Invalid, Problem

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
    found = [one for one in error.errors() if not _follows(one, error.errors())]
    errors = [field_error(one) for one in found[:MAX_ERRORS]]
    for one in found:
        special = problem_types.get(one["type"])
        if special is not None:
            return special(errors=[field_error(e) for e in found if e["type"] == one["type"]][:MAX_ERRORS])
    return Invalid(errors=errors)


def _follows(error: Mapping[str, Any], found: Sequence[Mapping[str, Any]]) -> bool:
    """A list is called too short when its items are wrong."""
    length = len(error["loc"])
    return error["type"] == "too_short" and any(
        len(one["loc"]) > length and one["loc"][:length] == error["loc"] for one in found
    )


def field_error(error: Mapping[str, Any]) -> FieldError:
    """One pydantic error as where, what and what to do."""
    return FieldError(pointer=pointer(error["loc"]), code=error["type"], detail=words(error))


def pointer(location: Sequence[str | int]) -> str:
    """`/resources/nodes` (RFC 6901, the whole body is "") for bodies; `query/limit`, `header/If-Match`, `path/id` for others."""
    where, parts = location[0], [str(part) for part in location[1:] if part != "[key]"]
    if where == "body":
        return "".join("/" + escape_pointer(part) for part in parts)
    if where == "header":
        parts = ["-".join(word.capitalize() for word in part.split("-")) for part in parts]
    return "/".join([str(where), *map(escape_pointer, parts)])


_ID: Final = re.compile(re.escape(ids.pattern("org")).replace("org", "([a-z]{3})"))
"""The pattern of an id; finds its prefix."""
_WORDS: Final[dict[str, str]] = {
    "missing": "This is required; give it.",
    "extra_forbidden": "There is no such field here; remove it.",
    "int_type": "Give a whole number.",
    "int_parsing": "Give a whole number.",
    "int_parsing_size": "This number is too large.",
    "int_from_float": "Give a whole number, without a fraction.",
    "float_type": "Give a number.",
    "float_parsing": "Give a number.",
    "finite_number": "Give a finite number.",
    "bool_type": "Give true or false.",
    "bool_parsing": "Give true or false.",
    "string_type": "Give text (a JSON string).",
    "string_unicode": "This text is not valid Unicode; send whole characters.",
    "dict_type": "Give a JSON object.",
    "model_type": "Give a JSON object.",
    "model_attributes_type": "Give a JSON object.",
    "list_type": "Give a JSON array.",
    "tuple_type": "Give a JSON array.",
    "set_type": "Give a JSON array.",
    "frozen_set_type": "Give a JSON array.",
    "timezone_aware": "Give the time with its offset, for example 2026-01-31T08:00:00Z.",
    "datetime_type": "Give a time as RFC 3339, for example 2026-01-31T08:00:00Z.",
    "datetime_parsing": "Give a time as RFC 3339, for example 2026-01-31T08:00:00Z.",
    "datetime_from_date_parsing": "Give a time as RFC 3339, for example 2026-01-31T08:00:00Z.",
    "datetime_object_invalid": "Give a time as RFC 3339, for example 2026-01-31T08:00:00Z.",
    "date_parsing": "Give a date as RFC 3339, for example 2026-01-31.",
    "date_from_datetime_parsing": "Give a date as RFC 3339, for example 2026-01-31.",
    "union_tag_not_found": "The field that tells the kinds apart is missing; give it.",
    # These two carry what a validator said, which may quote the input: validators raise PydanticCustomError instead.
    "value_error": "This value is not accepted here.",
    "assertion_error": "This value is not accepted here.",
}


def words(error: Mapping[str, Any]) -> str:
    """What is wrong and what to do, in plain words that never quote the input."""
    kind, context = error["type"], error.get("ctx") or {}
    if kind in _WORDS:
        return _WORDS[kind]
    if kind == "too_short":
        return f"Give at least {context['min_length']} of them."
    if kind == "too_long":
        return f"Give at most {context['max_length']} of them."
    if kind == "union_tag_invalid":  # pydantic's words quote the tag
        return f"Give one of {context.get('expected_tags', 'the kinds that are known here')}."
    if kind == "string_pattern_mismatch" and (of_id := _ID.fullmatch(context.get("pattern", ""))):
        return f"Give an id: {of_id[1]}_ and 32 hexadecimal digits."
    message = str(error["msg"]).replace("Input should be", "This should be").replace("Input should", "This should")
    return message if message.endswith((".", "?", '"')) else message + "."
