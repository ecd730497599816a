"""What Slurm's error numbers mean to the port (slurm_errno.h). Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from services.broker.adapters.port import BackendError, OutcomeUnknown, Rejected, Unavailable

ACCESS_DENIED: Final = 2002
INVALID_JOB_ID: Final = 2017
ALREADY_DONE: Final = 2021
JOB_FINISHED: Final = 2084
INVALID_ACCOUNT: Final = 2045
AUTH_NOBODY: Final = 6010

NOTHING_FOUND: Final = frozenset({9003})
"""slurmrestd's word for an empty list."""
GONE: Final = frozenset({INVALID_JOB_ID})
STRANGER: Final = frozenset({INVALID_ACCOUNT, AUTH_NOBODY})
"""There is no such user (26.05 calls it nobody), or none with this account. Without AccountingStorageEnforce older ones take the job."""
NOBODY: Final = 99
"""The uid that slurmctld gives who it doesn't know (SLURM_AUTH_NOBODY)."""
OVER: Final = frozenset({ALREADY_DONE, JOB_FINISHED})

NOT_TAKEN: Final = frozenset({
    1001, 1007, 1021,  # no connection, no authentication
    1800, 1804,  # no connection to slurmctld, or it asks to come back later
    2007, 2016, 2020, 2027, 2055, 2070, 2101, 2103, 2105, 2125, 2131,  # too many jobs, busy, standby, down for now
    7000, 7008,  # no slurmdbd
    9008,  # no authentication
})  # fmt: skip
"""slurmctld did not take it, and may later."""
LOST: Final = frozenset({1000, 1002, 1003, 1004, 1022, 1023, 1024, 1801, 1802, 1803, 1805, 5003, 5004, 5005})
"""slurmrestd asked slurmctld, and can't say what came of it."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One of the errors in an answer."""

    number: int
    words: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What slurmrestd said. It may hold both what was asked for and errors."""

    status: int
    content: Mapping[str, Any]
    faults: tuple[Fault, ...]

    def says(self, numbers: Iterable[int]) -> bool:
        return not {fault.number for fault in self.faults}.isdisjoint(numbers)

    def unavailable(self) -> Unavailable:
        """For a read, where no error is more than that."""
        return Unavailable(str(self.error()))

    def error(self) -> BackendError:
        """The port's error for it, with Slurm's own words."""
        words = (
            "; ".join(dict.fromkeys(fault.words for fault in self.faults)) or f"status {self.status} without a reason"
        )
        if self.says(LOST):
            return OutcomeUnknown(words)
        if self.says(STRANGER):
            return Rejected(words)
        if self.says(NOT_TAKEN) or any(6000 <= fault.number < 7000 for fault in self.faults):
            return Unavailable(words)
        return Rejected(words) if self.faults else OutcomeUnknown(words)


def faults(content: Mapping[str, Any] | None) -> tuple[Fault, ...]:
    """The errors that an answer lists: in `errors`, and in `status` where it is one of cancelled jobs (24.11)."""
    if content is None:
        return ()
    found = []
    errors, status = content.get("errors"), content.get("status")
    for one in errors if isinstance(errors, list) else []:
        if isinstance(one, dict):
            # releasing an array, 22.05 calls each task a failed update, with no error in it
            if not one.keys() & {"error_number", "error_code", "error"}:
                continue
            number = one.get("error_number", one.get("error_code", -1))
            found.append(Fault(number if isinstance(number, int) else -1, _words(one, "error", "description")))
    for one in status if isinstance(status, list) else []:
        error = one.get("error") if isinstance(one, dict) else None
        if isinstance(error, dict) and error.get("code"):
            number = error["code"]
            found.append(Fault(number if isinstance(number, int) else -1, _words(error, "message", "string")))
    return tuple(found)


def _words(content: Mapping[str, Any], *names: str) -> str:
    said = [content[name] for name in names if isinstance(content.get(name), str) and content[name]]
    return (
        f"{said[0]} ({said[1]})"
        if len(said) > 1 and said[0] != said[1]
        else "".join(said[:1]) or "an error without words"
    )
