"""Strict JSON: what isn't JSON names its byte, what JSON can carry and the platform can't names its field."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caravan.kernel.bodies import MAX_DEPTH, parse_json
from caravan.kernel.problems import Invalid, NotJson


def offset(body: bytes | str) -> int:
    """Where `body` is refused."""
    with pytest.raises(NotJson) as caught:
        parse_json(body.encode() if isinstance(body, str) else body)
    found = caught.value.members["offset"]
    assert isinstance(found, int)
    return found


@pytest.mark.parametrize(
    ("body", "where"),
    [
        (b'{"a": "\xff"}', 7),
        (b'{"a": "\xe4\xb8"}', 7),
        (b"\xef\xbb\xbf{}", 0),
        (b'{"a": "\xed\xa0\x80"}', 7),
        ("{", 1),
        ('{"a": 1,}', 8),
        ("[1, 2", 5),
        ("{'a': 1}", 1),
        ('{"a": 1} x', 9),
        ('{"驼": 1} x', 11),
        ('{"a": "b\nc"}', 8),
        ('{"a": 01}', 7),
        ('{"a": NaN}', 6),
        ('{"NaN": ["NaN", -Infinity]}', 16),
        ('{"a": 1e999}', 6),
        ('{"a": "1e999", "b": [-1e999]}', 21),
        ('{"a": ' + "7" * 4301 + "}", 6),
        ('{"a": 1, "b": -' + "7" * 4301 + "}", 14),
    ],
)
def test_what_is_not_json_names_the_byte(body: bytes | str, where: int) -> None:
    assert offset(body) == where


@pytest.mark.parametrize(
    ("body", "where"),
    [
        ('{"a": 1, "a": 2}', 9),
        ('{"a": 1, "b": {"a": 1}, "a": 2}', 24),
        ('[{"x": [1, 2]}, {"x": "x", "y": {"z": 1, "z": 1}}]', 41),
        ('{"a": "a", "b": ["a", "a"], "a": 1}', 28),
        ('{"aa": 1, "a\\u0061": 2}', 10),
        ('{"驼": 1, "驼": 2}', 11),
        ('{"": 1, "": 2}', 8),
        ('{"a\\"": 1, "a\\"": 2}', 11),
        ('{"a": {"b": 1}, "c": [], "a": {}}', 25),
    ],
)
def test_a_repeated_key_names_the_byte_of_its_second_occurrence(body: str, where: int) -> None:
    assert offset(body) == where


@pytest.mark.parametrize("body", ["[" * 100_000, '{"a":' * 100_000, "[" * 65 + "]" * 65, "[" * 900 + "]" * 900])
def test_nesting_is_limited(body: str) -> None:
    assert offset(body) == MAX_DEPTH * (5 if body[0] == "{" else 1)


def test_brackets_in_text_and_many_shallow_arrays_are_no_nesting() -> None:
    assert parse_json(json.dumps(["[" * 1000, "{" * 1000]).encode()) == ["[" * 1000, "{" * 1000]
    assert parse_json(json.dumps([[]] * 1000).encode()) == [[]] * 1000
    deepest = "[" * MAX_DEPTH + "]" * MAX_DEPTH
    assert json.dumps(parse_json(deepest.encode())) == deepest


@pytest.mark.parametrize(
    ("body", "pointer", "code"),
    [
        ('{"script": "a\\u0000b"}', "/script", "nul_character"),
        ('{"a": [1, {"b/c": "\\ud800"}]}', "/a/1/b~1c", "string_unicode"),
        ('{"a": {"\\udc00x": 1}}', "/a/\ufffdx", "string_unicode"),
        ('"\\ud800"', "", "string_unicode"),
        ('{"\\u0000": 1}', "/\ufffd", "nul_character"),
    ],
)
def test_a_lone_surrogate_or_nul_names_the_field(body: str, pointer: str, code: str) -> None:
    with pytest.raises(Invalid) as caught:
        parse_json(body.encode())
    assert [(e.pointer, e.code) for e in caught.value.errors] == [(pointer, code)]


def test_whole_surrogate_pairs_and_escaped_backslashes_are_fine() -> None:
    assert parse_json(b'["\\ud83d\\udc2a", "\\\\u0000", "\\\\ud800"]') == ["\U0001f42a", "\\u0000", "\\ud800"]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(), inner, max_size=5),
    max_leaves=20,
)


def _has_nul(value: Any) -> bool:
    return "\\u0000" in json.dumps(value).replace("\\\\", "")


@given(json_values, st.booleans())
def test_every_json_value_is_read_as_it_was_written(value: Any, escaped: bool) -> None:
    body = json.dumps(value, ensure_ascii=escaped).encode()
    if _has_nul(value):
        with pytest.raises(Invalid):
            parse_json(body)
    else:
        assert parse_json(body) == value


@given(
    st.binary(max_size=200) | st.text(alphabet='{}[]",:\\0123456789.eE+-tfnu \u9a7cNaI', max_size=60).map(str.encode)
)
def test_any_bytes_are_read_or_refused_with_an_offset_inside_them(body: bytes) -> None:
    refused: NotJson | Invalid | None = None
    try:
        parse_json(body)
    except (NotJson, Invalid) as problem:
        refused = problem
    if isinstance(refused, NotJson):
        where = refused.members["offset"]
        assert isinstance(where, int)
        assert 0 <= where <= len(body)
    elif refused is not None:
        assert refused.errors


@given(st.dictionaries(st.text(), json_values, min_size=1, max_size=5), json_values, st.data())
def test_repeating_any_key_of_any_object_is_found_at_its_byte(
    value: dict[str, Any], again: Any, data: st.DataObject
) -> None:
    key = data.draw(st.sampled_from(sorted(value)))
    text = json.dumps(value, ensure_ascii=False)[:-1] + ", "
    body = text + json.dumps(key, ensure_ascii=data.draw(st.booleans())) + ": " + json.dumps(again) + "}"
    assert offset(body) == len(text.encode())
