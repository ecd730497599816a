"""Which uid stands for a tenant on this machine. Allocated once, kept for ever, never given to another tenant."""

import fcntl
import os
from dataclasses import dataclass
from pathlib import Path

from services.broker.adapters.local import files


class NoUidLeft(Exception):
    """All uids of the configured range are taken."""


@dataclass(frozen=True)
class Tenant:
    """`uid` (and gid of the same number) is None when the platform isn't root: then tenants share its own."""

    uid: int | None
    home: str
    user: str


def tenant(folder: Path, identifier: str, uid_range: tuple[int, int] | None) -> Tenant:
    """The tenant of this id under `folder`, made at its first call. Raises NoUidLeft."""
    own = folder / identifier
    home = own / "home"
    known = files.read(f"{own}/tenant.json")
    if known is None:
        # one writer at a time, over all processes
        with open(folder / ".lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            known = files.read(f"{own}/tenant.json") or _make(folder, own, home, uid_range)
    uid = known["uid"]
    return Tenant(uid, str(home), f"caravan-{uid}" if uid is not None else "caravan")


def _make(folder: Path, own: Path, home: Path, uid_range: tuple[int, int] | None) -> dict[str, int | None]:
    uid = None if uid_range is None else _free(folder, uid_range)
    own.mkdir(mode=0o711, exist_ok=True)
    own.chmod(0o711)
    home.mkdir(mode=0o700, exist_ok=True)
    if uid is not None:
        os.chown(home, uid, uid)
    content = {"uid": uid}
    files.create(f"{own}/tenant.json", content)
    files.sync_folder(str(folder))
    return content


def _free(folder: Path, uid_range: tuple[int, int]) -> int:
    taken = {
        (files.read(f"{other.path}/tenant.json") or {}).get("uid") for other in os.scandir(folder) if other.is_dir()
    }
    for uid in range(uid_range[0], uid_range[1] + 1):
        if uid not in taken:
            return uid
    raise NoUidLeft(f"all {len(taken)} uids of {uid_range[0]}-{uid_range[1]} are taken; widen the site's uid_range")
