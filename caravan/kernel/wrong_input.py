"""What a person reads of input that is wrong: what to do, in plain words that never quote the input."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeVar

from caravan.kernel import ids

Error = TypeVar("Error", bound=Mapping[str, Any])
"""As pydantic lists them."""
OF_PATTERNS: Final[dict[str, str]] = {}
"""What to give where text must match a pattern, by the pattern: a whole sentence."""
_ID: Final = re.compile(re.escape(ids.pattern("org")).replace("org", "([a-z]{3})"))
"""The pattern of an id; finds its prefix."""
_NO_FIELD: Final = re.compile(r"\[key\]|(?:tuple|literal)\[.+\]")
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
    if kind == "too_short" and isinstance(error.get("input"), str):
        return "Write something here."
    if kind == "too_short":
        return f"Give at least {context['min_length']} of them."
    if kind == "too_long":
        return f"Give at most {context['max_length']} of them."
    if kind == "union_tag_invalid":  # pydantic's words quote the tag
        return f"Give one of {context.get('expected_tags', 'the kinds that are known here')}."
    if kind == "string_pattern_mismatch" and (of_id := _ID.fullmatch(context.get("pattern", ""))):
        return f"Give an id: {of_id[1]}_ and 32 hexadecimal digits."
    said = OF_PATTERNS.get(context.get("pattern", "")) if kind == "string_pattern_mismatch" else None
    message = said or str(error["msg"]).replace("Input should be", "This should be").replace(
        "Input should", "This should"
    )
    return message if message.endswith((".", "?", '"')) else message + "."


def fields(place: Sequence[str | int]) -> list[str]:
    """Those of a place as pydantic has it: without that it is of a key, or of one of several kinds."""
    return [str(part) for part in place if not _NO_FIELD.fullmatch(str(part))]


def told(errors: Sequence[Error]) -> list[Error]:
    """Those that a person is to read: a list is called too short when its items are wrong."""
    return [one for one in errors if not _follows(one, errors)]


def _follows(error: Mapping[str, Any], found: Sequence[Mapping[str, Any]]) -> bool:
    length = len(error["loc"])
    return error["type"] == "too_short" and any(
        len(one["loc"]) > length and one["loc"][:length] == error["loc"] for one in found
    )
