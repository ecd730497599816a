"""The Slurm clusters that other tests run against: they execute jobs, keep books, and leave nothing."""

import json
import os
import select
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.backends.namespaces import CHECKOUT
from tests.backends.slurm import RELEASES, Cluster, Release, must_run
from tests.support import ok, until

pytestmark = pytest.mark.slow

HOLDER = """
import sys
from tests.backends.slurm import RELEASES
from tests.backends.slurm.cluster import running
with running(next(release for release in RELEASES if release.name == sys.argv[1])) as cluster:
    print(cluster.pid, cluster.folder, flush=True)
    input()
"""


@pytest.fixture
def release(slurm_cluster: Callable[[Release], Cluster]) -> Release:
    """One that can be set up here."""
    slurm_cluster(RELEASES[1])
    return RELEASES[1]


def held_job(cluster: Cluster, partition: str, gres: str) -> dict[str, Any]:
    """A request that asks for one accelerator kind and writes what Slurm gave, as the cluster's release wants it."""
    job = {
        "name": "smoke",
        "account": "proj1",
        "partition": partition,
        "current_working_directory": str(cluster.work),
        "standard_output": f"{cluster.work}/{partition}.out",
        "hold": True,
        "tasks": 1,
    }
    if cluster.release == "22.05":
        own = {"environment": {"PATH": "/usr/bin:/bin"}, "time_limit": 1, "gres": gres}
    else:
        limit = {"set": True, "infinite": False, "number": 1}
        own = {"environment": ["PATH=/usr/bin:/bin"], "time_limit": limit, "tres_per_node": f"gres/{gres}"}
    return {"script": "#!/bin/sh\nid --user --name; echo $SLURM_JOB_NODELIST\n", "job": {**job, **own}}


@pytest.mark.parametrize(("partition", "gres"), [("gpu", "gpu:h100"), ("npu", "npu:ascend910b")], ids=["gpu", "npu"])
async def test_a_held_job_runs_once_released_and_its_end_is_in_the_books(
    slurm: Cluster, partition: str, gres: str
) -> None:
    version = slurm.api_versions[-1]
    async with httpx.AsyncClient(base_url=slurm.url, headers=slurm.headers(), timeout=60) as http:

        async def controller() -> dict[str, Any]:
            return dict(ok(await http.get(f"/slurm/{version}/job/{number}"))["jobs"][0])

        async def books() -> dict[str, Any]:
            jobs = (await http.get(f"/slurmdb/{version}/job/{number}")).json()["jobs"]
            return dict(jobs[0]) if jobs else {"state": {"current": None}}

        async def completed() -> bool:
            return (await books())["state"]["current"] in ("COMPLETED", ["COMPLETED"])

        request = held_job(slurm, partition, f"{gres}:2")
        number = ok(await http.post(f"/slurm/{version}/job/submit", json=request))["job_id"]
        held = await controller()
        assert (held["job_state"], held["state_reason"]) in [("PENDING", "JobHeldUser"), (["PENDING"], "JobHeldUser")]

        ok(await http.post(f"/slurm/{version}/job/{number}", json={"hold": False}))
        await until(completed, seconds=60)

        allocated = {f"{tres['type']}/{tres['name']}": tres["count"] for tres in (await books())["tres"]["allocated"]}
        assert allocated[f"gres/{gres}"] == 2
    user, node = (slurm.work / f"{partition}.out").read_text().split()
    assert user == "alice" and node in {"gpu": ("n1", "n2"), "npu": ("n3", "n4")}[partition]


def test_a_command_of_slurm_runs_in_the_cluster(slurm: Cluster) -> None:
    assert slurm.run("sinfo", "--version") == f"slurm-wlm {slurm.version}\n"
    assert slurm.run("id", "--user", "--name", user="alice") == "alice\n"


def test_a_cluster_ends_with_the_process_that_started_it(release: Release) -> None:
    command = [sys.executable, "-c", HOLDER, release.name]
    holder = subprocess.Popen(command, cwd=CHECKOUT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert holder.stdout
    pid, folder = holder.stdout.readline().split()
    supervisor = os.pidfd_open(int(pid))
    holder.kill()
    holder.communicate()
    assert select.select([supervisor], [], [], 30)[0]
    os.close(supervisor)
    assert not Path(folder).exists()
    assert folder not in Path("/proc/self/mountinfo").read_text()


def test_a_cluster_started_by_hand_stays_until_it_is_taken_down(release: Release, tmp_path: Path) -> None:
    def by_hand(*arguments: str) -> str:
        command = [sys.executable, "-m", "tests.backends.slurm", *arguments]
        return subprocess.run(command, cwd=CHECKOUT, check=True, capture_output=True, text=True).stdout

    folder = tmp_path / "slurm"
    try:
        said = by_hand("up", str(folder), release.name)
        assert by_hand("up", str(folder), release.name) == said
    finally:
        by_hand("down", str(folder))
    assert not Path(f"/proc/{json.loads(said)['pid']}").exists()
    assert not folder.exists()


def test_only_a_release_that_moves_may_be_left_out_in_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    assert [release.name for release in RELEASES if not must_run(release)] == ["newest"]
    monkeypatch.delenv("CI")
    assert not any(map(must_run, RELEASES))
