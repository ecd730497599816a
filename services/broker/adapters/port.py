"""What every adapter promises, and what callers rely on.

Starting is two steps, because a lease fences the broker and not the backend. `stage` puts an inert submission at the backend;
the broker commits one reference by compare-and-set; only then `release` starts it. Whatever freezes, repeats or arrives late
leaves litter at most, never a second run.
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import datetime
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from caravan.contracts.books import BookedRun
from caravan.contracts.dispatch import Grant, Submission
from caravan.contracts.jobs import Outcome, RunState
from caravan.contracts.offerings import AdapterDescriptor, InventoryItem
from caravan.contracts.spec import Resources
from caravan.contracts.usage import Span


class BackendError(Exception):
    """The backend did not do as asked. The message is for people and never holds a secret.

    Who reads it: that of Rejected is about the job and goes to its enterprise. All others may name users, paths and hosts of the
    centre, and go to the centre and the platform's operators alone; enterprises are told what `SiteState.words` says instead.
    """


class Rejected(BackendError):
    """The backend said no and will again (a bad partition, over a limit). Permanent; carries the backend's words, for its enterprise."""


class Unavailable(BackendError):
    """The backend did not take it, provably. Safe to try again."""


class OutcomeUnknown(BackendError):
    """It may or may not have. Stage again under the same tag; the sweeper removes what was left."""


class SiteRefused(BackendError):
    """The site can't be operated as it is set up (no isolation, no consent, a missing folder); says what to change."""


@dataclass(frozen=True)
class RunSeen:
    """One allocation of one array task as the backend's books have it. Times are the backend's, floored to the second."""

    index: int
    identity: str
    state: RunState
    started_at: datetime
    ended_at: datetime | None
    """Before `started_at` where the backend's books have it so, and how long it ran can't be known."""
    outcome: Outcome | None
    exit_code: int | None
    signal: int | None
    detail: str
    spans: tuple[Span, ...]
    """What was allocated so far, over the whole run, up to `seen_at` of the observation (open-ended runs are cut there)."""
    final: bool
    """The books of this run are closed: nothing of it will change any more."""


@dataclass(frozen=True)
class Seen:
    """A submission as it stands. `ended`: every task has ended or will never start."""

    reference: str
    released: bool
    queued: bool
    ended: bool
    runs: tuple[RunSeen, ...]
    seen_at: datetime
    """The backend's clock, floored to the second: usage before it (less the books' lag) is complete for this submission."""
    detail: str = ""


@dataclass(frozen=True)
class NotSeen:
    """The backend doesn't show the submission. It never means absent unless `provably_gone`."""

    provably_gone: bool
    detail: str = ""


@dataclass(frozen=True)
class Staged:
    """An inert submission found at the backend, for the sweeper."""

    tag: str
    reference: str
    staged_at: datetime


@dataclass(frozen=True)
class LogBytes:
    data: bytes
    offset: int
    size: int
    complete: bool


@dataclass(frozen=True)
class Books:
    """What a backend's own books have of the site's runs: read from them anew, not from what was seen of the runs before."""

    runs: tuple[BookedRun, ...]
    keeps_all: bool
    """What isn't there wasn't at the site. Else the backend forgets, and nothing follows from it."""


@dataclass(frozen=True)
class SiteContext:
    """What an adapter is given to operate one site."""

    site: str
    settings: Mapping[str, Any]
    accelerators: Mapping[str, str] = field(default_factory=dict)
    """Accelerator id -> the backend's own name."""
    secrets: Path | None = None
    """Folder with the agent's secrets; the settings name files in it."""
    output: Path | None = None
    """Folder in which the agent keeps output that its backend won't. It outlives the agent."""
    production: bool = True
    jobs_on_this_machine: bool = True
    """Whether the operator of the agent's machine lets jobs run on it."""
    private: tuple[Path, ...] = ()
    """What no job may see, wherever jobs run beside the agent: the platform's data, the agent's secrets."""


class Backend(Protocol):
    """One site's backend. All methods may be called concurrently; none is called while a database transaction is open."""

    async def inventory(self) -> tuple[InventoryItem, ...]:
        """What the site has, by homogeneous parts. Raises Unavailable."""

    async def probe(self) -> tuple[str, ...]:
        """What is wrong although jobs can be given to it, in words for people: nothing where all is well. Raises Unavailable."""

    async def now(self) -> datetime:
        """The backend's clock, floored to the second. What is released after this call starts at or after it. Raises Unavailable."""

    async def stage(self, submission: Submission) -> str:
        """Put `submission` at the backend so that it cannot start, and return the backend's reference.

        Guarantee: harmless if it happens twice or late; what is staged never runs until `release(reference)`. Each call may
        leave a submission of its own with a reference of its own.
        Raises: Rejected, Unavailable, OutcomeUnknown.
        """

    async def release(self, reference: str) -> None:
        """Let the staged submission start. Idempotent: a second release, also a late one by another process, changes nothing.

        Raises: Rejected (it is gone or was discarded), Unavailable, OutcomeUnknown (release again).
        """

    async def cancel(self, reference: str) -> None:
        """See to it that nothing of the submission runs, whether staged, queued or running. Idempotent; returns without waiting.

        Guarantee: once it has returned, a staged submission can never be released any more.
        Raises: Unavailable, OutcomeUnknown (cancel again).
        """

    async def observe(self, references: Sequence[str]) -> Mapping[str, Seen | NotSeen]:
        """How each submission stands, with all its runs. One call for many; cost grows with `references`, not with the site.

        Of several, those that the backend has had no room to look at even once, or couldn't read now, are left out; one alone never is.
        Raises: Unavailable (none could be read).
        """

    async def changed(self, since: float | None) -> Sequence[str] | None:
        """References of submissions that may have changed since the last call, or None when the backend can't tell (observe all)."""

    async def staged(self) -> Sequence[Staged]:
        """Every submission under a tag of this platform that was staged and neither released nor discarded. For the sweeper."""

    async def discard(self, reference: str) -> None:
        """Remove a staged submission that was never committed. It can never be released afterwards. Idempotent."""

    async def read_log(self, reference: str, index: int, stream: str, offset: int, limit: int) -> LogBytes:
        """Bytes of a task's output; a negative offset counts from the end. Raises Unavailable; FileNotFoundError: none yet."""

    async def forget(self, reference: str) -> None:
        """The books of this submission are closed and charged; what was kept only for them may go. Output stays."""

    async def books(self, start: datetime, end: datetime) -> Books:
        """What the backend's books have of this site's runs that held something in [start, end), each run whole, also forgotten ones.

        `end` lies behind the backend's clock by the books' lag at least. Cost grows with what ran then. Raises: Unavailable.
        """


@runtime_checkable
class TellsNews(Protocol):
    """What a backend has besides that hears of changes by itself."""

    async def news(self) -> None:
        """Return once something has changed since the last call: `changed` knows what."""


def booked(run: RunSeen, start: datetime, end: datetime) -> tuple[BookedRun, ...]:
    """As books that are kept as runs are seen have it; nothing of one that held nothing in [start, end)."""
    spans = run.spans
    if not spans or spans[0].start >= end or spans[-1].end <= start:
        return ()
    ends = [span.end for span in spans[:-1]] + [spans[-1].end if run.ended_at is not None else None]
    return tuple(
        BookedRun(
            identity=run.identity,
            start=span.start,
            end=until,
            nodes=span.nodes,
            cpus=span.cpus,
            memory_mib=span.memory_mib,
            accelerators=span.accelerators,
        )
        for span, until in zip(spans, ends, strict=True)
    )


class Adapter(Protocol):
    """A kind of backend. Found by entry point; the object is `adapter` in the adapter's package."""

    descriptor: AdapterDescriptor

    def grant(self, resources: Resources, target: Mapping[str, Any], settings: Mapping[str, Any]) -> Grant:
        """What the backend will really allocate and limit for one task. Pure: no I/O, no clock."""

    def open(self, context: SiteContext) -> AbstractAsyncContextManager[Backend]:
        """Connect to the site; entering raises SiteRefused when it can't be operated as it is set up."""


# A descriptor's capabilities that placement goes by: `container` (then it is TakesContainers, too), `arrays_of_nodes` (tasks of an array
# may have several nodes each).
@runtime_checkable
class TakesContainers(Protocol):
    """What an adapter with the capability `container` has besides."""

    def images(self, settings: Mapping[str, Any]) -> Sequence[str] | None:
        """Which images (`Container.among`) a site with these settings runs; None: it runs no containers. Pure."""


def script_of(submission: Submission) -> str:
    """What an adapter without that capability runs. Raises Rejected: it's a container."""
    if submission.script is None:
        raise Rejected("no containers run here")
    return submission.script


def installed() -> dict[str, Adapter]:
    """All adapters installed here, by name."""
    found: dict[str, Adapter] = {}
    for entry in entry_points(group="caravan.adapters"):
        adapter: Adapter = entry.load()
        found[adapter.descriptor.name] = adapter
    return found


__all__ = [
    "Adapter", "Backend", "BackendError", "Books", "LogBytes", "NotSeen", "OutcomeUnknown", "Rejected", "RunSeen",
    "Seen", "SiteContext", "SiteRefused", "Staged", "TakesContainers", "TellsNews", "Unavailable", "booked", "installed", "script_of",
]  # fmt: skip
