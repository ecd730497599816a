"""Load from Debian's wrk, a generator in C that is not itself the limit. Loopback only, bounded in time."""

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import httpx

from caravan.kernel import clock

UNITS = {"us": 1e-3, "ms": 1.0, "s": 1e3}
POST = """
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
wrk.headers["Authorization"] = "Bearer {token}"
wrk.body = [==[{body}]==]
local n = 0
local thread_id = 0
function setup(thread) thread:set("id", thread_id); thread_id = thread_id + 1 end
function request()
  n = n + 1
  wrk.headers["Idempotency-Key"] = "{run}-" .. id .. "-" .. n
  return wrk.format()
end
"""
GET = """
wrk.headers["Authorization"] = "Bearer {token}"
"""


@dataclass(frozen=True)
class Load:
    """What a run measured. Latencies in milliseconds."""

    per_second: float
    p50_ms: float
    p99_ms: float
    errors: int

    def __str__(self) -> str:
        return f"{self.per_second:.0f}/s, p50 {self.p50_ms:.1f} ms, p99 {self.p99_ms:.1f} ms"


def at_hand() -> bool:
    """Whether there is a wrk here, or can be."""
    return bool(shutil.which("wrk")) or os.geteuid() == 0


def wrk() -> str:
    """The path of wrk; as root it is installed when missing. Raises RuntimeError elsewhere."""
    if found := shutil.which("wrk"):
        return found
    if os.geteuid() != 0:
        raise RuntimeError("wrk is not installed: apt-get install wrk")
    subprocess.run(["apt-get", "update", "-qq"], check=True)
    subprocess.run(["apt-get", "install", "-y", "-qq", "wrk"], check=True, stdout=subprocess.DEVNULL)
    return shutil.which("wrk") or "wrk"


def load(folder: Path, url: str, script: str, *, clients: int, seconds: int) -> Load:
    """Send requests from `clients` connections for `seconds`. `script` is POST or GET, filled in."""
    if not url.startswith("http://127.0.0.1:"):
        raise ValueError("load goes to loopback only")
    path = folder / "load.lua"
    path.write_text(script)
    command = [wrk(), "-t1", f"-c{clients}", f"-d{seconds}s", "--latency", "--timeout", "30s", "-s", str(path), url]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return read(done.stdout)


def a_few(url: str, token: str, body: str, *, run: str) -> Load:
    """Ten requests from Python, where there is no wrk: that all answers are good, and no figure to rely on."""
    took, errors = [], 0
    with httpx.Client(timeout=30) as http:
        for number in range(10):
            headers = {"Authorization": f"Bearer {token}", "Idempotency-Key": f"{run}-{number}"}
            began = clock.monotonic()
            answer = http.post(url, content=body, headers=headers | {"Content-Type": "application/json"})
            took.append((clock.monotonic() - began) * 1000)
            errors += not answer.is_success
    return Load(1000 * len(took) / sum(took), median(took), max(took), errors)


def read(output: str) -> Load:
    """What wrk printed."""

    def latency(percentile: str) -> float:
        found = re.search(rf"^\s*{percentile}%\s+([\d.]+)(us|ms|s)", output, re.M)
        if found is None:
            raise ValueError(f"wrk printed no latencies:\n{output}")
        return float(found[1]) * UNITS[found[2]]

    rate = re.search(r"Requests/sec:\s+([\d.]+)", output)
    bad = re.search(r"Non-2xx or 3xx responses: (\d+)", output)
    sockets = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", output)
    errors = int(bad[1]) if bad else 0
    return Load(
        float(rate[1]) if rate else 0.0,
        latency("50"),
        latency("99"),
        errors + (sum(map(int, sockets.groups())) if sockets else 0),
    )
