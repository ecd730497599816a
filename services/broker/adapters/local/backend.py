"""The local backend: this machine, through the folder of its site."""

import asyncio
import os
import pwd
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import ParamSpec, TypeVar

from pydantic import ValidationError

from caravan.contracts.dispatch import Submission
from caravan.contracts.offerings import InventoryItem
from caravan.kernel import clock
from services.broker.adapters.local import files
from services.broker.adapters.local.grant import Settings
from services.broker.adapters.local.isolation import View
from services.broker.adapters.local.submissions import SUPERVISOR, Submissions
from services.broker.adapters.local.tenants import NoUidLeft, tenant
from services.broker.adapters.port import (
    Books,
    LogBytes,
    NotSeen,
    Rejected,
    Seen,
    SiteContext,
    SiteRefused,
    Staged,
    Unavailable,
)

P = ParamSpec("P")
T = TypeVar("T")
PROBE_TIMEOUT_SECONDS = 60.0


class LocalBackend:
    """One site on this machine (the port's Backend). Several of them, also in several processes, may share the folder."""

    def __init__(self, settings: Settings, folder: Path, view: View) -> None:
        self.settings = settings
        self.view = view
        self.tenants = folder / "tenants"
        self.submissions = Submissions(folder)
        self.cpus = settings.cpus or os.cpu_count() or 1
        self.memory_mib = settings.memory_mib or machine_memory_mib()

    async def inventory(self) -> tuple[InventoryItem, ...]:
        name = socket.gethostname()[:200] or "localhost"
        return (
            InventoryItem(target={}, name=name, nodes=1, cpus_per_node=self.cpus, memory_mib_per_node=self.memory_mib),
        )

    async def probe(self) -> tuple[str, ...]:
        return ()

    async def now(self) -> datetime:
        return clock.floor_second(clock.now())

    async def stage(self, submission: Submission) -> str:
        grant = submission.grant
        if grant.cpus > self.cpus or grant.memory_mib > self.memory_mib:
            raise Rejected(
                f"{grant.cpus} CPUs and {grant.memory_mib} MiB were asked, the machine offers {self.cpus} and {self.memory_mib}"
            )
        return await self._do(self._stage, submission)

    async def _do(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """File work in a thread. What the disk refuses may go well later."""
        try:
            return await asyncio.to_thread(work, *args, **kwargs)
        except FileNotFoundError:
            raise
        except OSError as error:
            raise Unavailable(f"the site's folder: {error.strerror}") from error

    def _stage(self, submission: Submission) -> str:
        try:
            owner = tenant(self.tenants, submission.tenant, self.settings.uid_range if os.getuid() == 0 else None)
        except NoUidLeft as error:
            raise Rejected(str(error)) from error
        view = self.view._replace(uid=owner.uid)
        return self.submissions.stage(submission, owner, view, self.settings)

    async def release(self, reference: str) -> None:
        await self._do(self.submissions.release, reference)

    async def cancel(self, reference: str) -> None:
        await self._do(self.submissions.cancel, reference)

    async def observe(self, references: Sequence[str]) -> Mapping[str, Seen | NotSeen]:
        def look() -> dict[str, Seen | NotSeen]:
            return {reference: self.submissions.observe(reference) for reference in references}

        return await self._do(look)

    async def changed(self, since: float | None) -> Sequence[str]:
        """`since` is in epoch seconds of this machine's clock, taken before the call that is followed up."""
        return await self._do(self.submissions.changed, since)

    async def staged(self) -> Sequence[Staged]:
        return await self._do(self.submissions.staged)

    async def discard(self, reference: str) -> None:
        await self._do(self.submissions.discard, reference)

    async def read_log(self, reference: str, index: int, stream: str, offset: int, limit: int) -> LogBytes:
        return await self._do(self.submissions.read_log, reference, index, stream, offset, limit)

    async def forget(self, reference: str) -> None:
        await self._do(self.submissions.forget, reference)

    async def books(self, start: datetime, end: datetime) -> Books:
        return Books(await self._do(self.submissions.books, start, end), keeps_all=True)


@asynccontextmanager
async def open_site(context: SiteContext) -> AsyncIterator[LocalBackend]:
    """Prepare the site's folder and try the isolation. Raises SiteRefused."""
    yield await asyncio.to_thread(_open, context)


def _open(context: SiteContext) -> LocalBackend:
    try:
        settings = Settings.model_validate(dict(context.settings))
    except ValidationError as error:
        said = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
        raise SiteRefused(f"the site's settings are wrong: {said}") from error
    if context.production and not settings.i_accept_jobs_on_this_machine:
        raise SiteRefused(
            "jobs would run on the machine of the agent itself; set i_accept_jobs_on_this_machine in the site's settings to agree"
        )
    if not context.jobs_on_this_machine:
        raise SiteRefused(
            "jobs would run on the platform's own machine, and its operator has not agreed: set CARAVAN_JOBS_ON_THIS_MACHINE=true "
            "for the broker to agree, or have the centre run `caravan agent` on a machine of its own"
        )
    if os.getuid() == 0 and (user := known_user(settings.uid_range)):
        raise SiteRefused(f"uid_range holds the user {user}, and tenants would be that user; give uids that nobody has")
    if sys.platform != "linux":
        raise SiteRefused("a local site needs Linux")
    try:
        folder = _prepare(settings, context.site)
    except OSError as error:
        raise SiteRefused(f"the folder {settings.folder} can't be used: {error.strerror}") from error
    Submissions(folder).sweep()
    hidden = [os.path.realpath(path) for path in [*map(str, context.private), *settings.hide]]
    return LocalBackend(settings, folder, _confine(settings, folder, hidden))


def _prepare(settings: Settings, site: str) -> Path:
    folder = Path(os.path.realpath(settings.folder))
    if folder.is_dir() and not (folder / "site.json").exists() and not all(map(_begun, folder.iterdir())):
        raise SiteRefused(
            f"the folder {folder} holds other things; give the site an empty folder, or one that isn't there"
        )
    folder.mkdir(parents=True, exist_ok=True)
    # others pass through it to what is theirs, and list nothing
    folder.chmod(0o711)
    mine = {"site": site, "as_root": os.getuid() == 0}
    files.create(f"{folder}/site.json", mine)
    there = files.read(f"{folder}/site.json") or {}
    if there.get("site") != site:
        raise SiteRefused(
            f"the folder {folder} belongs to the site {there.get('site')}; give each site a folder of its own"
        )
    if there != mine:
        raise SiteRefused(
            f"the folder {folder} was used {'as' if there['as_root'] else 'without'} root before; use it as before"
        )
    for name, mode in (
        ("submissions", 0o711),
        ("tenants", 0o711),
        ("staging", 0o700),
        ("discarded", 0o700),
        ("closing", 0o700),
        ("closed", 0o700),
        ("booked", 0o700),
    ):
        (folder / name).mkdir(exist_ok=True)
        (folder / name).chmod(mode)
    return folder


def _begun(entry: Path) -> bool:
    """Whether it is what an agent that was killed as it first took the folder has left there."""
    return files.is_temporary(entry.name, "site.json")


def _confine(settings: Settings, folder: Path, hidden: list[str]) -> View:
    """The strongest confinement that works here, tried for real."""
    root = os.getuid() == 0
    uid = settings.uid_range[0] if root else None
    hide = outermost([*hidden, _first_closed(folder) if root else str(folder)])
    # of a folder on the way to the site's own, the way shows
    forbidden = [f"{folder}/site.json"]
    for path in hidden:
        if _leads_to(path, folder):
            forbidden += [entry.path for entry in os.scandir(path) if not _leads_to(entry.path, folder)]
        else:
            forbidden.append(path)
    reasons = []
    for namespaces in ("mount", "none") if root else ("user",):
        reason = _probe(View(uid, namespaces, hide, ()), folder, forbidden)
        if not reason:
            return View(uid, namespaces, hide, ())
        reasons.append(f"{namespaces}: {reason}")
    advice = "" if root else "; run the agent as root, or allow it user namespaces"
    raise SiteRefused(f"jobs can't be kept apart on this machine ({'; '.join(reasons)}){advice}")


def _leads_to(path: str, folder: Path) -> bool:
    return (str(folder) + "/").startswith(path.rstrip("/") + "/")


def _probe(view: View, folder: Path, forbidden: list[str]) -> str:
    with tempfile.TemporaryDirectory(prefix="probe-", dir=folder) as home:
        if view.uid is not None:
            os.chown(home, view.uid, view.uid)
        asked = {
            "view": view._replace(keep=(home,)).to_json(),
            "folder": home,
            "forbidden": forbidden,
        }
        try:
            done = subprocess.run(
                [sys.executable, "-I", "-S", str(SUPERVISOR), "--probe"],
                input=files.dumps(asked), capture_output=True, cwd="/", env={"LANG": "C.UTF-8"}, timeout=PROBE_TIMEOUT_SECONDS,
                check=False, text=True,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return f"it was not known after {PROBE_TIMEOUT_SECONDS:.0f} s"
    return done.stdout.strip() or done.stderr.strip()[-500:]


def _first_closed(folder: Path) -> str:
    """The outermost folder on the way that others can't pass (it is covered, and the way made anew), or `folder` itself."""
    for above in reversed(folder.parents):
        if not above.stat().st_mode & 0o001:
            return str(above)
    return str(folder)


def known_user(uids: tuple[int, int]) -> str | None:
    """A user of this machine among these uids."""
    return next((user.pw_name for user in pwd.getpwall() if uids[0] <= user.pw_uid <= uids[1]), None)


def outermost(paths: list[str]) -> tuple[str, ...]:
    """Without those that lie in another one of them, in order."""
    kept: list[str] = []
    for path in sorted(set(paths)):
        if not any(path == above or path.startswith(above.rstrip("/") + "/") for above in kept):
            kept.append(path)
    return tuple(kept)


def machine_memory_mib() -> int:
    """MemTotal of /proc/meminfo (proc(5))."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20
