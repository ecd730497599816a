"""What Linux tells and does that Python 3.11 has no words for. Standard library only: the supervisor imports it bare."""

import ctypes
import functools
import os
import time
from typing import NamedTuple

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
PR_SET_NO_NEW_PRIVS = 38

CLONE_NEWNS = 0x0002_0000
CLONE_NEWUSER = 0x1000_0000

MS_RDONLY = 1
MS_NOSUID = 2
MS_NODEV = 4
MS_REMOUNT = 32
MS_BIND = 4096
MS_REC = 16384
MS_PRIVATE = 1 << 18

_libc = ctypes.CDLL(None, use_errno=True)
_PAGE_KIB = os.sysconf("SC_PAGE_SIZE") // 1024


def _checked(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def prctl(option: int, value: int) -> None:
    arguments = (ctypes.c_ulong(value), ctypes.c_ulong(0), ctypes.c_ulong(0), ctypes.c_ulong(0))
    _checked(_libc.prctl(ctypes.c_int(option), *arguments), f"prctl {option}")


def unshare(flags: int) -> None:
    _checked(_libc.unshare(ctypes.c_int(flags)), "unshare")


def mount(source: str, target: str, kind: str | None, flags: int, data: str | None = None) -> None:
    """mount(2). Raises OSError with the target in its words."""
    texts = (os.fsencode(source), os.fsencode(target), kind and kind.encode())
    _checked(_libc.mount(*texts, ctypes.c_ulong(flags), data and data.encode()), f"mount on {target}")


class Process(NamedTuple):
    """A line of the process table. `ticks` is the start in clock ticks since boot: with the pid it names a process for ever
    within one boot. `rss_kib` is an upper bound of its proportional share."""

    pid: int
    state: str
    parent: int
    session: int
    ticks: int
    rss_kib: int

    @property
    def dead(self) -> bool:
        """A zombie: it runs no more, only its parent has yet to look."""
        return self.state in "ZX"


def process(pid: int) -> Process | None:
    """The process as /proc/<pid>/stat has it (proc(5)), or None when there is none."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            line = file.read()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # the name in parentheses may itself hold spaces and parentheses
    fields = line[line.rindex(b")") + 2 :].split()
    return Process(
        pid, fields[0].decode(), int(fields[1]), int(fields[3]), int(fields[19]), int(fields[21]) * _PAGE_KIB
    )


def processes() -> dict[int, Process]:
    """The process table. Not a snapshot: processes come and go while it is read."""
    found = (process(int(name)) for name in os.listdir("/proc") if name.isdigit())
    return {one.pid: one for one in found if one is not None}


def descendants(table: dict[int, Process], root: int) -> list[Process]:
    """All processes below `root`, parents before children."""
    children: dict[int, list[Process]] = {}
    for one in table.values():
        children.setdefault(one.parent, []).append(one)
    found, look = [], [root]
    while look:
        below = children.get(look.pop(), [])
        found += below
        look += [one.pid for one in below]
    return found


class Family:
    """What descends from this process, looked up again and again: what is known not to is not read anew.

    Who doesn't descend from a process never will, until its pid is given to another; so all are read anew after a while.
    """

    REFRESH_SECONDS = 30.0

    def __init__(self) -> None:
        self._strangers: set[int] = set()
        self._refresh_at = 0.0

    def table(self) -> dict[int, Process]:
        """The processes below this one."""
        now = time.monotonic()
        if now >= self._refresh_at:
            self._strangers.clear()
            self._refresh_at = now + self.REFRESH_SECONDS
        pids = {int(name) for name in os.listdir("/proc") if name.isdigit()}
        self._strangers &= pids
        read = (process(pid) for pid in pids - self._strangers)
        table = {one.pid: one for one in read if one is not None}
        own = os.getpid()
        below = {one.pid: one for one in descendants(table, own)}
        others = table.keys() - below.keys() - {own}
        # from init on down: where a parent has ended meanwhile, the rest may yet turn up below
        known = self._strangers | {0}
        while more := {pid for pid in others - known if table[pid].parent in known}:
            known |= more
        self._strangers = known - {0}
        return below


def pss_kib(pid: int) -> int:
    """The process's proportional share of memory, KiB; 0 when it is gone."""
    try:
        with open(f"/proc/{pid}/smaps_rollup", "rb") as file:
            for line in file:
                if line.startswith(b"Pss:"):
                    return int(line.split()[1])
    except (FileNotFoundError, ProcessLookupError):
        pass
    return 0


@functools.cache
def pid_namespace() -> str:
    """Where this process's pids mean something (pid_namespaces(7)); another container's mean nothing here."""
    return os.readlink("/proc/self/ns/pid")


@functools.cache
def boot_id() -> str:
    with open("/proc/sys/kernel/random/boot_id") as file:
        return file.read().strip()
