"""What only backends that really run scripts can show: the script's world, its processes, and what a killed server leaves alone."""

import asyncio
import fcntl
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from caravan.contracts.jobs import Outcome
from caravan.kernel import ids
from tests.contract.backends import Harness, Site, eventually, having

executing = having("executes")
outliving = having("executes", "outlives")
here = having("executes", "here")
outliving_here = having("executes", "here", "outlives")


def processes_with(word: str) -> list[int]:
    """Pids of processes that have the word in their command line."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            if word.encode() in Path(f"/proc/{pid}/cmdline").read_bytes() and int(pid) != os.getpid():
                found.append(int(pid))
        except (FileNotFoundError, ProcessLookupError):
            pass
    return found


class OtherProcess:
    """Another agent's process on the same site."""

    def __init__(self, harness: Harness) -> None:
        context = harness.context
        words = [
            harness.adapter.descriptor.name,
            context.site,
            json.dumps(dict(context.settings)),
            str(context.secrets),
        ]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.contract.other_process", *words],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2],
        )  # fmt: skip

    def tell(self, *message: Any) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(message) + "\n")
        self.process.stdin.flush()

    async def answer(self) -> Any:
        assert self.process.stdout is not None
        return json.loads(await asyncio.to_thread(self.process.stdout.readline))

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            pipe.close()


@contextmanager
def other_processes(harness: Harness, count: int) -> Iterator[list[OtherProcess]]:
    others = [OtherProcess(harness) for _ in range(count)]
    try:
        yield others
    finally:
        for other in others:
            other.end()


@executing
async def test_environment_arrives_byte_by_byte(site: Site) -> None:
    environment = {
        "QUOTED": 'it\'s "so" $HOME `x` \\n',
        "LINES": "one\ntwo\n\n",
        "CHINESE": "核时 🚀",
        "EMPTY": "",
        "SPACES": "  a  ",
    }
    run = "#!/bin/sh\n" + "".join(f'printf "%s|" "${name}"\n' for name in environment)
    reference = await site.start(run, environment=environment)
    await site.ended(reference)
    assert await site.text(reference) == "".join(f"{value}|" for value in environment.values())


@executing
async def test_the_world_of_a_script_is_clean_and_says_who_it_is(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CARAVAN_SECRET_OF_THE_SERVER", "1")
    reference = await site.start(
        "#!/bin/sh\nenv; pwd; ls -l /proc/self/fd 2>/dev/null | wc -l; ulimit -c\n", indices=(5,)
    )
    await site.ended(reference)
    text = await site.text(reference, 5)
    assert "SECRET" not in text
    assert "CARAVAN_ARRAY_INDEX=5\n" in text
    assert f"CARAVAN_SUBMISSION={reference}\n" in text
    assert "CARAVAN_CPUS=1\n" in text
    # 0, 1, 2, ls's own, and the line with the total
    assert text.endswith("\n5\n0\n")


@executing
async def test_without_an_interpreter_line_a_script_is_the_shells(site: Site) -> None:
    reference = await site.start("echo from sh\n")
    assert (await site.ended(reference)).runs[0].outcome is Outcome.SUCCEEDED
    assert await site.text(reference) == "from sh\n"


@executing
async def test_a_script_that_cannot_be_executed_failed_by_itself(site: Site) -> None:
    run = await site.run("#!/no/such/interpreter\n")
    assert (run.outcome, run.exit_code) == (Outcome.USER, 127)
    assert "can't be executed" in run.detail


@here
async def test_a_task_over_its_memory_is_ended_by_the_limit(site: Site) -> None:
    # 2 x 60 MiB in two processes: only their sum is over the limit
    take = "import time; x = b'x' * 60_000_000; time.sleep(60)"
    run = await site.run(f'#!/bin/sh\npython3 -c "{take}" & python3 -c "{take}"\n', memory_mib=100)
    assert run.outcome is Outcome.LIMIT
    assert "memory" in run.detail


@here
@pytest.mark.parametrize("ending", ["exit 0", "exec sleep 600"], ids=["ends", "is cancelled"])
async def test_nothing_that_a_task_started_outlives_it(site: Site, ending: str) -> None:
    word = f"60{ids.new('run')[-8:]}".translate(str.maketrans("abcdef", "123456"))
    daemon = f"(setsid sh -c 'trap \"\" TERM; sleep {word}0 & exec env -i sleep {word}1' >/dev/null 2>&1 &)"
    reference = await site.start(
        f"#!/bin/sh\nsleep {word}2 &\nsetsid sleep {word}3 &\n{daemon}\nsleep 0.2\necho ready\n{ending}\n"
    )
    await site.has_said(reference, "ready")
    if ending != "exit 0":
        assert len(processes_with(word)) >= 4
        await site.backend.cancel(reference)
    await site.ended(reference)
    assert processes_with(word) == []


@here
async def test_a_task_that_ignores_the_signal_is_killed_after_the_grace(site: Site) -> None:
    reference = await site.start("#!/bin/sh\ntrap '' TERM\necho ready\nwhile :; do sleep 0.1; done\n")
    await site.has_said(reference, "ready")
    await site.backend.cancel(reference)
    (run,) = (await site.ended(reference)).runs
    assert (run.outcome, run.signal) == (Outcome.CANCELLED, 9)


@here
async def test_one_tenants_job_cannot_read_anothers_folder_output_script_or_processes(site: Site) -> None:
    mine, others = ids.new("ten"), ids.new("ten")
    victim = await site.start(
        "#!/bin/sh\necho secret > diary; chmod 644 diary; pwd; echo $0; echo $$; exec sleep 600\n",
        tenant=mine, environment={"KEY": "secret"},
    )  # fmt: skip
    await site.running(victim)
    home, script, pid = (await site.has_said(victim, "\n", lines=3)).splitlines()
    folder = script.removesuffix("/script")
    wanted = [f"{home}/diary", script, f"{folder}/logs/0.stdout", f"{folder}/submission.json"]
    assert [path for path in wanted if not os.path.exists(path)] == []  # noqa: ASYNC240
    wanted += [f"/proc/{pid}/environ", f"/proc/{pid}/cwd/diary", f"/proc/{pid}/root{home}/diary", f"/proc/{pid}/fd/1"]
    attack = "".join(f"cat '{path}' && echo BROKEN\n" for path in wanted)
    attack += f"ls '{home}' && echo BROKEN\nls '{home}/../..' | grep {mine} && echo BROKEN\n"
    attack += f"echo x > '{home}/x' && echo BROKEN\nrm '{home}/diary' && echo BROKEN\necho tried\n"
    thief = await site.start("#!/bin/sh\n" + attack, tenant=others)
    await site.ended(thief)
    assert await site.text(thief) == "tried\n"
    same = await site.start("#!/bin/sh\ncat diary\n", tenant=mine)
    await site.ended(same)
    assert await site.text(same) == "secret\n"
    await site.backend.cancel(victim)
    await site.ended(victim)


@outliving
async def test_released_from_several_processes_at_once_each_task_runs_once(site: Site) -> None:
    with other_processes(site.harness, 2) as others:
        for other in others:
            assert await other.answer() == "ready"
        for _ in range(3):
            reference = await site.stage(
                "#!/bin/sh\necho ran >> ran-$CARAVAN_ARRAY_INDEX-$CARAVAN_SUBMISSION\ncat ran-$CARAVAN_ARRAY_INDEX-$CARAVAN_SUBMISSION\n",
                indices=(0, 1),
            )
            for other in others:
                other.tell("release", reference)
            await site.backend.release(reference)
            assert [await other.answer() for other in others] == [None, None]
            seen = await site.ended(reference)
            assert [run.index for run in seen.runs] == [0, 1]
            assert [await site.text(reference, one) for one in (0, 1)] == ["ran\n", "ran\n"]


@outliving_here
async def test_a_server_killed_and_started_again_sees_the_same_run_and_its_true_end(site: Site) -> None:
    submission = site.harness.submission("#!/bin/sh\necho $$\nwhile [ ! -e go ]; do sleep 0.05; done\nexit 3\n")
    with other_processes(site.harness, 1) as (server,):
        assert await server.answer() == "ready"
        server.tell("stage", submission.model_dump(mode="json"))
        reference = await server.answer()
        server.tell("release", reference)
        assert await server.answer() is None
        (before,) = (await site.running(reference)).runs
        os.kill(server.process.pid, signal.SIGKILL)
        server.process.wait()
    pid = int(await site.has_said(reference, "\n"))
    os.kill(pid, 0)
    async with site.harness.open() as backend:
        restarted = Site(site.harness, backend)
        await restarted.backend.release(reference)
        (run,) = (await restarted.running(reference)).runs
        assert run.identity == before.identity
        await restarted.start("#!/bin/sh\ntouch go\n")
        (run,) = (await restarted.ended(reference)).runs
    assert (run.identity, run.outcome, run.exit_code) == (before.identity, Outcome.USER, 3)


@outliving_here
async def test_what_runs_holds_none_of_the_servers_descriptors_or_locks(site: Site, tmp_path: Path) -> None:
    held = os.open(tmp_path / "lock", os.O_CREAT | os.O_RDWR)
    os.set_inheritable(held, True)
    fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    reference = await site.start("#!/bin/sh\nexec sleep 600\n")
    await site.running(reference)
    os.close(held)
    with (tmp_path / "lock").open() as another:
        fcntl.flock(another, fcntl.LOCK_EX | fcntl.LOCK_NB)
    await site.backend.cancel(reference)
    await site.ended(reference)


@executing
async def test_the_output_of_a_running_task_grows_and_is_complete_only_at_its_end(site: Site) -> None:
    reference = await site.start("#!/bin/sh\necho first\nwhile [ ! -e on ]; do sleep 0.02; done\necho second\n")
    await site.has_said(reference, "first")
    assert not (await site.backend.read_log(reference, 0, "stdout", 0, 100)).complete
    await site.ended(await site.start("#!/bin/sh\ntouch on\n"))
    await site.ended(reference)
    log = await site.backend.read_log(reference, 0, "stdout", 6, 100)
    assert (log.data, log.complete) == (b"second\n", True)


@executing
async def test_tasks_of_an_array_start_in_the_order_of_their_index(site: Site) -> None:
    reference = await site.start(
        '#!/bin/sh\necho "$CARAVAN_ARRAY_INDEX" >> order\n', indices=(3, 11, 2), max_parallel=1
    )
    await site.ended(reference)
    shown = await site.start("#!/bin/sh\ncat order\n")
    await site.ended(shown)
    assert await site.text(shown) == "2\n3\n11\n"


@here
async def test_nothing_is_left_when_a_test_of_this_suite_is_over(site: Site) -> None:
    """A supervisor ends with its submission."""
    reference = await site.start("#!/bin/sh\nexit 0\n")
    await site.ended(reference)
    await eventually(lambda: processes_with(reference) == [], "the supervisor ends")
