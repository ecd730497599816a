"""One task: its process, and everything that descends from it. Standard library only: the supervisor imports it bare.

A keeper is forked for each task and is a subreaper, so whatever the task starts stays below it, also what left the group or became
a daemon. It ends only when nothing of the task is left. When the supervisor dies the kernel tells it (PDEATHSIG), and it
ends the task.
"""

import contextlib
import itertools
import json
import os
import resource
import signal
import time
from typing import Any, NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from services.broker.adapters.local import isolation, linux
else:
    import isolation
    import linux

OPEN_FILES = resource.getrlimit(resource.RLIMIT_NOFILE)
"""The limit as the supervisor found it, for the tasks."""
WATCHED = {signal.SIGCHLD, signal.SIGTERM}


class Task(NamedTuple):
    """What to run. `stdout` and `stderr` are open descriptors."""

    script: str
    interpreted: bool
    """Whether the script names its interpreter itself; else it is /bin/sh's."""
    folder: str
    environment: dict[str, str]
    view: isolation.View
    grace_seconds: float
    stdout: int
    stderr: int


def start(task: Task) -> tuple[int, int, int]:
    """Fork a keeper that holds the task ready. Returns (keeper's pid, descriptor to read from, descriptor to let go by).

    The keeper writes JSON lines: {"pid", "ticks"} at once; after a byte was written to the other descriptor {"failed", "site"} when
    the task could not be executed, and at the end {"status"} (as waitpid gives it) once nothing of the task is left. Closing the
    other descriptor without a byte calls it off.
    """
    supervisor = os.getpid()
    reading, writing = os.pipe()
    go_reading, go_writing = os.pipe()
    # none may come before the keeper listens
    held = signal.pthread_sigmask(signal.SIG_BLOCK, WATCHED)
    keeper = os.fork()
    if keeper == 0:
        status = 1
        try:
            os.close(reading)
            os.close(go_writing)
            _keep(task, supervisor, writing, go_reading)
            status = 0
        finally:
            os._exit(status)
    signal.pthread_sigmask(signal.SIG_SETMASK, held)
    os.close(writing)
    os.close(go_reading)
    return keeper, reading, go_writing


def _keep(task: Task, supervisor: int, report: int, go: int) -> None:
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, signal.SIG_DFL)
    linux.prctl(linux.PR_SET_CHILD_SUBREAPER, 1)
    linux.prctl(linux.PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != supervisor:
        return
    _close_others({report, go, task.stdout, task.stderr})

    def say(**content: Any) -> None:
        # without a supervisor, what is left to do is to end the task
        with contextlib.suppress(BrokenPipeError):
            os.write(report, json.dumps(content).encode() + b"\n")

    failing, failure = os.pipe()
    child = os.fork()
    if child == 0:
        _become(task, os.getppid(), go, failure)
    for descriptor in (go, failure, task.stdout, task.stderr):
        os.close(descriptor)
    born = linux.process(child)
    say(pid=child, ticks=born.ticks if born else 0)
    with os.fdopen(failing, "rb") as file:
        failed = file.read()  # ends when the task has been executed, or has given up
    if failed:
        kind, _, words = failed.decode(errors="replace").partition(":")
        say(failed=words, site=kind == "site")

    status = _wait(child, task.grace_seconds)
    say(status=status)


def _wait(child: int, grace_seconds: float) -> int:
    """Wait for the task's process, then end all that is left. Told to (SIGTERM), end it first: gently, after the grace by force."""
    status: int | None = None
    force_at: float | None = None
    forced = False
    while True:
        try:
            pid, state = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return status if status is not None else signal.SIGKILL
        if pid == child:
            status = state
            forced = True
        if pid:
            continue
        if forced or (force_at is not None and time.monotonic() >= force_at):
            forced = True
            # stopped first: what is stopped can't fork away from what comes next
            _signal_all(signal.SIGSTOP)
            _signal_all(signal.SIGKILL)
        got = signal.sigtimedwait(WATCHED, 0.02 if forced else _until(force_at))
        if got is not None and got.si_signo == signal.SIGTERM and force_at is None:
            force_at = time.monotonic() + grace_seconds
            _signal_all(signal.SIGTERM)
            _signal_all(signal.SIGCONT)


def _until(deadline: float | None) -> float:
    return 3600.0 if deadline is None else max(0.0, deadline - time.monotonic())


def _signal_all(number: signal.Signals) -> None:
    for one in linux.descendants(linux.processes(), os.getpid()):
        if not one.dead:
            with contextlib.suppress(ProcessLookupError):
                os.kill(one.pid, number)


def _become(task: Task, keeper: int, go: int, failure: int) -> None:
    """In the child: wait for the word, then become the task. Never returns."""
    kind, code = "site", 126
    try:
        os.setsid()
        os.umask(0o022)
        _bare(task)
        isolation.enter(task.view, task.folder)
        # after the change of user, which clears it
        linux.prctl(linux.PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != keeper or os.read(go, 1) != b"g":
            os._exit(125)
        os.umask(0o077)
        kind = "user"
        arguments = [task.script] if task.interpreted else ["/bin/sh", task.script]
        os.execve(arguments[0], arguments, {name.encode(): value.encode() for name, value in task.environment.items()})
    except OSError as error:
        # as shells do (POSIX, 2.8.2): 127 when there is nothing to execute
        missing = isinstance(error, FileNotFoundError)
        code = 127 if missing else 126
        why = f"there is no {_interpreter(task.script)}" if missing and task.interpreted else error
        os.write(failure, f"{kind}:{why}".encode())
    finally:
        os._exit(code)


def _bare(task: Task) -> None:
    """Standard streams and signals as a program expects them."""
    null = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((null, 0), (task.stdout, 1), (task.stderr, 2)):
        os.dup2(source, target)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, OPEN_FILES)
    # when memory runs out, tasks go before what keeps them
    with open("/proc/self/oom_score_adj", "w") as file:
        file.write("500")
    for number in (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, set())


def _close_others(wanted: set[int]) -> None:
    """Close all descriptors but the standard ones and these."""
    for low, high in itertools.pairwise([2, *sorted(wanted), 1 << 20]):
        os.closerange(low + 1, high)


def _interpreter(script: str) -> str:
    """As its `#!` line has it; one that isn't there is what `execve` calls no such file."""
    with open(script, "rb") as file:
        return file.readline(256)[2:].decode(errors="replace").split()[0]
