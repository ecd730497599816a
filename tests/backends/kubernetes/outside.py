"""What of a cluster is outside of its folder and namespaces: a bridge and a control group, both by the cluster's number.

A number is held by an abstract socket (unix(7)), so it's free again whenever its holder has ended. Who takes one removes what a
killed holder left under it.
"""

import errno
import os
import socket
import subprocess
import time
from pathlib import Path

NUMBERS = range(256)
GROUPS = Path("/sys/fs/cgroup")
END_SECONDS = 10


def take() -> tuple[int, socket.socket]:
    """A number that nobody else has until the socket closes."""
    return next((number, held) for number in NUMBERS if (held := _hold(number)))


def address(number: int) -> str:
    """The node's in the cluster of that number: its pods' gateway, which has the other 255 of its subnet for them."""
    return f"10.89.{number}.1"


def bridge(number: int) -> str:
    """The link's name."""
    return f"caravan{number}"


def group(number: int) -> str:
    """The name of a cluster's control group."""
    return f"caravan-kubernetes-{number}"


def groups(number: int) -> list[Path]:
    """A cluster's control group in each hierarchy that has it: runc makes it in that of cgroups v2 too, where v1 is used."""
    return list(GROUPS.glob(f"*/{group(number)}"))


def make(number: int, busybox: Path) -> None:
    """To be called by who has the number."""
    remove(number, busybox)
    _ip(busybox, "link", "add", bridge(number), "type", "bridge")
    _ip(busybox, "addr", "add", f"{address(number)}/24", "dev", bridge(number))
    _ip(busybox, "link", "set", bridge(number), "up")
    for hierarchy in _hierarchies():
        made = hierarchy / group(number)
        made.mkdir()
        for share in ("cpuset.cpus", "cpuset.mems"):  # a new group has none
            if (hierarchy / share).exists():
                (made / share).write_text((hierarchy / share).read_text())


def remove(number: int, busybox: Path) -> None:
    """To be called by who has the number, when all processes of the cluster have ended."""
    if _link(number).exists():
        _ip(busybox, "link", "delete", bridge(number))
    empty(number)
    for top in groups(number):
        _remove_group(top)


def empty(number: int) -> None:
    """Remove the groups of pods: they don't outlive a node, and the next kubelet takes 3 s for each that did."""
    for top in groups(number):
        for folder, _, _ in os.walk(top, topdown=False):
            if folder != str(top):
                _remove_group(Path(folder))


def sweep(busybox: Path) -> None:
    """Remove what killed holders left, whatever their numbers were."""
    for number in NUMBERS:
        if (groups(number) or _link(number).exists()) and (held := _hold(number)):
            with held:
                remove(number, busybox)


def _hold(number: int) -> socket.socket | None:
    """None when someone else has it."""
    held = socket.socket(socket.AF_UNIX)
    try:
        held.bind(f"\0caravan-kubernetes-{number}")
    except OSError as fault:
        held.close()
        if fault.errno != errno.EADDRINUSE:
            raise
        return None
    return held


def _link(number: int) -> Path:
    return Path("/sys/class/net", bridge(number))


def _ip(busybox: Path, *arguments: str) -> None:
    subprocess.run([busybox, "ip", *arguments], check=True)


def _hierarchies() -> list[Path]:
    """Those of cgroups v1 that are mounted; none where there is only v2."""
    return [path for path in GROUPS.iterdir() if not path.is_symlink() and (path / "notify_on_release").exists()]


def _remove_group(group: Path) -> None:
    deadline = time.monotonic() + END_SECONDS
    while True:
        try:
            return group.rmdir()
        except FileNotFoundError:
            return None
        except OSError as fault:
            # the kernel takes a moment to forget those that ended in it
            if fault.errno != errno.EBUSY or time.monotonic() > deadline:
                raise
        time.sleep(0.02)
