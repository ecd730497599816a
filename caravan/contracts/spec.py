"""What an enterprise asks for: a script or a container, the resources of each task, and where it may run."""

import re
from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated, Any, Self

from pydantic import AfterValidator, Field, StringConstraints, model_validator
from pydantic_core import PydanticCustomError

from caravan.contracts.base import Label, Model, Name, Positive, TargetField, TargetValue
from caravan.contracts.ids import AcceleratorId, OfferingId, ProjectId, ProviderId
from caravan.contracts.offerings import Tier
from caravan.kernel.money import Money

SCRIPT_BYTES = 524_288
VALUE_BYTES = 65_536
"""Linux takes 131,072 for a name and its value together."""
WORDS_BYTES = 131_072
"""apptainer 1.4 hands words and variables on as JSON of at most 1 MiB, in which a byte may take six."""
MAX_ARRAY_INDEX = 1_000_000

_IMAGE = r"^(?:(?:docker|oras)://[A-Za-z0-9][A-Za-z0-9._/:@+-]*|/[A-Za-z0-9._/@+-]+)$"


def _script(value: str) -> str:
    if "\0" in value:
        raise PydanticCustomError("nul_character", "A NUL character is not allowed in a script")
    if len(value.encode()) > SCRIPT_BYTES:
        raise PydanticCustomError("script_too_long", "A script has at most 524,288 bytes of UTF-8")
    if not value.strip():
        raise PydanticCustomError("script_empty", "The script is empty")
    if value.startswith("#!") and value.partition("\n")[0].endswith("\r"):
        raise PydanticCustomError(
            "script_line_ends", "Its first line ends with CR LF; save the script with LF line ends"
        )
    return value


def _environment_value(value: str) -> str:
    if "\0" in value:
        raise PydanticCustomError("nul_character", "A NUL character is not allowed here")
    if len(value.encode()) > VALUE_BYTES:
        raise PydanticCustomError("value_too_long", "A value has at most 65,536 bytes of UTF-8")
    return value


def _image(value: str) -> str:
    if not re.fullmatch(_IMAGE, value):
        raise PydanticCustomError(
            "string_pattern_mismatch",
            "Give docker:// or oras:// and an image's name, or its path at the site, from letters, digits and . _ - / @ +",
        )
    if ".." in value.split("/"):
        raise PydanticCustomError("image", "An image's path has no `..`")
    return value


Script = Annotated[str, AfterValidator(_script)]
EnvName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,127}$")]
EnvValue = Annotated[str, StringConstraints(max_length=VALUE_BYTES), AfterValidator(_environment_value)]
Image = Annotated[str, Field(max_length=500, json_schema_extra={"pattern": _IMAGE}), AfterValidator(_image)]
Words = Annotated[tuple[EnvValue, ...], Field(max_length=1000)]
Index = Annotated[int, Field(ge=0, le=MAX_ARRAY_INDEX, strict=True)]


class Resources(Model):
    """What each array task gets. `tasks_per_node` is Slurm's word: processes, not array tasks."""

    nodes: Annotated[int, Field(ge=1, le=100_000, strict=True)] = 1
    tasks_per_node: Annotated[int, Field(ge=1, le=100_000, strict=True)] = 1
    cpus_per_task: Annotated[int, Field(ge=1, le=100_000, strict=True)] = 1
    memory_mib_per_node: Annotated[int, Field(ge=1, le=2**40, strict=True)] = 1024
    accelerators_per_node: Annotated[int, Field(ge=0, le=100_000, strict=True)] = 0
    accelerator: AcceleratorId | None = None
    walltime_seconds: Annotated[int, Field(ge=1, le=366 * 86_400, strict=True)]

    @property
    def cpus_per_node(self) -> int:
        return self.tasks_per_node * self.cpus_per_task

    @model_validator(mode="after")
    def _accelerators_agree(self) -> Self:
        if self.accelerator is not None and self.accelerators_per_node == 0:
            raise PydanticCustomError("accelerator", "Give accelerators_per_node too, or leave accelerator out")
        return self


class Container(Model):
    """A program in an image. It runs where a script would: at Slurm once, on the first node; at Kubernetes on each node."""

    image: Image = Field(
        description="`docker://…` or `oras://…`, or the path of a `.sif` file or an unpacked image at the site.",
        examples=["docker://python:3.13-slim"],
    )
    command: Words = Field(
        default=(),
        description="What runs, word by word: no shell reads it. Without it, what the image itself names to run (its entrypoint).",
        examples=[["python3", "-c", "print('hello')"]],
    )
    args: Words = Field(default=(), description="Words after the command, or after what the image names to run.")

    @model_validator(mode="after")
    def _not_too_long(self) -> Self:
        if self.command[:1] == ("",):
            raise PydanticCustomError("command", "A command's first word is the program, and can't be empty")
        if sum(len(word.encode()) for word in (*self.command, *self.args)) > WORDS_BYTES:
            raise PydanticCustomError(
                "command_too_long", "Command and args together have at most 131,072 bytes of UTF-8"
            )
        return self

    def among(self, images: Sequence[str]) -> bool:
        """Whether the image is one of these, or below one: `docker://registry.example/lab` has `…/lab/a:1`, and not `…/lab2`."""
        return any(self.image == image or _goes_on(self.image, image.rstrip("/")) for image in images)


def _goes_on(image: str, start: str) -> bool:
    """Whether it is below `start`, or that with a tag or digest. These have no `/`: behind a registry, `:1/a` is another port."""
    rest = image.removeprefix(start) if image.startswith(start) else ""
    return rest.startswith("/") or (rest.startswith((":", "@")) and "/" not in rest and "://" in start)


def exactly_one(script: str | None, container: Container | None) -> None:
    """A job runs one of these."""
    if (script is None) == (container is None):
        raise PydanticCustomError("script_or_container", "Give exactly one of script and container")


class Array(Model):
    """Run the job once per index, at most `max_parallel` at a time."""

    indices: tuple[Index, ...] = Field(min_length=1, max_length=100_000)
    max_parallel: Positive | None = None

    @model_validator(mode="after")
    def _unique(self) -> Self:
        if len(set(self.indices)) != len(self.indices):
            raise PydanticCustomError("array_indices", "Each index of an array stands once")
        return self


class Where(Model):
    """Where the job may run; an empty list means anywhere."""

    tiers: tuple[Tier, ...] = ()
    offerings: tuple[OfferingId, ...] = ()
    providers: tuple[ProviderId, ...] = ()
    regions: tuple[Name, ...] = ()


class Prefer(StrEnum):
    CHEAPEST = "cheapest"


NOT_SUPPORTED_HERE = ("deadline", "priority")


class JobSpec(Model):
    """What an enterprise asks for: a script or a container."""

    name: Name
    project: ProjectId
    script: Script | None = Field(
        default=None,
        description="Starts with a `#!` line, or is run by /bin/sh.",
        examples=["#!/bin/sh\necho hello\n"],
    )
    container: Container | None = Field(
        default=None,
        description="Instead of a script; offerings whose sites run no containers are refused.",
        examples=[None],
    )
    environment: dict[EnvName, EnvValue] = Field(default_factory=dict, max_length=1000)
    resources: Resources
    array: Array | None = None
    where: Where = Field(default_factory=Where)
    prefer: Prefer = Prefer.CHEAPEST
    max_cost: Money | None = Field(default=None, description="Candidates whose worst case is dearer are refused.")
    max_attempts: Annotated[int, Field(ge=1, le=10, strict=True)] = 3
    options: dict[TargetField, TargetValue] = Field(
        default_factory=dict,
        max_length=20,
        description="What the backend is told beyond the resources, of what an offering's `choices` allow; "
        "offerings that don't are refused.",
        examples=[{}],
    )
    labels: dict[Label, Label] = Field(default_factory=dict, max_length=50)

    @model_validator(mode="before")
    @classmethod
    def _supported_here(cls, data: Any) -> Any:
        if isinstance(data, dict):
            used = [name for name in NOT_SUPPORTED_HERE if data.get(name) is not None]
            if data.get("prefer") in ("soonest", "balanced"):
                used.append("prefer")
            if used:
                raise PydanticCustomError(
                    "not_supported_here", "Not supported by this installation: {fields}", {"fields": ", ".join(used)}
                )
        return data

    @model_validator(mode="after")
    def _one_thing_to_run(self) -> Self:
        exactly_one(self.script, self.container)
        return self

    @property
    def indices(self) -> tuple[int, ...]:
        """The array's indexes in order; a job without an array has the one index 0."""
        return tuple(sorted(self.array.indices)) if self.array else (0,)

    @property
    def max_parallel(self) -> int:
        """How many array tasks may run at once."""
        return min(len(self.indices), self.array.max_parallel or len(self.indices)) if self.array else 1


class JobBatch(Model):
    """Jobs that are sent together. Each is accepted or refused for itself, in this order."""

    jobs: tuple[JobSpec, ...] = Field(min_length=1, max_length=1000)
