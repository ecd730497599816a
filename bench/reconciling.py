"""`caravan reconcile`, run as a centre's finance runs it against the site's own books, and these as it writes them for Kubernetes."""

import asyncio
import csv
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from bench.platform import Platform
from caravan.kernel import clock
from caravan.reconcile.record import COLUMNS
from tests.backends.kubernetes import Cluster
from tests.backends.kubernetes.containers import Container

AROUND: Final = timedelta(hours=2)
PODS: Final = "/api/v1/pods?labelSelector=caravan/tag"


def reconcile(
    platform: Platform, provider: str, site: str, *arguments: str, path: str | None = None
) -> tuple[int, dict[str, Any], str]:
    """Its exit code, what it found, and its words where it found nothing out. `path`: of its programs, before all others."""
    now = clock.floor_second(clock.now())
    told = {
        "PATH": os.environ["PATH"] if path is None else f"{path}{os.pathsep}{os.environ['PATH']}",
        "CARAVAN_URL": platform.url("accounting").removesuffix("/accounting"),
        "CARAVAN_TOKEN": platform.token(f"provider/{provider}:admin"),
    }
    span = ("--from", (now - AROUND).isoformat(), "--to", (now + AROUND).isoformat())
    command = [sys.executable, "-m", "caravan.cli", "reconcile", "site", site, *span, "--json", *arguments]
    done = subprocess.run(command, env=os.environ | told, capture_output=True, text=True)
    return done.returncode, json.loads(done.stdout) if done.stdout else {}, done.stderr


async def kubernetes_reconciled(platform: Platform, provider: str, site: str, cluster: Cluster, runs: int) -> list[str]:
    """What it finds against the node's record of containers, and against the pods that are still there: of so many runs that it must
    have compared, or of which there is no pod any more."""
    pods, record = platform.folder / "pods.json", platform.folder / "containers.csv"
    await asyncio.to_thread(_write_books, cluster, pods, record)
    books = (("--pods", pods), ("--containers", record))
    found = await asyncio.gather(
        *(asyncio.to_thread(reconcile, platform, provider, site, option, str(file)) for option, file in books)
    )
    return [
        f"{option}: exit code {code}, of {runs} runs: {told}{words}"
        for (option, _), (code, told, words) in zip(books, found, strict=True)
        if code or told["compared"] + told["not_kept"] != runs or told["open"]
    ]


def _write_books(cluster: Cluster, pods: Path, record: Path) -> None:
    pods.write_text(json.dumps(cluster.ask("GET", PODS)))
    write_record(record, cluster.containers())


def write_record(file: Path, containers: Sequence[Container]) -> None:
    """As docs/kubernetes.md has it."""
    with file.open("w", newline="") as lines:
        writer = csv.DictWriter(lines, COLUMNS)
        writer.writeheader()
        writer.writerows(map(recorded, containers))


def recorded(one: Container) -> dict[str, str]:
    said = one.environment
    return {
        "site": said.get("CARAVAN_SITE", ""),
        "submission": said.get("CARAVAN_SUBMISSION", ""),
        "nodes": said.get("CARAVAN_NODES", ""),
        "rank": said.get("CARAVAN_NODE_RANK", ""),
        "pod": one.pod_uid,
        "started": one.started.isoformat(),
        "ended": one.ended.isoformat() if one.ended else "",
        "exit_code": "" if one.exit_code is None else str(one.exit_code),
        "cpus": str(one.cpus),
        "memory_mib": str(one.memory_mib),
    }
