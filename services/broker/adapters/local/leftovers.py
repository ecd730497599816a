"""Processes of submissions, seen from outside: is the supervisor alive, and is anything left of one that died."""

import os
import signal
import time
from pathlib import Path
from typing import Any

from services.broker.adapters.local import linux

SILENT_SECONDS = 60.0
"""A supervisor in another container that has said nothing for so long has died with it."""
MARKER = "CARAVAN_SUBMISSION"
SUPERVISOR = str(Path(__file__).with_name("supervisor.py"))


def alive(claim: dict[str, Any], heartbeat: float) -> bool:
    """Whether the process that made the claim still runs: the same boot, pid and start. In another container only its heartbeat
    (epoch seconds) tells."""
    if claim["boot_id"] != linux.boot_id():
        return False
    if claim["pid_namespace"] != linux.pid_namespace():
        return time.time() - heartbeat < SILENT_SECONDS
    process = linux.process(claim["pid"])
    return process is not None and process.ticks == claim["ticks"] and not process.dead


def send(claim: dict[str, Any], number: signal.Signals) -> None:
    """Signal exactly the process that made the claim, or none."""
    if claim["boot_id"] == linux.boot_id() and claim["pid_namespace"] == linux.pid_namespace():
        _send(claim["pid"], claim["ticks"], number)


def _send(pid: int, ticks: int, number: signal.Signals) -> None:
    try:
        opened = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        process = linux.process(pid)
        if process is not None and process.ticks == ticks:
            signal.pidfd_send_signal(opened, number)
    except ProcessLookupError:
        pass
    finally:
        os.close(opened)


def none_left(folder: str, uid: int | None, *, wait_seconds: float = 1.0) -> bool:
    """Whether nothing runs any more of the submission in `folder`, whose supervisor is dead.

    Keepers that outlived it are ending their tasks: they are let do it. Else what carries the submission's mark is killed, and as
    root what runs under the tenant's uid without a living supervisor above it.
    """
    deadline = time.monotonic() + wait_seconds
    while True:
        table = linux.processes()
        commands = {pid: _read(f"/proc/{pid}/cmdline").split(b"\0") for pid in table}
        supervisors = {pid for pid, words in commands.items() if SUPERVISOR.encode() in words[:4]}
        if not any(os.fsencode(folder) in commands[pid] for pid in supervisors):
            mark = f"{MARKER}={os.path.basename(folder)}".encode()
            left = [one for one in table.values() if not one.dead and _left(one, table, supervisors, mark, uid)]
            if not left:
                return True
            for one in left:
                # read anew: a parent that was missing in the table may only have ended while it was read
                now = linux.process(one.pid)
                if now is not None and now.ticks == one.ticks and now.parent == one.parent:
                    _send(one.pid, one.ticks, signal.SIGKILL)
        if time.monotonic() >= deadline:
            return False
        time.sleep(0.02)


def _left(
    one: linux.Process, table: dict[int, linux.Process], supervisors: set[int], mark: bytes, uid: int | None
) -> bool:
    if mark in _read(f"/proc/{one.pid}/environ").split(b"\0"):
        return True
    if uid is None or _uid(one.pid) != uid:
        return False
    above: linux.Process | None = one
    while above is not None and above.pid not in supervisors:
        above = table.get(above.parent)
    return above is None


def _uid(pid: int) -> int | None:
    for line in _read(f"/proc/{pid}/status").splitlines():
        if line.startswith(b"Uid:"):
            return int(line.split()[1])
    return None


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return b""
