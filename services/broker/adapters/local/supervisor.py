"""The process that runs one submission: `python -I -S supervisor.py <folder>`. Standard library only.

It inherits nothing, detaches, claims the folder (exactly one claim can be, ever), runs the tasks by their throttle, enforces
walltime, memory and output, and writes what happened. It needs no one: the platform may die and come back, and reads the files.

In the folder: `submission.json` (what to run), `script`, `claim` (who decides), `cancel` (a wish), `<index>.start.json` (before the
task is let go), `<index>.end.json`, `logs/<index>.stdout|stderr`, `ended`; the mtime of `heartbeat` is the latest moment up to
which all this is complete.
"""

import contextlib
import json
import os
import resource
import signal
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from services.broker.adapters.local import files, isolation, keeper, linux, tasks
else:
    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
    import files
    import isolation
    import keeper
    import linux
    import tasks


def detach() -> None:
    """Become a daemon: a session of its own, no terminal, nothing inherited, child of init."""
    os.closerange(3, 1 << 20)
    if os.fork():
        os._exit(0)
    os.setsid()
    if os.fork():
        os._exit(0)
    os.chdir("/")
    os.umask(0o077)


def claim(folder: str) -> bool:
    """Whether this process is the one that runs the submission."""
    own = linux.process(os.getpid())
    content = {
        "by": "supervisor", "boot_id": linux.boot_id(), "pid_namespace": linux.pid_namespace(), "pid": os.getpid(),
        "ticks": own.ticks if own else 0,
    }  # fmt: skip
    try:
        return files.create(f"{folder}/claim", content)
    except FileNotFoundError:
        return False  # discarded meanwhile


def main(folder: str) -> None:
    detach()
    # before the claim, which tells others where to send signals
    hearing, speaking = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(speaking, warn_on_full_buffer=False)
    for number in (signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, lambda *_: None)
    for number in (signal.SIGHUP, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    linux.prctl(linux.PR_SET_CHILD_SUBREAPER, 1)
    # a descriptor for each task that runs
    resource.setrlimit(resource.RLIMIT_NOFILE, (keeper.OPEN_FILES[1], keeper.OPEN_FILES[1]))
    claimed = claim(folder)
    # whoever started this may be gone
    with contextlib.suppress(BrokenPipeError):
        os.write(1, b"claimed" if claimed else b"taken")
    os.dup2(0, 1)
    if claimed:
        tasks.Tasks(folder, hearing).run()


if __name__ == "__main__":
    if sys.argv[1] == "--probe":
        asked = json.load(sys.stdin)
        print(isolation.probe(isolation.View.from_json(asked["view"]), asked["folder"], tuple(asked["forbidden"])))
    else:
        main(sys.argv[1])
