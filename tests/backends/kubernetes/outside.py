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


class Outside:
    def __init__(self, busybox: Path) -> None:
        self._busybox = busybox
        self._held = socket.socket(socket.AF_UNIX)
        self.number = next(filter(self._hold, NUMBERS))
        self.address = address(self.number)
        self.bridge = f"caravan{self.number}"
        self.group = group(self.number)

    def make(self) -> None:
        self.remove()
        self._ip("link", "add", self.bridge, "type", "bridge")
        self._ip("addr", "add", f"{self.address}/24", "dev", self.bridge)
        self._ip("link", "set", self.bridge, "up")
        for hierarchy in _hierarchies():
            made = hierarchy / self.group
            made.mkdir()
            for share in ("cpuset.cpus", "cpuset.mems"):  # a new group has none
                if (hierarchy / share).exists():
                    (made / share).write_text((hierarchy / share).read_text())

    def remove(self) -> None:
        """All processes of the cluster have ended."""
        if Path("/sys/class/net", self.bridge).exists():
            self._ip("link", "delete", self.bridge)
        for group in groups(self.number):
            for folder, _, _ in os.walk(group, topdown=False):
                _remove_group(Path(folder))

    def _hold(self, number: int) -> bool:
        try:
            self._held.bind(f"\0caravan-kubernetes-{number}")
        except OSError as fault:
            if fault.errno != errno.EADDRINUSE:
                raise
            return False
        return True

    def _ip(self, *arguments: str) -> None:
        subprocess.run([self._busybox, "ip", *arguments], check=True)


def address(number: int) -> str:
    """The node's in the cluster of that number: its pods' gateway, which has the other 255 of its subnet for them."""
    return f"10.89.{number}.1"


def group(number: int) -> str:
    """The name of a cluster's control group."""
    return f"caravan-kubernetes-{number}"


def groups(number: int) -> list[Path]:
    """A cluster's control group in each hierarchy that has it: runc makes it in that of cgroups v2 too, where v1 is used."""
    return list(GROUPS.glob(f"*/{group(number)}"))


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
