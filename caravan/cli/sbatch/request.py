"""What a script says, and what it asks for by that."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Written:
    """An option as it stands in the script."""

    line: int
    name: str
    value: str
    text: str


@dataclass(frozen=True)
class Note:
    """What was found at an option; no line where the option is missing."""

    line: int | None
    option: str
    why: str

    def __str__(self) -> str:
        return f"{self.option}: {self.why}" if self.line is None else f"line {self.line}: {self.option}: {self.why}"


@dataclass
class Request:
    """What the lines ask for: fields of a JobSpec, of its resources and of its environment, None where they don't say.

    `kind` is the accelerator's name as it stands in the script; `match` finds it in a catalog.
    """

    fields: dict[str, Any] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)
    resources: dict[str, Any] = field(default_factory=dict)
    kind: tuple[Written, str] | None = None
    warnings: list[Note] = field(default_factory=list)
    errors: list[Note] = field(default_factory=list)
