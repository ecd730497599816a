"""Nothing that a demo or a proof has started outlives it, whichever way it's told to end."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

IN_BACKGROUND = ["env", "--default-signal=HUP", "sh", "-c", 'trap "" INT; exec "$@"', "sh"]
"""As a script's `&` starts a command; also where these tests themselves run under nohup."""
UNDER_NOHUP = ["sh", "-c", 'trap "" INT HUP; exec "$@"', "sh"]
HOLDS_A_CHILD = """
import asyncio, subprocess, sys
from bench.ending import like_ctrl_c
like_ctrl_c()
child = subprocess.Popen(["sleep", "600"], stdout=subprocess.DEVNULL)
try:
    print(child.pid, flush=True)
    asyncio.run(asyncio.sleep(600))
except KeyboardInterrupt:
    print("told", flush=True)
    sys.stdin.readline()  # while it ends, what else comes cuts nothing short
finally:
    child.kill()
    child.wait()
"""


def started_by(pid: int) -> int:
    """Its first child."""
    deadline = time.monotonic() + 180
    while time.monotonic() < deadline:
        for thread in Path(f"/proc/{pid}/task").iterdir():
            if found := (thread / "children").read_text().split():
                return int(found[0])
        time.sleep(0.02)
    raise TimeoutError(f"process {pid} started nothing")


@pytest.mark.slow
def test_a_demo_in_the_background_that_is_told_to_end_leaves_no_platform(tmp_path: Path) -> None:
    command = [*IN_BACKGROUND, sys.executable, "-m", "bench.demo", "--folder", str(tmp_path / "out")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as demo:
        try:
            platform = started_by(demo.pid)
        finally:
            demo.terminate()
        said, _ = demo.communicate(timeout=180)
    left = Path(f"/proc/{platform}").exists()
    if left:
        os.kill(platform, signal.SIGKILL)
    assert (demo.returncode, "stopped" in said, left) == (1, True, False), said


def test_a_second_signal_does_not_cut_the_ending_short() -> None:
    with subprocess.Popen(
        [*IN_BACKGROUND, sys.executable, "-c", HOLDS_A_CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as one:
        assert one.stdin and one.stdout
        child = int(one.stdout.readline())
        one.send_signal(signal.SIGHUP)
        assert one.stdout.readline() == "told\n"
        one.send_signal(signal.SIGTERM)
        one.send_signal(signal.SIGHUP)
        one.communicate("\n", timeout=60)
    assert one.returncode == 0
    assert not Path(f"/proc/{child}").exists()


def test_under_nohup_it_outlives_the_terminal() -> None:
    with subprocess.Popen(
        [*UNDER_NOHUP, sys.executable, "-c", HOLDS_A_CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as one:
        assert one.stdin and one.stdout
        one.stdout.readline()
        ignored = Path(f"/proc/{one.pid}/status").read_text().split("SigIgn:\t")[1].split()[0]
        assert int(ignored, 16) & 1 << signal.SIGHUP - 1
        one.terminate()
        assert one.stdout.readline() == "told\n"
        one.communicate("\n", timeout=60)
    assert one.returncode == 0
