"""Field types that all contracts share: what they take, and as what."""

import string
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from caravan.contracts.base import Name, Reason, Second
from caravan.kernel.clock import from_seconds
from caravan.kernel.wrong_input import words

NAME, REASON, SECOND = TypeAdapter(Name), TypeAdapter(Reason), TypeAdapter(Second)
SEEN = set(string.ascii_letters + string.digits + string.punctuation)
ZONES = st.integers(-23 * 60, 23 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
SECONDS = st.builds(lambda second, zone: from_seconds(second).astimezone(zone), st.integers(-(2**35), 2**35), ZONES)


def refused(adapter: TypeAdapter[str] | TypeAdapter[datetime], value: object) -> str:
    with pytest.raises(ValidationError) as found:
        adapter.validate_python(value)
    return found.value.errors()[0]["type"]


@given(st.text(st.characters(max_codepoint=126), min_size=1, max_size=20))
def test_a_name_in_ascii_is_taken_when_a_sign_of_it_can_be_seen_and_none_controls(text: str) -> None:
    name = text.strip(" \t\n\v\f\r")  # what pydantic strips, unlike Python, leaves the separators x1c to x1f
    if name and all(sign >= " " for sign in name):
        assert set(name) & SEEN
        assert NAME.validate_python(text) == name
    else:
        refused(NAME, text)


@pytest.mark.parametrize("text", ["\u3164", "\u200b\u2800", "\u00a0\u0301"])
def test_a_name_of_signs_that_show_nothing_is_refused(text: str) -> None:
    assert refused(NAME, text) == "invisible"


@pytest.mark.parametrize("text", ["   ", "\n", "\u3000\n", "\u200b"])
def test_a_reason_that_nobody_can_read_is_refused(text: str) -> None:
    assert refused(REASON, text) == "invisible"
    assert REASON.validate_python(f"{text}发票不符{text}") == f"{text}发票不符{text}"


def test_who_writes_nothing_is_asked_for_text_and_not_for_more_things() -> None:
    with pytest.raises(ValidationError) as found:
        REASON.validate_python("")
    assert [words(error) for error in found.value.errors()] == ["Write something here."]


@given(SECONDS)
def test_a_second_is_taken_from_any_zone_and_kept_in_utc(at: datetime) -> None:
    second = SECOND.validate_python(at.isoformat())
    assert second == at
    assert second.tzinfo is UTC


@given(st.one_of(st.integers(), st.floats(allow_nan=False, allow_infinity=False)))
def test_a_number_is_no_time_however_it_is_written(number: float) -> None:
    for value in (number, str(number), f" {number} "):
        assert refused(SECOND, value) == "datetime_type"


def test_a_second_whose_zone_leaves_a_fraction_is_not_whole() -> None:
    crooked = timezone(timedelta(microseconds=1))
    assert refused(SECOND, datetime(2026, 1, 31, tzinfo=crooked)) == "whole_second"
    assert refused(SECOND, "2026-01-31T08:00:00.5Z") == "whole_second"
