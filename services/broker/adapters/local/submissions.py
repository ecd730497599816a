"""The folder of a local site: submissions as folders, each decided by one claim. Blocking file work, called in threads.

`submissions/<reference>` holds what is open, `closed/<reference>` the output of what was forgotten, `booked` what it held;
`staging`, `discarded` and `closing` hold what comes and goes by one rename.
"""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO

from caravan.contracts.books import BookedRun
from caravan.contracts.dispatch import Submission
from caravan.contracts.jobs import Outcome, RunState
from caravan.contracts.usage import Span
from caravan.kernel import clock
from services.broker.adapters.local import booked as book
from services.broker.adapters.local import files, leftovers, linux
from services.broker.adapters.local.grant import Settings
from services.broker.adapters.local.isolation import View
from services.broker.adapters.local.tenants import Tenant
from services.broker.adapters.port import (
    LogBytes,
    NotSeen,
    OutcomeUnknown,
    Rejected,
    RunSeen,
    Seen,
    Staged,
    Unavailable,
    booked,
    script_of,
)

SUPERVISOR = Path(__file__).with_name("supervisor.py")
REFERENCE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_\-]{0,180}")
START_TIMEOUT_SECONDS = 60.0
STALE_SECONDS = 5.0
"""A heartbeat older than this makes a submission worth a look."""
LITTER_SECONDS = 3600.0
OVERLAP_SECONDS = 2.0
"""How far `changed` looks back before the time it is asked for: the kernel stamps files by a coarser clock."""


def _second(value: float) -> datetime:
    return clock.from_seconds(int(value))


@dataclass
class Known:
    """What was read of an open submission and can't change any more."""

    spec: dict[str, Any]
    claim: dict[str, Any] | None = None
    ended: dict[str, Any] | None = None
    starts: dict[str, dict[str, Any]] = field(default_factory=dict)
    ends: dict[str, dict[str, Any]] = field(default_factory=dict)


class Submissions:
    """The submissions of one site under `folder`. Safe to use from several threads and processes at once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.open = folder / "submissions"
        self.staging = folder / "staging"
        self.discarded = folder / "discarded"
        self.closing = folder / "closing"
        self.closed = folder / "closed"
        self.booked = folder / "booked"
        self.known: dict[str, Known] = {}
        self.quiet: dict[str, int] = {}
        """Ended submissions -> mtime of the folder when that was seen."""

    def sweep(self) -> None:
        """Remove what a killed process has left half made or half removed."""
        for entry in os.scandir(self.open):
            if (files.read(f"{entry.path}/claim") or {}).get("by") == "discard":
                self.discard(entry.name)
        for entry in os.scandir(self.discarded):
            shutil.rmtree(entry.path, ignore_errors=True)
        for entry in os.scandir(self.closing):
            self._close(entry.name)
        for entry in os.scandir(self.staging):
            if entry.stat().st_mtime < clock.now().timestamp() - LITTER_SECONDS:
                shutil.rmtree(entry.path, ignore_errors=True)

    def path(self, reference: str) -> Path | None:
        """Where the open submission is, or None: there is none."""
        path = self.open / reference
        if REFERENCE.fullmatch(reference) and path.is_dir():
            return path
        if not self.open.is_dir():
            raise Unavailable(f"{self.folder} is not there")
        return None

    def stage(self, submission: Submission, tenant: Tenant, view: View, settings: Settings) -> str:
        """Write the submission whole, then show it by one rename. Inert until it is claimed."""
        reference = f"{submission.tag}-{os.urandom(6).hex()}"
        if not REFERENCE.fullmatch(reference):
            raise Rejected("the tag has characters that can't stand in a file name")
        text = script_of(submission).encode()
        script = str(self.open / reference / "script")
        content = {
            "attempt": submission.attempt,
            "tag": submission.tag,
            "tenant": submission.tenant,
            "environment": submission.environment,
            "indices": submission.indices,
            "max_parallel": submission.max_parallel,
            "walltime_seconds": submission.resources.walltime_seconds,
            "grace_seconds": settings.kill_grace_seconds,
            "memory_mib": submission.grant.memory_mib,
            "output_mib": settings.output_mib,
            "shape": submission.grant.model_dump(mode="json", include={"nodes", "cpus", "memory_mib"}),
            "home": tenant.home,
            "user": tenant.user,
            "view": view._replace(keep=(tenant.home, script)).to_json(),
            "marks": {
                leftovers.MARKER: reference,
                "CARAVAN_JOB": submission.job,
                "CARAVAN_ATTEMPT": submission.attempt,
                "CARAVAN_JOB_NAME": submission.name,
                "CARAVAN_CPUS": str(submission.grant.cpus),
                "CARAVAN_TASKS": str(submission.resources.tasks_per_node),
                "CARAVAN_MEMORY_MIB": str(submission.grant.memory_mib),
                "CARAVAN_WALLTIME_SECONDS": str(submission.resources.walltime_seconds),
            },
        }
        making = self.staging / reference
        try:
            making.mkdir(mode=0o700)
            files.replace(f"{making}/submission.json", content)
            files.write(f"{making}/script", text, mode=0o500 if tenant.uid is None else 0o550)
            if tenant.uid is not None:
                # the tenant's group may pass and execute, not list
                os.chown(making / "script", 0, tenant.uid)
                os.chown(making, 0, tenant.uid)
                making.chmod(0o710)
            files.sync_folder(str(making))
            making.rename(self.open / reference)
            files.sync_folder(str(self.open))
        except OSError as error:
            shutil.rmtree(making, ignore_errors=True)
            raise Unavailable(f"the submission can't be written: {error.strerror}") from error
        return reference

    def release(self, reference: str) -> None:
        """Start a supervisor unless one has claimed the submission; it claims by itself, so doubles end at once."""
        path = self.path(reference)
        if path is None:
            raise Rejected("there is no such submission, or it was discarded")
        if self._released(path):
            return
        try:
            started = self._start(path)
        except OSError as error:
            raise Unavailable(f"no supervisor could be started: {error}") from error
        try:
            said, _ = started.communicate(timeout=START_TIMEOUT_SECONDS)
        except subprocess.TimeoutExpired as error:
            raise OutcomeUnknown("the supervisor doesn't say whether it has begun") from error
        if said != b"claimed" and not self._released(path):
            raise Unavailable(f"no supervisor could be started, see {path}/supervisor.log")

    def _start(self, path: Path) -> subprocess.Popen[bytes]:
        with open(path / "supervisor.log", "ab") as log:
            return subprocess.Popen(
                [sys.executable, "-I", "-S", str(SUPERVISOR), str(path)],
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, cwd="/", env={"LANG": "C.UTF-8"}, close_fds=True,
            )  # fmt: skip

    def _released(self, path: Path) -> bool:
        claim = files.read(f"{path}/claim")
        if claim is not None and claim["by"] != "supervisor":
            raise Rejected("the submission was cancelled before it was released")
        return claim is not None

    def cancel(self, reference: str) -> None:
        """Take the claim so that none can be released, or tell the supervisor that has it."""
        path = self.path(reference)
        if path is None:
            return
        try:
            if files.create(f"{path}/claim", {"by": "cancel"}):
                return
            claim = files.read(f"{path}/claim")
            if claim is None or claim["by"] != "supervisor" or (path / "ended").exists():
                return
            files.create(f"{path}/cancel", {"at": clock.now().timestamp()})
        except FileNotFoundError:
            return  # discarded or forgotten meanwhile
        except OSError as error:
            raise Unavailable(f"the wish to cancel can't be written: {error.strerror}") from error
        leftovers.send(claim, signal.SIGUSR1)

    def discard(self, reference: str) -> None:
        """Claim it, so that no one else can, and remove it. What has been released stays."""
        path = self.path(reference)
        if path is None:
            return
        try:
            if not files.create(f"{path}/claim", {"by": "discard"}):
                claim = files.read(f"{path}/claim")
                if claim is None or claim["by"] == "supervisor":
                    return
            path.rename(self.discarded / reference)
        except FileNotFoundError:
            return  # another was faster
        files.sync_folder(str(self.open))
        shutil.rmtree(self.discarded / reference, ignore_errors=True)

    def staged(self) -> Sequence[Staged]:
        found = []
        for entry in os.scandir(self.open):
            try:
                if os.path.exists(f"{entry.path}/claim"):
                    continue
                at = os.stat(f"{entry.path}/submission.json").st_mtime
            except FileNotFoundError:
                continue
            found.append(Staged(entry.name.rpartition("-")[0], entry.name, _second(at)))
        return found

    def changed(self, since: float | None) -> Sequence[str]:
        """References whose folder changed since that time (epoch seconds) or whose supervisor has fallen silent."""
        found = []
        now = clock.now().timestamp()
        for entry in os.scandir(self.open):
            try:
                at = entry.stat()
                if since is None or at.st_mtime >= since - OVERLAP_SECONDS:
                    found.append(entry.name)
                elif self.quiet.get(entry.name) == at.st_mtime_ns:
                    continue
                elif os.path.exists(f"{entry.path}/ended"):
                    self.quiet[entry.name] = at.st_mtime_ns
                elif self._heartbeat(Path(entry.path)) < now - STALE_SECONDS:
                    found.append(entry.name)
            except FileNotFoundError:
                continue
        return found

    def observe(self, reference: str) -> Seen | NotSeen:
        path = self.path(reference)
        if path is not None:
            try:
                return self._observe(reference, path)
            except FileNotFoundError:
                if self.path(reference) is not None:
                    raise
        self.known.pop(reference, None)
        return NotSeen(provably_gone=True, detail="there is no such submission on this machine")

    def _observe(self, reference: str, path: Path) -> Seen:
        """Everything is read after the moment that it is complete up to."""
        now = clock.now().timestamp()
        known = self._known(reference, path)
        claim = known.claim = known.claim or files.read(f"{path}/claim")
        if claim is None:
            return Seen(reference, False, False, False, (), _second(now))
        if claim["by"] != "supervisor":
            return Seen(reference, False, False, True, (), _second(now), "cancelled before it was released")
        seen_at = now
        if known.ended is None:
            ended = files.read(f"{path}/ended")
            beat = self._heartbeat(path)
            if ended is None and not leftovers.alive(claim, beat):
                ended = files.read(f"{path}/ended") or self._bury(path, known, claim, beat)
            if ended is None:
                seen_at = min(now, beat)
            self._read(path, known)
            known.ended = ended
        runs = tuple(
            self._run(known, start, known.ends.get(index), _second(seen_at))
            for index, start in sorted(known.starts.items(), key=lambda item: int(item[0]))
        )
        detail = known.ended["detail"] if known.ended else ""
        return Seen(
            reference, True, not known.ended and not runs, known.ended is not None, runs, _second(seen_at), detail
        )

    def _known(self, reference: str, path: Path) -> Known:
        known = self.known.get(reference)
        if known is None:
            spec = files.read(f"{path}/submission.json")
            if spec is None:
                raise FileNotFoundError(f"{path}/submission.json")
            known = self.known[reference] = Known(spec)
        return known

    def _heartbeat(self, path: Path) -> float:
        try:
            return os.stat(path / "heartbeat").st_mtime
        except FileNotFoundError:
            return os.stat(path / "claim").st_mtime

    def _read(self, path: Path, known: Known) -> None:
        for entry in os.scandir(path):
            index, _, kind = entry.name.partition(".")
            into = {"start.json": known.starts, "end.json": known.ends}.get(kind)
            if index and into is not None and index not in into:
                content = files.read(entry.path)
                if content is not None:
                    into[index] = content
        # an end may have come into sight before its start
        for index in known.ends.keys() - known.starts.keys():
            known.starts[index] = known.ends[index]

    def _run(self, known: Known, start: dict[str, Any], end: dict[str, Any] | None, seen_at: datetime) -> RunSeen:
        started_at = _second(start["started_at"])
        ended_at = _second(end["ended_at"]) if end else None
        until = ended_at or seen_at
        spans: tuple[Span, ...] = ()
        if until > started_at:
            spans = (Span(start=started_at, end=until, **known.spec["shape"]),)
        return RunSeen(
            index=start["index"],
            identity=start["identity"],
            state=RunState.ENDED if end else RunState.RUNNING,
            started_at=started_at,
            ended_at=ended_at,
            outcome=Outcome(end["outcome"]) if end else None,
            exit_code=end["exit_code"] if end else None,
            signal=end["signal"] if end else None,
            detail=end["detail"] if end else "",
            spans=spans,
            final=end is not None,
        )

    def _bury(self, path: Path, known: Known, claim: dict[str, Any], beat: float) -> dict[str, Any] | None:
        """Close the books of a submission whose supervisor is dead, once nothing of it is left."""
        rebooted = claim["boot_id"] != linux.boot_id()
        if not rebooted and not leftovers.none_left(str(path), known.spec["view"]["uid"]):
            return None
        detail = "the machine was restarted" if rebooted else "the task's supervisor was killed"
        # one in another container may only have been frozen: what it finds when it thaws is to start nothing more and end what runs
        files.create(f"{path}/cancel", {"at": clock.now().timestamp()})
        self._read(path, known)
        for index, start in known.starts.items():
            if index not in known.ends:
                ended_at = max(int(beat), start["started_at"])
                end = {
                    **start,
                    "outcome": "site",
                    "detail": detail,
                    "exit_code": None,
                    "signal": None,
                    "ended_at": ended_at,
                }
                files.create(f"{path}/{index}.end.json", end)
        content = {"by": "observer", "detail": detail}
        files.create(f"{path}/ended", content)
        return content

    def read_log(self, reference: str, index: int, stream: str, offset: int, limit: int) -> LogBytes:
        path = self.path(reference)
        if stream not in ("stdout", "stderr") or not REFERENCE.fullmatch(reference):
            raise FileNotFoundError(f"no {stream} of {reference}")
        # asked before the bytes are read: what has ended writes no more
        ended = path is None or (path / f"{index}.end.json").exists()
        with self._output(f"{reference}/logs/{index}.{stream}") as file:
            size = os.fstat(file.fileno()).st_size
            at = max(0, size + offset) if offset < 0 else min(offset, size)
            file.seek(at)
            data = file.read(min(limit, size - at))
        return LogBytes(data, at, size, ended and at + len(data) == size)

    def _output(self, name: str) -> BinaryIO:
        """The file, looked for in the order in which it moves."""
        for folder in (self.open, self.closing):
            with contextlib.suppress(FileNotFoundError):
                return open(folder / name, "rb")
        return open(self.closed / name, "rb")

    def forget(self, reference: str) -> None:
        path = self.path(reference)
        self.known.pop(reference, None)
        self.quiet.pop(reference, None)
        if path is None:
            return
        try:
            seen = self._observe(reference, path)
            self.known.pop(reference, None)
            book.keep(self.booked, reference, seen.runs)
            path.rename(self.closing / reference)
        except FileNotFoundError:
            return
        self._close(reference)

    def books(self, start: datetime, end: datetime) -> tuple[BookedRun, ...]:
        """What is open is looked at first: what is forgotten meanwhile is booked by then."""
        looked = [self.observe(entry.name) for entry in os.scandir(self.open)]
        seen = [run for one in looked if isinstance(one, Seen) for run in one.runs]
        rows = [row for run in seen for row in booked(run, start, end)]
        return tuple(dict.fromkeys([*rows, *book.read(self.booked, start, end)]))

    def _close(self, reference: str) -> None:
        """Keep the output alone. Where a killed process has left off, `sweep` goes on."""
        for entry in list(os.scandir(self.closing / reference)):
            if entry.name != "logs":
                os.unlink(entry.path)
        (self.closing / reference).rename(self.closed / reference)
