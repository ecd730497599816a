"""Holding settings against a JSON Schema (draft 2020-12) that an adapter announced. Pure."""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, cast

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError
from referencing import Registry

from caravan.contracts.base import PATTERN_WORDS
from caravan.kernel.bodies import escape_pointer
from caravan.kernel.problems import FieldError

MAX_ERRORS: Final = 50
_WORDS: Final[Mapping[str, Callable[[Any], str]]] = {
    "type": lambda kind: f"The type has to be {kind if isinstance(kind, str) else ' or '.join(kind)}.",
    "enum": lambda values: f"Give one of {', '.join(map(str, values))}.",
    "const": lambda value: f"This has to be {value}.",
    "minimum": lambda least: f"Give at least {least}.",
    "maximum": lambda most: f"Give at most {most}.",
    "exclusiveMinimum": lambda bound: f"Give more than {bound}.",
    "exclusiveMaximum": lambda bound: f"Give less than {bound}.",
    "minLength": lambda least: f"Give at least {least} characters.",
    "maxLength": lambda most: f"Give at most {most} characters.",
    "minItems": lambda least: f"Give at least {least} items.",
    "maxItems": lambda most: f"Give at most {most} items.",
    "minProperties": lambda least: f"Give at least {least} of the fields here.",
    "maxProperties": lambda most: f"Give at most {most} of the fields here.",
    "pattern": lambda pattern: f"This has to match the regular expression {pattern}",
}
"""The schema's keyword -> what to do. The validator's own words quote the input, which no answer may."""


def check_schema(schema: Mapping[str, Any]) -> None:
    """Raises jsonschema's SchemaError when `schema` itself is not one."""
    Draft202012Validator.check_schema(schema)


def faults(schema: Mapping[str, Any], value: Any, pointer: str) -> list[FieldError]:
    """What is wrong with `value`, which stands at `pointer`; empty when it matches. Never fetches a remote schema."""
    validator = Draft202012Validator(schema, registry=Registry())
    found = sorted(validator.iter_errors(value), key=lambda error: [str(part) for part in error.absolute_path])
    # each missing field is an error that names them all
    told = {(f.pointer, f.code): f for error in found for meant in _meant(error) for f in _told(meant, pointer)}
    return list(told.values())[:MAX_ERRORS]


def _meant(error: ValidationError) -> list[ValidationError]:
    """Where several forms are accepted, what is wrong with the one that was likely meant; else the error itself.

    The field that tells the forms apart says which it is (pydantic and OpenAPI name it in `discriminator`). Without one it is a form of the
    value's type with the fewest faults, the first of equal ones.
    """
    here = list(error.absolute_path)
    telling: list[str | int] | None = None
    match cast(Any, error.schema), cast(Any, error.instance):
        case {"discriminator": {"propertyName": str(tag), "mapping": {**kinds}}}, {**given}:
            if given.get(tag) not in list(kinds):
                return [ValidationError("", "enum", (tag,), validator_value=list(kinds), parent=error)]
            telling = [*here, tag]
    forms: dict[str | int, list[ValidationError]] = {}
    for inner in error.context or ():
        forms.setdefault(inner.relative_schema_path[0], []).extend(_meant(inner))

    def misfit(form: list[ValidationError]) -> tuple[bool, bool, int]:
        of_another_type = any(one.validator == "type" and list(one.absolute_path) == here for one in form)
        of_another_kind = any(list(one.absolute_path) == telling for one in form)
        return of_another_type, of_another_kind, len(form)

    return min(forms.values(), key=misfit, default=[error])


def _told(error: ValidationError, pointer: str) -> Iterator[FieldError]:
    at = pointer + "".join(f"/{escape_pointer(str(part))}" for part in error.absolute_path)
    keyword, rule, instance = str(error.validator), cast(Any, error.validator_value), cast(Any, error.instance)
    if keyword == "required":
        missing = [name for name in rule if name not in instance]
        yield from (_fault(f"{at}/{escape_pointer(name)}", "missing", "This is required; give it.") for name in missing)
    elif keyword == "additionalProperties" and rule is False:
        schema = cast(Any, error.schema)
        code, detail = _of_another_name(schema)
        extra = [name for name in instance if not _described(name, schema)]
        yield from (_fault(f"{at}/{escape_pointer(name)}", code, detail) for name in extra)
    elif keyword == "pattern" and PATTERN_WORDS in (schema := cast(Any, error.schema)):
        yield _fault(at, keyword, str(schema[PATTERN_WORDS]))
    else:
        words = _WORDS.get(keyword)
        yield _fault(at, keyword, words(rule) if words else "This is not as the schema has it.")


def _of_another_name(schema: Mapping[str, Any]) -> tuple[str, str]:
    """What a field is told that isn't described; where those of any name like a pattern are, what a name has to be."""
    for pattern in schema.get("patternProperties", ()):
        return "pattern", schema.get("propertyNames", {}).get(PATTERN_WORDS) or _WORDS["pattern"](pattern)
    return "extra_forbidden", "There is no such field here; remove it."


def _described(name: str, schema: Mapping[str, Any]) -> bool:
    patterns = schema.get("patternProperties", {})
    return name in schema.get("properties", {}) or any(re.search(pattern, name) for pattern in patterns)


def _fault(pointer: str, code: str, detail: str) -> FieldError:
    return FieldError(pointer=pointer, code=code, detail=detail)
