"""The tasks of one claimed submission, run to their end. Standard library only: the supervisor imports it bare."""

import contextlib
import json
import os
import select
import signal
import sys
import time
from typing import Any

TYPE_CHECKING = False
if TYPE_CHECKING:
    from services.broker.adapters.local import files, isolation, keeper, linux
else:
    import files
    import isolation
    import keeper
    import linux

CHECK_EVERY_SECONDS = 0.5
STREAMS = ("stdout", "stderr")
RESERVE_SECONDS = 0.5
"""The end of the grace that is kept for dying and writing it down, so that a run fits its grant."""
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Running:
    """A task under way. Times are epoch seconds, `walltime_at` is on the monotonic clock."""

    def __init__(self, index: int, pid: int, report: int, started_at: float, walltime_seconds: float) -> None:
        self.index = index
        self.pid = pid
        self.report = report
        self.started_at = started_at
        self.walltime_at = time.monotonic() + walltime_seconds
        self.identity = ""
        self.said = b""
        self.status: int | None = None
        self.failed = ""
        self.site = False
        self.stopped: tuple[str, str] | None = None
        """Why it is being ended: (outcome, detail)."""

    def stop(self, outcome: str, detail: str) -> None:
        """Have the keeper end it, once."""
        if self.stopped is None:
            self.stopped = (outcome, detail)
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGTERM)


class Tasks:
    """Runs one claimed submission to its end."""

    def __init__(self, folder: str, wakeups: int) -> None:
        spec = files.read(f"{folder}/submission.json")
        if spec is None:
            raise FileNotFoundError(f"{folder}/submission.json")
        self.folder = folder
        self.spec: dict[str, Any] = spec
        self.wakeups = wakeups
        self.view = isolation.View.from_json(spec["view"])
        self.waiting: list[int] = sorted(spec["indices"], reverse=True)
        self.running: dict[int, Running] = {}
        self.family = linux.Family()
        self.boot_id = linux.boot_id()
        self.clock_was = 0.0
        self.heartbeat_at = 0.0
        self.check_at = time.monotonic() + CHECK_EVERY_SECONDS
        self.closing: tuple[str, str] | None = None
        with open(f"{folder}/script", "rb") as file:
            self.interpreted = file.read(2) == b"#!"

    def clock(self) -> float:
        """Epoch seconds that never go back, so that what was written once stays before what comes later."""
        self.clock_was = max(self.clock_was, time.time())
        return self.clock_was

    def run(self) -> None:
        os.makedirs(f"{self.folder}/logs", 0o750, exist_ok=True)
        if self.view.uid is not None:
            os.chown(f"{self.folder}/logs", 0, self.view.uid)
        os.close(os.open(f"{self.folder}/heartbeat", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
        self.beat()
        while self.waiting or self.running:
            self.look_for_cancel()
            while self.waiting and len(self.running) < self.spec["max_parallel"]:
                self.start(self.waiting.pop())
                self.beat()
            self.listen()
            self.reap()
            self.enforce()
            self.beat()
        files.create(f"{self.folder}/ended", {"by": "supervisor", "detail": self.closing[1] if self.closing else ""})

    def beat(self) -> None:
        """Say once in a second that all is written up to now."""
        now = self.clock()
        if int(now) > int(self.heartbeat_at):
            self.heartbeat_at = now
            nanoseconds = int(now) * 1_000_000_000
            os.utime(f"{self.folder}/heartbeat", ns=(nanoseconds, nanoseconds))

    def look_for_cancel(self) -> None:
        if self.closing is None and os.path.exists(f"{self.folder}/cancel"):
            self.close("cancelled", "cancelled")

    def close(self, outcome: str, detail: str) -> None:
        """Start nothing more and end what runs."""
        self.closing = (outcome, detail)
        self.waiting.clear()
        for task in self.running.values():
            task.stop(outcome, detail)

    def start(self, index: int) -> None:
        log = f"{self.folder}/logs/{index}."
        outputs = [
            os.open(log + name, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640) for name in STREAMS
        ]
        if self.view.uid is not None:
            # its own, so that it can open /dev/stdout
            for output in outputs:
                os.fchown(output, self.view.uid, self.view.uid)
        script = f"{self.folder}/script"
        task = keeper.Task(
            script, self.interpreted, self.spec["home"], self.environment(index), self.view,
            self.spec["grace_seconds"] - RESERVE_SECONDS, outputs[0], outputs[1],
        )  # fmt: skip
        pid, report, go = keeper.start(task)
        for output in outputs:
            os.close(output)
        running = Running(index, pid, report, self.clock(), self.spec["walltime_seconds"])
        while b"\n" not in running.said:
            more = os.read(report, 4096)
            if not more:
                raise RuntimeError(f"the keeper of task {index} ended before it began")
            running.said += more
        self.running[report] = running
        self.take(running)
        files.replace(f"{self.folder}/{index}.start.json", self.begun(running))
        # a task that could not be isolated no longer waits for it
        with contextlib.suppress(BrokenPipeError):
            os.write(go, b"g")
        os.close(go)

    def begun(self, running: Running) -> dict[str, Any]:
        return {"index": running.index, "identity": running.identity, "started_at": int(running.started_at)}

    def environment(self, index: int) -> dict[str, str]:
        own = {**self.spec["marks"], "CARAVAN_ARRAY_INDEX": str(index)}
        base = {"PATH": PATH, "LANG": "C.UTF-8", "HOME": self.spec["home"], "USER": self.spec["user"]}
        return {**base, **self.spec["environment"], **own}

    def listen(self) -> None:
        """Wait for words from keepers, a signal, or the time of the next check."""
        now = time.monotonic()
        due = [self.check_at, *(task.walltime_at for task in self.running.values() if task.stopped is None)]
        second = 1.0 - time.time() % 1.0 + 0.002
        for descriptor in self.poll(max(0.0, min(second, min(due) - now))):
            task = self.running.get(descriptor)
            if task is None:
                self.signals(os.read(self.wakeups, 4096))
                continue
            more = os.read(descriptor, 4096)
            task.said += more
            self.take(task)
            if not more:
                os.close(descriptor)
                self.end(self.running.pop(descriptor))

    def poll(self, seconds: float) -> list[int]:
        """Descriptors with something to read, within this time."""
        poll = select.poll()
        for descriptor in (self.wakeups, *self.running):
            poll.register(descriptor, select.POLLIN)
        return [descriptor for descriptor, _ in poll.poll(seconds * 1000)]

    def signals(self, numbers: bytes) -> None:
        if signal.SIGTERM in numbers and self.closing is None:
            self.close("site", "the machine or its operator ended the supervisor")

    def take(self, task: Running) -> None:
        """Take in what its keeper has said."""
        *lines, task.said = task.said.split(b"\n")
        for line in lines:
            content = json.loads(line)
            if "pid" in content:
                task.identity = f"local:{self.boot_id}:{content['pid']}:{content['ticks']}"
            if "failed" in content:
                task.failed, task.site = content["failed"], content["site"]
                if task.site:  # it may name folders of the site: that is for supervisor.log
                    print(f"task {task.index} could not be isolated: {task.failed}", file=sys.stderr, flush=True)
            if "status" in content:
                task.status = content["status"]

    def end(self, task: Running) -> None:
        """Write how it ended; nothing of it is left by now."""
        if task.status is None:
            self.end_orphans()
        over = self.cut_output(task.index)
        if over and task.stopped is None:
            task.stopped = ("limit", over)
        ended = {
            **self.begun(task), **self.outcome(task), "ended_at": max(int(self.clock()), int(task.started_at))
        }  # fmt: skip
        # whoever believed this process dead has written it first, and that has been told
        files.create(f"{self.folder}/{task.index}.end.json", ended)

    def outcome(self, task: Running) -> dict[str, Any]:
        exit_code = number = None
        if task.status is not None:
            exit_code = os.WEXITSTATUS(task.status) if os.WIFEXITED(task.status) else None
            number = os.WTERMSIG(task.status) if os.WIFSIGNALED(task.status) else None
        if task.status is None:
            outcome, detail = "site", "the process that watches over the task was killed"
        elif task.site:
            exit_code = None
            outcome, detail = "site", "the task could not be isolated"
        elif task.stopped is not None:
            outcome, detail = task.stopped
        elif task.failed:
            outcome, detail = "user", f"the script can't be executed: {task.failed}"
        elif number is not None:
            outcome, detail = "user", f"ended by signal {number} ({signal.strsignal(number)})"
        elif exit_code:
            outcome, detail = "user", f"exit code {exit_code}"
        else:
            outcome, detail = "succeeded", ""
        return {"outcome": outcome, "detail": detail, "exit_code": exit_code, "signal": number}

    def enforce(self) -> None:
        """End tasks that are over their walltime, memory or output."""
        now = time.monotonic()
        for task in self.running.values():
            if now >= task.walltime_at:
                task.stop("limit", f"walltime: {self.spec['walltime_seconds']} s are over")
        if now >= self.check_at:
            self.check_at = now + CHECK_EVERY_SECONDS
            limit = self.spec["memory_mib"]
            table = self.family.table()
            for task in self.running.values():
                used = self.memory_kib(table, task.pid, limit * 1024)
                if used > limit * 1024:
                    task.stop("limit", f"memory: {-(-used // 1024)} MiB used, {limit} MiB allowed")
                if over := self.cut_output(task.index):
                    task.stop("limit", over)

    def memory_kib(self, table: dict[int, linux.Process], pid: int, limit_kib: int) -> int:
        """The proportional set sizes of all below the keeper, summed, as far as they can pass the limit."""
        below = linux.descendants(table, pid)
        most = sum(one.rss_kib for one in below)
        return most if most <= limit_kib else sum(linux.pss_kib(one.pid) for one in below)

    def cut_output(self, index: int) -> str:
        """Cut a task's output back to its limit. Returns words for how far it was over, empty when it was not."""
        limit, over = self.spec["output_mib"], ""
        for stream in STREAMS:
            path = f"{self.folder}/logs/{index}.{stream}"
            try:
                written = os.stat(path).st_size
            except FileNotFoundError:  # without root a task has the right to remove what it wrote
                continue
            if written > limit * 2**20:
                os.truncate(path, limit * 2**20)
                over = f"output: {-(-written // 2**20)} MiB written to {stream}, {limit} MiB allowed"
        return over

    def reap(self) -> None:
        """Bury keepers that have ended."""
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass

    def end_orphans(self) -> None:
        """Kill what outlived its keeper and so came to this process, until nothing of it is left."""
        while True:
            self.reap()
            table = linux.processes()
            keepers = {task.pid for task in self.running.values()}
            orphans = [one for one in table.values() if one.parent == os.getpid() and one.pid not in keepers]
            if not orphans:
                return
            for one in orphans:
                for victim in [one, *linux.descendants(table, one.pid)]:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(victim.pid, signal.SIGKILL)
            time.sleep(0.005)
