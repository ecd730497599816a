"""What differs between the versions of slurmrestd's API: how a job is asked for, and how values are written. Nowhere else. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

OLDEST: Final = 38
NEWEST: Final = 45


@dataclass(frozen=True, slots=True)
class Dialect:
    """v0.0.38 is 22.05's; from v0.0.39 on numbers can be unset or infinite, and lists are lists."""

    minor: int

    @property
    def version(self) -> str:
        return f"v0.0.{self.minor}"

    @property
    def lists_states(self) -> bool:
        """`/jobs/state/` came with 24.05."""
        return self.minor >= 41

    @property
    def books_know_exit_codes(self) -> bool:
        """22.05's slurmdb gives 0 for a job that failed with 7."""
        return self.minor >= 39

    def number(self, value: int) -> Any:
        return value if self.minor == OLDEST else {"set": True, "infinite": False, "number": value}

    def environment(self, variables: Mapping[str, str]) -> Any:
        return dict(variables) if self.minor == OLDEST else [f"{name}={value}" for name, value in variables.items()]

    def nodes(self, count: int) -> dict[str, Any]:
        """Exactly so many nodes."""
        if self.minor == OLDEST:
            return {"nodes": [count, count]}
        return {"minimum_nodes": count, "maximum_nodes": count}

    def requeue(self, allowed: bool) -> dict[str, Any]:
        """Whatever JobRequeue of slurm.conf says."""
        # 22.05 takes any value of `requeue` for true
        return {"no_requeue": True} if self.minor == OLDEST and not allowed else {"requeue": allowed}

    def accelerators(self, gres: str, count: int) -> dict[str, Any]:
        """So many of a gres (`gpu:h100`) in each node."""
        if self.minor == OLDEST:
            return {"gres": f"{gres}:{count}"}
        return {"tres_per_node": f"gres/{gres}:{count}"}


def dialects() -> tuple[Dialect, ...]:
    """All that this adapter speaks, the newest first."""
    return tuple(Dialect(minor) for minor in range(NEWEST, OLDEST - 1, -1))


def plain(value: Any) -> int | None:
    """A number in any version's form; None: unset or infinite."""
    if isinstance(value, dict):
        return plain(value.get("number")) if value.get("set") and not value.get("infinite") else None
    return int(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def words(value: Any) -> tuple[str, ...]:
    """A state: one word on 22.05, a list later."""
    if isinstance(value, str):
        return tuple(value.split(","))
    return tuple(str(one) for one in value) if isinstance(value, list) else ()


@dataclass(frozen=True, slots=True)
class Exit:
    """How a process ended: by a code or by a signal."""

    code: int | None
    signal: int | None


KILLED: Final = Exit(None, 9)


def exit_of(value: Any) -> Exit | None:
    """A raw wait status on v0.0.38 (wait(2): exit 7 is 1792), words and numbers later. None: it doesn't say.

    22.05 also puts error numbers of slurmd there (4021: no output file), which are no wait statuses.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        by_signal, status = value & 0x7F, value >> 8
        if by_signal and status:
            return None
        return Exit(None, by_signal) if by_signal else Exit(status & 0xFF, None)
    if not isinstance(value, dict):
        return None
    told = value.get("signal")
    signal = plain(told.get("id", told.get("signal_id"))) if isinstance(told, dict) else None
    if signal:
        return Exit(None, signal)
    code = plain(value.get("return_code"))
    return None if code is None else Exit(code, None)
