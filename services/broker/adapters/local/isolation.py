"""What a task can see: the machine, its tenant's folder and its script, and nothing of other tenants or the platform.

As root each tenant is a uid of its own; where mounts are allowed, the folders that must not be seen are covered too. Without root
a user and mount namespace covers them. Standard library only: the supervisor imports it bare.
"""

import os
from typing import Any, NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING or __package__:  # both the adapter and the bare supervisor import it
    from services.broker.adapters.local import linux
else:
    import linux


class View(NamedTuple):
    """How one task is confined. `hide` are covered by empty read-only folders (files by /dev/null), outermost first; `keep` show
    through. All paths are absolute and without links."""

    uid: int | None
    namespaces: str
    """`user`: user and mount namespace; `mount`: mount namespace (root); `none`: the uid alone."""
    hide: tuple[str, ...]
    keep: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        return self._asdict()

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> "View":
        return cls(content["uid"], content["namespaces"], tuple(content["hide"]), tuple(content["keep"]))


def enter(view: View, folder: str) -> None:
    """Confine this process, which must have one thread, for good, and go to `folder`. Raises OSError: the view can't be had here."""
    uid, gid = os.getuid(), os.getgid()
    if view.uid is None and uid == 0:
        raise PermissionError("a task is never run as root")
    if view.namespaces == "user":
        linux.unshare(linux.CLONE_NEWUSER | linux.CLONE_NEWNS)
        # user_namespaces(7): a process may map its own ids when it has given up setgroups
        for name, line in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
            with open(f"/proc/self/{name}", "w") as file:
                file.write(line)
    elif view.namespaces == "mount":
        linux.unshare(linux.CLONE_NEWNS)
    if view.namespaces != "none":
        _cover(view)
    os.chdir(folder)
    if view.uid is not None:
        os.setgroups([])
        os.setresgid(view.uid, view.uid, view.uid)
        os.setresuid(view.uid, view.uid, view.uid)
    linux.prctl(linux.PR_SET_NO_NEW_PRIVS, 1)


def _cover(view: View) -> None:
    linux.mount("none", "/", None, linux.MS_REC | linux.MS_PRIVATE)
    # opened before they are covered, and reached through their descriptors afterwards
    kept = [(path, os.open(path, os.O_PATH | os.O_CLOEXEC)) for path in view.keep]
    covered = []
    for path in view.hide:
        if os.path.isdir(path):
            linux.mount("none", path, "tmpfs", linux.MS_NOSUID | linux.MS_NODEV, "mode=0755,size=64k,nr_inodes=1k")
            covered.append(path)
        elif os.path.exists(path):
            linux.mount("/dev/null", path, None, linux.MS_BIND)
    for path, opened in kept:
        if not any(path.startswith(cover + "/") for cover in covered):
            continue
        source = f"/proc/self/fd/{opened}"
        if os.path.isdir(source):
            os.makedirs(path, 0o755, exist_ok=True)
        else:
            os.makedirs(os.path.dirname(path), 0o755, exist_ok=True)
            os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o755))
        linux.mount(source, path, None, linux.MS_BIND | linux.MS_REC)
    for path in covered:
        linux.mount("none", path, None, linux.MS_REMOUNT | linux.MS_RDONLY | linux.MS_NOSUID | linux.MS_NODEV)
    for _, opened in kept:
        os.close(opened)


def probe(view: View, folder: str, forbidden: tuple[str, ...]) -> str:
    """Whether `view` can be had here, tried in a process of its own: empty, or the reason why not.

    `forbidden` are existing paths that must not be readable inside; `folder` must be writable.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(reading)
            enter(view, folder)
            os.close(os.open(os.path.join(folder, ".probe"), os.O_CREAT | os.O_WRONLY, 0o600))
            os.unlink(os.path.join(folder, ".probe"))
            seen = [path for path in forbidden if _readable(path)]
            if seen:
                os.write(writing, f"a job could read {seen[0]}".encode())
        except OSError as error:
            os.write(writing, f"{error.strerror or error}{f' ({error.filename})' if error.filename else ''}".encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as file:
        said = file.read()
    os.waitpid(child, 0)
    return said.decode(errors="replace")


def _readable(path: str) -> bool:
    if os.path.isdir(path):
        try:
            return bool(os.listdir(path))
        except OSError:
            return False
    try:
        with open(path, "rb") as file:
            return bool(file.read(1))
    except OSError:
        return False
