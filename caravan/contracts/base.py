"""The base of all contracts and the field types they share."""

import re
import unicodedata
from datetime import UTC, datetime
from typing import Annotated, Any, Final

from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints
from pydantic_core import PydanticCustomError

from caravan.kernel.wrong_input import OF_PATTERNS

PROSE_CHARACTERS: Final = 4000
_NUMBER: Final = re.compile(r"[+-]?[0-9.]+(?:[eE][+-]?[0-9]+)?")
_CONTROL: Final = re.compile("[\x00-\x1f\x7f\u202a-\u202e\u2066-\u2069]")
"""And what turns the direction of the text around it."""
_BLANK: Final = "\u115f\u1160\u2800\u3164\uffa0"
"""Letters and signs by Unicode's word that show nothing: Hangul fillers, the empty Braille pattern."""


class Model(BaseModel):
    """Frozen, and unknown fields are errors: what a peer doesn't know it must not silently drop."""

    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=False)


class Words(Model):
    """The same in both languages, each to be read by itself."""

    zh: str
    en: str


def _utc(value: datetime) -> datetime:
    try:
        return value.astimezone(UTC)
    except OverflowError:
        raise PydanticCustomError("datetime_range", "Give a time of the years 1 to 9999 in UTC") from None


def _written(value: Any) -> Any:
    """A number is no time: whether it counts seconds or milliseconds would be a guess."""
    if isinstance(value, int | float) or (
        isinstance(value, str) and ":" not in value and _NUMBER.fullmatch(value.strip())
    ):
        raise PydanticCustomError("datetime_type", "Give a time as RFC 3339, for example 2026-01-31T08:00:00Z")
    return value


def _second(value: datetime) -> datetime:
    second = _utc(value)
    if second.microsecond:
        raise PydanticCustomError("whole_second", "Give a time on a whole second, without a fraction")
    return second


def _whole_hour(value: datetime) -> datetime:
    if value.minute or value.second:
        raise PydanticCustomError("whole_hour", "Give a whole hour, like 2026-03-02T08:00:00Z")
    return value


def _clean(value: str) -> str:
    if _CONTROL.search(value):
        raise PydanticCustomError("control_character", "Control characters are not allowed here")
    if not _is_visible(value):
        raise PydanticCustomError("invisible", "Give a name that can be seen")
    return value


def _is_visible(value: str) -> bool:
    if value.isascii():  # and without control characters: but for the space, all of them show
        return bool(value.strip())
    return any(unicodedata.category(one)[0] not in "CMZ" and one not in _BLANK for one in value)


def _seen(value: str) -> str:
    if not _is_visible(value):
        raise PydanticCustomError("invisible", "Give words that can be seen")
    return value


def _no_nul(value: str) -> str:
    if "\0" in value:
        raise PydanticCustomError("nul_character", "A NUL character is not allowed here")
    return value


Instant = Annotated[AwareDatetime, BeforeValidator(_written), AfterValidator(_utc)]
"""RFC 3339 with an offset; kept and shown in UTC."""
Second = Annotated[AwareDatetime, BeforeValidator(_written), AfterValidator(_second)]
"""An instant on a whole second: spans, tariffs and periods have only these."""
WholeHour = Annotated[Second, AfterValidator(_whole_hour)]
Name = Annotated[str, StringConstraints(min_length=1, max_length=200, strip_whitespace=True), AfterValidator(_clean)]
"""A line of text that a person wrote."""
Prose = Annotated[str, StringConstraints(max_length=PROSE_CHARACTERS), AfterValidator(_no_nul)]
Reason = Annotated[Prose, StringConstraints(min_length=1), AfterValidator(_seen)]
"""What a person wrote for another to read."""
Label = Annotated[str, StringConstraints(min_length=1, max_length=63, pattern=r"^[A-Za-z0-9_.\-/]+$")]
Count = Annotated[int, Field(ge=0, le=2**53 - 1, strict=True)]
Positive = Annotated[int, Field(ge=1, le=2**53 - 1, strict=True)]
TargetField = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
"""A field of a backend target, which a job may be left to choose: `qos`."""
TargetValue = Annotated[str, StringConstraints(min_length=1, max_length=200)]
JsonObject = dict[str, Any]


def prose(text: str) -> str:
    """As much of `text`, which a backend or another machine wrote, as Prose may hold."""
    clean = text.replace("\0", "\ufffd")
    return clean if len(clean) <= PROSE_CHARACTERS else clean[: PROSE_CHARACTERS - 1] + "…"


def text(pattern: str) -> Any:
    """A string field that matches `pattern` (an id, mostly)."""
    return StringConstraints(pattern=pattern)


PATTERN_WORDS: Final = "x-pattern-words"
"""Beside `pattern` in a schema: what to give, for people. English, a whole sentence."""


def like(pattern: str, words: str, max_length: int | None = None) -> Any:
    """A string field that matches `pattern`; `words` say so to who gave something else."""
    OF_PATTERNS[pattern] = words
    return Field(pattern=pattern, max_length=max_length, json_schema_extra={PATTERN_WORDS: words})


NO_OTHER_KEYS: Final[JsonObject] = {"additionalProperties": False}
"""`json_schema_extra` of a dict whose keys match a pattern: pydantic takes no others, and leaves that out of the schema."""
