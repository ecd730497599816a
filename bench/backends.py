"""What the local backend costs: `python -m bench.backends [submissions]`. In a folder of its own, on this machine, as this user."""

import asyncio
import os
import sys
import tempfile
import time
from pathlib import Path
from statistics import median, quantiles

from caravan.contracts.dispatch import Submission
from caravan.contracts.spec import Resources
from caravan.kernel import ids
from services.broker.adapters import local
from services.broker.adapters.local import files
from services.broker.adapters.port import Backend, Seen, SiteContext

TICKS = os.sysconf("SC_CLK_TCK")


def submission(script: str, tenant: str, settings: dict[str, object]) -> Submission:
    resources = Resources(walltime_seconds=3600)
    attempt = ids.new("att")
    return Submission(
        tag=ids.bare(attempt), attempt=attempt, job=ids.new("job"), tenant=tenant, tenant_settings={}, offering=ids.new("off"),
        target={}, name="bench", script=script, environment={}, resources=resources,
        grant=local.adapter.grant(resources, {}, settings), indices=(0,), max_parallel=1,
    )  # fmt: skip


async def ended(backend: Backend, reference: str) -> Seen:
    while True:
        seen = (await backend.observe([reference]))[reference]
        if isinstance(seen, Seen) and seen.ended:
            return seen
        await asyncio.sleep(0.002)


def show(what: str, seconds: list[float]) -> None:
    print(f"{what:<40} p50 {median(seconds) * 1000:8.1f} ms   p99 {quantiles(seconds, n=100)[98] * 1000:8.1f} ms")


def cpu_seconds(pid: int) -> float:
    """User and system time of a process (proc(5))."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


async def main(count: int) -> None:
    with tempfile.TemporaryDirectory(prefix="caravan-bench-") as folder:
        settings: dict[str, object] = {"folder": f"{folder}/site", "i_accept_jobs_on_this_machine": True}
        async with local.adapter.open(SiteContext(site=ids.new("sit"), settings=settings)) as backend:
            await short(backend, settings, count)
            await long(backend, settings, f"{folder}/site", count)


async def short(backend: Backend, settings: dict[str, object], count: int) -> None:
    """Submissions one after another that do nothing."""
    tenant = ids.new("ten")
    staged, released, to_end = [], [], []
    for _ in range(count):
        at = time.monotonic()
        reference = await backend.stage(submission("#!/bin/true\n", tenant, settings))
        staged.append(time.monotonic() - at)
        at = time.monotonic()
        await backend.release(reference)
        released.append(time.monotonic() - at)
        await ended(backend, reference)
        to_end.append(time.monotonic() - at)
    show("stage", staged)
    show("release", released)
    show("release to end of an empty script", to_end)


async def long(backend: Backend, settings: dict[str, object], folder: str, count: int) -> None:
    """As many that sleep, at once: what looking at them and what keeping them costs."""
    tenant = ids.new("ten")
    references = [
        await backend.stage(submission("#!/bin/sh\nexec sleep 3600\n", tenant, settings)) for _ in range(count)
    ]
    for reference in references:
        await backend.release(reference)
    supervisors = [(files.read(f"{folder}/submissions/{one}/claim") or {})["pid"] for one in references]
    observed, changed = [], []
    before = [cpu_seconds(pid) for pid in supervisors]
    began = time.monotonic()
    while time.monotonic() < began + 10:
        at = time.monotonic()
        await backend.observe(references)
        observed.append(time.monotonic() - at)
        at = time.monotonic()
        await backend.changed(time.time() + 60)
        changed.append(time.monotonic() - at)
        await asyncio.sleep(0.5)
    took = time.monotonic() - began
    used = [(cpu_seconds(pid) - was) / took for pid, was in zip(supervisors, before, strict=True)]
    show(f"observe {count} running", observed)
    show(f"changed, with {count} running and none changed", changed)
    print(f"{'a supervisor, of a CPU':<40} mean {sum(used) / count * 100:.2f} %")
    for reference in references:
        await backend.cancel(reference)
    for reference in references:
        await ended(backend, reference)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 50))
