"""What a person reads of settings that aren't as an adapter's schema has them; on those of a Slurm site."""

from collections.abc import Iterator
from typing import Any

import pytest

from caravan.contracts.base import PATTERN_WORDS, Model
from caravan.kernel.bodies import escape_pointer
from caravan.kernel.problems import FieldError
from services.broker.adapters.kubernetes import settings as kubernetes
from services.broker.adapters.slurm.settings import Settings, Target, Tenant
from services.catalog.sites.schema import faults

RIGHT = {"url": "http://ctl:6820", "cluster": "c", "user": "slurm", "token": {"key_file": "k"}, "folder": "/work"}


def told(**changed: Any) -> list[tuple[str, str, str]]:
    found = faults(Settings.model_json_schema(), RIGHT | changed, "/settings")
    return [(fault.pointer.removeprefix("/settings/"), fault.code, fault.detail) for fault in found]


@pytest.mark.parametrize(
    ("containers", "where", "code"),
    [
        ({"runtime": "apptainer", "images": ["/a", "docker://a,b"]}, "containers/images/1", "pattern"),
        ({"runtime": "apptainer", "imges": []}, "containers/imges", "extra_forbidden"),
        ({"runtime": "apptainer", "options": "--nv"}, "containers/options", "type"),
        ({"runtime": "slurm", "program": "runc", "images": 1, "a": 1}, "containers/images", "type"),
        ("apptainer", "containers", "type"),
    ],
)
def test_of_several_forms_the_fault_is_that_of_the_one_which_was_meant(containers: Any, where: str, code: str) -> None:
    assert (where, code) in [found[:2] for found in told(containers=containers)]
    assert all(
        found[0].startswith("containers") and found[1] not in ("const", "oneOf")
        for found in told(containers=containers)
    )


@pytest.mark.parametrize("containers", [{}, {"runtime": "podman"}, {"runtime": ["slurm"], "program": "a"}])
def test_what_tells_several_forms_apart_is_named_with_all_of_them(containers: Any) -> None:
    assert told(containers=containers) == [("containers/runtime", "enum", "Give one of apptainer, slurm.")]


def test_a_form_without_a_name_is_the_one_of_the_right_type() -> None:
    assert told(qos=7) == [("qos", "type", "The type has to be string.")]
    assert told(token={}) == [("token", "minProperties", "Give at least 1 of the fields here.")]
    one_or_many = {"anyOf": [{"type": "array", "items": {"minimum": 1}}, {"type": "integer", "minimum": 1}]}
    assert [fault.pointer for fault in faults(one_or_many, [1, 0], "/a")] == ["/a/1"]
    assert [fault.code for fault in faults(one_or_many, 0, "/a")] == ["minimum"]


def test_what_a_pattern_allows_is_said_in_words_where_the_schema_has_them() -> None:
    ((where, code, words),) = told(user="Root")
    assert (where, code) == ("user", "pattern")
    assert words.startswith("Give the name of a Unix user: at most 32 of a-z, 0-9,") and "{0,31}" not in words
    ((_, _, words),) = told(containers={"runtime": "slurm", "images": ["docker://a"]})
    assert words == "Give a path that begins with / and has no comma."
    (other,) = faults({"type": "string", "pattern": "^[a-z]+$"}, "A", "/a")
    assert other.detail == "This has to match the regular expression ^[a-z]+$"


MODELS = [Settings, Tenant, Target, kubernetes.Settings, kubernetes.Tenant, kubernetes.Target]


@pytest.mark.parametrize("model", MODELS)
def test_each_pattern_of_a_site_has_words(model: type[Model]) -> None:
    found = list(patterns(model.model_json_schema()))
    assert found
    assert [one["pattern"] for one in found if PATTERN_WORDS not in one] == []


@pytest.mark.parametrize(
    ("model", "field", "right", "wrong", "words"),
    [
        (kubernetes.Target, "node_selector", {"example/zone": "a"}, "zone a", "Give the name of a label or of a resource: "),
        (kubernetes.Settings, "model_labels", {"example/card": "model"}, "a/b/c", "Give the name of a label or of a resource: "),
        (kubernetes.Settings, "slices", {"acc_a": {"resource": "r", "amount": 1}}, "a", "This has to match the regular expression ^acc_"),
        (Settings, "partitions", {"gpu": {}}, ".gpu", "Give a name as Slurm has it: "),
    ],
)  # fmt: skip
def test_a_key_that_is_no_name_is_refused_with_what_a_name_is(
    model: type[Model], field: str, right: dict[str, Any], wrong: str, words: str
) -> None:
    def told(given: Any) -> list[FieldError]:
        schema = model.model_json_schema()
        return faults(schema | {"required": []}, {field: given}, "")

    assert told(right) == []
    (value,) = right.values()
    (fault,) = told(right | {wrong: value})
    assert (fault.pointer, fault.code) == (f"/{field}/{escape_pointer(wrong)}", "pattern")
    assert fault.detail.startswith(words)


@pytest.mark.parametrize("model", MODELS)
def test_a_site_takes_no_keys_but_those_that_it_describes(model: type[Model]) -> None:
    assert [one for one in described(model.model_json_schema()) if one.get("additionalProperties", True) is True] == []


def described(schema: Any) -> Iterator[dict[str, Any]]:
    """Every schema in it of an object whose fields are described, by name or by a pattern."""
    inner = schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list) else ()
    if (
        isinstance(schema, dict)
        and schema.get("type") == "object"
        and {"properties", "patternProperties"} & schema.keys()
    ):
        yield schema
    for one in inner:
        yield from described(one)


def patterns(schema: Any) -> Iterator[dict[str, Any]]:
    """Every schema in it of a text that has to match something; not of ids, which the platform itself gives out."""
    inner = schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list) else ()
    if isinstance(schema, dict) and not schema.get("pattern", "^acc_").startswith("^acc_"):
        yield schema
    for one in inner:
        yield from patterns(one)
