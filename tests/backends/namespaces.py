"""A cluster in namespaces of its own: its supervisor is the first process there, and all that was started in them ends with it.

What starts a cluster keeps a pipe to the supervisor, which ends when that closes; one that stays ends by a signal. The supervisor's number
is in the file `pid` of the cluster's folder, which is where it works.
"""

import json
import os
import select
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).parents[2]
OWN = ("unshare", "--mount", "--pid", "--fork", "--kill-child")


def supervise(module: str, asked: Mapping[str, Any], *more: str, stays: bool) -> subprocess.Popen[str]:
    """Run `module`, which is given `asked`. `more` namespaces: options of unshare. Its first line of output is its word."""
    return subprocess.Popen(
        [*OWN, *more, sys.executable, "-m", module, json.dumps({**asked, "stays": stays})],
        cwd=CHECKOUT,
        stdin=subprocess.DEVNULL if stays else subprocess.PIPE,
        stdout=subprocess.PIPE,
        # who stays holds no pipe of the one who started it: `up | cat` ends
        stderr=subprocess.DEVNULL if stays else None,
        text=True,
        start_new_session=True,  # an interrupt at the terminal is for pytest
    )


@contextmanager
def ending(process: subprocess.Popen[str], folder: str, seconds: float) -> Iterator[None]:
    """After the block it has ended, within so long or by force, and its folder is gone."""
    try:
        yield
    finally:
        try:
            process.communicate(timeout=seconds)  # closes the pipe that the supervisor waits at
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
        shutil.rmtree(folder, ignore_errors=True)  # what the supervisor couldn't


def end(folder: str, seconds: float) -> None:
    """The one that stays there, if there is one. Raises TimeoutError."""
    pid = supervisor(folder)
    if pid is None:
        return
    process = os.pidfd_open(pid)
    try:
        signal.pidfd_send_signal(process, signal.SIGTERM)
        if not select.select([process], [], [], seconds)[0]:
            raise TimeoutError(f"{folder}: process {pid} doesn't end")
    finally:
        os.close(process)


def supervisor(folder: str) -> int | None:
    """The process that everything in `folder` ends with."""
    try:
        pid = int(Path(folder, "pid").read_text())
        # the file can outlive its process, and the number be another's by then
        return pid if os.readlink(f"/proc/{pid}/cwd") == os.path.realpath(folder) else None
    except FileNotFoundError:
        return None


def enter(folder: Path) -> int:
    """The supervisor's own first step: its number on the machine. SIGTERM then ends it as `sys.exit` does."""
    if os.getpid() != 1:
        sys.exit("only in namespaces of its own: see namespaces.py")
    pid = int(os.readlink("/proc/self"))  # /proc is still the machine's
    os.umask(0o022)
    os.chdir(folder)
    Path("pid").write_text(str(pid))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    return pid


def reap() -> None:
    """What ended of the supervisor's children: orphans of the namespaces are its own."""
    while _children() and os.waitpid(-1, os.WNOHANG)[0]:
        pass


def kill_all() -> None:
    """Every process of the supervisor's namespaces, and no other: it is their first."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    with suppress(ProcessLookupError):
        os.kill(-1, signal.SIGKILL)
    while _children():
        os.waitpid(-1, 0)


def _children() -> bool:
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True
