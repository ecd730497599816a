"""The Kubernetes clusters that other tests run against: they execute Jobs, can be broken and mended, and leave nothing."""

import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.backends.kubernetes import Cluster, must_run, running
from tests.backends.kubernetes.client import JOBS, PODS, client, job
from tests.backends.kubernetes.cluster import down, up
from tests.backends.kubernetes.configuration import GPU, NODE
from tests.backends.kubernetes.fakes import EXIT, RUN, TAINT
from tests.backends.kubernetes.fixtures import or_left_out
from tests.backends.kubernetes.outside import groups
from tests.backends.namespaces import CHECKOUT
from tests.support import ok, until

pytestmark = pytest.mark.slow

HOLDER = """
from tests.backends.kubernetes import running
with running() as cluster:
    print(cluster.pid, cluster.number, cluster.folder, flush=True)
    input()
"""
MERGE = {"Content-Type": "application/merge-patch+json"}
SETTINGS = ("vm/overcommit_memory", "kernel/panic", "kernel/panic_on_oops", "net/ipv4/ip_forward")
"""What a node sets for its whole machine."""


def settings() -> dict[str, str]:
    return {setting: Path("/proc/sys", setting).read_text() for setting in SETTINGS}


BEFORE = settings()
"""As they were before any cluster of this run."""


async def pods_of(http: httpx.AsyncClient, name: str) -> list[dict[str, Any]]:
    return list(ok(await http.get(PODS, params={"labelSelector": f"batch.kubernetes.io/job-name={name}"}))["items"])


async def conditions(http: httpx.AsyncClient, path: str) -> dict[str, str]:
    """Those of an object, with what each says."""
    said = ok(await http.get(path))["status"].get("conditions", [])
    return {each["type"]: each["status"] for each in said}


async def ended(http: httpx.AsyncClient, name: str) -> dict[str, Any]:
    """How the container of a Job ended, once it and its Job have."""

    async def over() -> bool:
        return not {"Complete", "Failed"}.isdisjoint(await conditions(http, f"{JOBS}/{name}"))

    await until(over, seconds=60)
    (pod,) = await pods_of(http, name)
    return dict(pod["status"]["containerStatuses"][0]["state"]["terminated"])


async def runs(http: httpx.AsyncClient, name: str) -> dict[str, Any]:
    """The pod of a Job, once it runs."""

    async def running() -> bool:
        return [pod["status"]["phase"] for pod in await pods_of(http, name)] == ["Running"]

    await until(running, seconds=60)
    (pod,) = await pods_of(http, name)
    return pod


async def test_a_job_runs_on_the_node_and_its_exit_code_and_log_can_be_read(kubernetes: Cluster) -> None:
    async with client(kubernetes) as http:
        ok(await http.post(JOBS, json=job("seven", "sh", "-c", "echo seven; exit 7")), 201)
        end = await ended(http, "seven")
        (pod,) = await pods_of(http, "seven")
        log = await http.get(f"{PODS}/{pod['metadata']['name']}/log")

    assert (end["exitCode"], end["reason"], log.text) == (7, "Error", "seven\n")
    (seen,) = [each for each in kubernetes.containers() if each.pod_uid == pod["metadata"]["uid"]]
    assert (seen.namespace, seen.name, seen.argv) == ("default", "main", ("sh", "-c", "echo seven; exit 7"))
    assert (seen.exit_code, seen.out_of_memory) == (7, False)
    assert seen.ended and seen.started < seen.ended


async def test_a_suspended_job_starts_by_a_patch_of_its_own_uid_alone(kubernetes: Cluster) -> None:
    async with client(kubernetes) as http:
        asked = job("suspended", "true")
        asked["spec"]["suspend"] = True
        uid = ok(await http.post(JOBS, json=asked), 201)["metadata"]["uid"]

        async def told() -> bool:
            return (await conditions(http, f"{JOBS}/suspended")).get("Suspended") == "True"

        await until(told)
        other = {"metadata": {"uid": "00000000-0000-0000-0000-000000000000"}, "spec": {"suspend": False}}
        assert (await http.patch(f"{JOBS}/suspended", json=other, headers=MERGE)).status_code == 422
        assert await told() and not await pods_of(http, "suspended")

        own = {"metadata": {"uid": uid}, "spec": {"suspend": False}}
        ok(await http.patch(f"{JOBS}/suspended", json=own, headers=MERGE))
        assert (await ended(http, "suspended"))["exitCode"] == 0


async def test_a_container_that_takes_more_memory_than_it_may_is_killed(kubernetes: Cluster) -> None:
    async with client(kubernetes) as http:
        keeps = ("tail", "-c", "104857600", "/dev/zero")
        ok(await http.post(JOBS, json=job("greedy", *keeps, resources={"memory": "20Mi"})), 201)
        end = await ended(http, "greedy")
        (pod,) = await pods_of(http, "greedy")
    assert (end["exitCode"], end["reason"]) == (137, "OOMKilled")
    (seen,) = [each for each in kubernetes.containers() if each.pod_uid == pod["metadata"]["uid"]]
    assert (seen.exit_code, seen.out_of_memory) == (137, True)


async def test_the_gpus_of_the_node_are_given_once(kubernetes: Cluster) -> None:
    async with client(kubernetes) as http:
        ok(await http.post(JOBS, json=job("all-gpus", "sleep", "600", resources={GPU: "8"})), 201)
        assert (await runs(http, "all-gpus"))["spec"]["nodeName"] == NODE
        ok(await http.post(JOBS, json=job("one-gpu", "true", resources={GPU: "1"})), 201)

        async def refused() -> bool:
            scheduled = [each for pod in await pods_of(http, "one-gpu") for each in pod["status"].get("conditions", [])]
            return [(each["status"], each["reason"]) for each in scheduled] == [("False", "Unschedulable")]

        await until(refused)
        ok(await http.delete(f"{JOBS}/all-gpus", params={"propagationPolicy": "Background"}))
        assert (await ended(http, "one-gpu"))["exitCode"] == 0


async def test_who_has_no_role_may_nothing_and_who_has_one_may_what_it_says(kubernetes: Cluster) -> None:
    async with client(kubernetes) as admin, client(kubernetes, "alice") as alice, client(kubernetes, "bob") as bob:
        assert (await alice.get(JOBS)).status_code == 403
        binding = {
            "metadata": {"name": "alice"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "alice"}],
        }
        path = "/apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings"
        ok(await admin.post(path, json=binding), 201)

        async def may() -> bool:
            return (await alice.get(JOBS)).status_code == 200

        await until(may)
        assert (await bob.get(JOBS)).status_code == 403
        ok(await admin.delete(f"{path}/alice"))


@pytest.fixture
def fakes(kubernetes: Cluster) -> Iterator[list[str]]:
    """Nodes that kwok plays, while the test runs: others count the nodes of this cluster."""
    with or_left_out():
        nodes = kubernetes.kwok(2, gpus=4, model="NVIDIA-L40S")
    yield nodes
    for name in nodes:
        kubernetes.ask("DELETE", f"/api/v1/nodes/{name}")


async def test_fake_nodes_play_a_gpu_job_for_as_long_and_to_the_end_that_it_says(
    kubernetes: Cluster, fakes: list[str]
) -> None:
    async with client(kubernetes) as http:
        played = job(
            "played",
            "never",
            resources={GPU: "4"},
            nodeSelector={"nvidia.com/gpu.product": "NVIDIA-L40S"},
            tolerations=[TAINT],
        )
        played["spec"]["template"]["metadata"] = {"annotations": {RUN: "1500", EXIT: "3"}}
        ok(await http.post(JOBS, json=played), 201)
        end = await ended(http, "played")
        (pod,) = await pods_of(http, "played")
    assert (pod["spec"]["nodeName"] in fakes, end["exitCode"], end["reason"]) == (True, 3, "Error")
    assert end["startedAt"] < end["finishedAt"]
    assert pod["metadata"]["uid"] not in {each.pod_uid for each in kubernetes.containers()}


async def test_kueue_admits_what_its_quota_allows_and_keeps_the_rest_waiting(kubernetes: Cluster) -> None:
    with or_left_out():
        kubernetes.kueue()
    kueue = "/apis/kueue.x-k8s.io/v1beta2"
    async with client(kubernetes) as http:
        quota = [{"name": "plain", "resources": [{"name": GPU, "nominalQuota": 8}]}]
        groups = [{"coveredResources": [GPU], "flavors": quota}]
        queue = {"namespaceSelector": {}, "resourceGroups": groups}
        for path, name, spec in (
            (f"{kueue}/resourceflavors", "plain", {}),
            (f"{kueue}/clusterqueues", "all", queue),
            (f"{kueue}/namespaces/default/localqueues", "here", {"clusterQueue": "all"}),
        ):
            ok(await http.post(path, json={**_kind(path), "metadata": {"name": name}, "spec": spec}), 201)

        async def workload(name: str) -> dict[str, Any]:
            items = ok(await http.get(f"{kueue}/namespaces/default/workloads"))["items"]
            (found,) = [item for item in items if item["metadata"]["ownerReferences"][0]["name"] == name] or [{}]
            said = found.get("status", {}).get("conditions", [])
            return {each["type"]: (each["status"], each["message"]) for each in said}

        for name in ("first", "second"):
            queued = job(name, "sleep", "600", resources={GPU: "8"})
            queued["metadata"]["labels"] = {"kueue.x-k8s.io/queue-name": "here"}
            ok(await http.post(JOBS, json=queued), 201)
            if name == "first":
                running = await runs(http, "first")

        async def waits() -> bool:
            status, message = (await workload("second")).get("QuotaReserved", ("", ""))
            return status == "False" and "insufficient unused quota" in message

        await until(waits)
        assert (await workload("first"))["Admitted"][0] == "True"
        assert not await pods_of(http, "second")

        ok(await http.delete(f"{PODS}/{running['metadata']['name']}"))  # and with it the Job's only try
        await runs(http, "second")
        ok(await http.delete(f"{JOBS}/second", params={"propagationPolicy": "Background"}))


def _kind(path: str) -> dict[str, str]:
    kinds = {"resourceflavors": "ResourceFlavor", "clusterqueues": "ClusterQueue", "localqueues": "LocalQueue"}
    return {"apiVersion": "kueue.x-k8s.io/v1beta2", "kind": kinds[path.rpartition("/")[2]]}


@pytest.fixture(scope="module")
def broken() -> Iterator[Cluster]:
    """A cluster that tests may break."""
    with or_left_out(), running() as cluster:
        yield cluster


async def test_what_runs_runs_on_while_the_apiserver_is_away(broken: Cluster) -> None:
    async with client(broken) as http:
        ok(await http.post(JOBS, json=job("on", "sh", "-c", "sleep 3; exit 4")), 201)
        await runs(http, "on")
    broken.stop("kube-apiserver")
    async with client(broken) as http:
        with pytest.raises(httpx.ConnectError):
            await http.get(JOBS)

        async def over() -> bool:
            return [each.exit_code for each in broken.containers()] == [4]

        await until(over)
        broken.start("kube-apiserver")
        assert (await ended(http, "on"))["exitCode"] == 4


async def test_who_goes_on_from_before_a_compaction_is_told_that_it_is_too_late(broken: Cluster) -> None:
    path = "/api/v1/namespaces"
    async with client(broken) as http:
        begun = ok(await http.get(path, params={"limit": 1}))["metadata"]
        ok(await http.post(path, json={"metadata": {"name": "later"}}), 201)
        broken.stop("kube-apiserver")
        broken.compact()
        broken.start("kube-apiserver")
        more = await http.get(path, params={"limit": 1, "continue": begun["continue"]})
        watched = await http.get(path, params={"watch": "true", "resourceVersion": begun["resourceVersion"]})
    assert (more.status_code, more.json()["reason"]) == (410, "Expired")
    assert [json.loads(line)["object"]["code"] for line in watched.text.splitlines()] == [410]


async def test_a_node_that_is_killed_takes_its_pods_with_it_and_comes_back(broken: Cluster) -> None:
    async with client(broken) as http:
        ok(await http.post(JOBS, json=job("lost", "sleep", "600")), 201)
        pod = await runs(http, "lost")
        on_it = below(broken.processes("node")[0])
        assert {"kubelet", "containerd", "containerd-shim", "sleep"} <= {each.name for each in on_it}
        broken.stop("node")
        assert on_it.isdisjoint(processes())
        (seen,) = [each for each in broken.containers() if each.pod_uid == pod["metadata"]["uid"]]
        assert seen.ended and seen.exit_code is None

        async def unknown() -> bool:
            return (await conditions(http, f"/api/v1/nodes/{NODE}"))["Ready"] == "Unknown"

        await until(unknown, seconds=60)
        broken.start("node")
        assert (await conditions(http, f"/api/v1/nodes/{NODE}"))["Ready"] == "True"
        ok(await http.post(JOBS, json=job("again", "true", resources={GPU: "8"})), 201)
        assert (await ended(http, "again"))["exitCode"] == 0


@dataclass(frozen=True)
class Process:
    number: int
    parent: int
    began: str
    name: str


def processes() -> set[Process]:
    """All that run on this machine."""
    found = set()
    for entry in Path("/proc").glob("[1-9]*"):
        with suppress(OSError):  # it has ended meanwhile
            start, _, end = (entry / "stat").read_text().rpartition(")")
            state, parent, *more = end.split()
            if state not in "ZX":
                found.add(Process(int(entry.name), int(parent), more[17], start.partition("(")[2]))
    return found


def below(supervisor: int) -> set[Process]:
    """All processes of a cluster: whoever is orphaned there becomes its supervisor's child."""
    every = processes()
    found = {each for each in every if each.number == supervisor}
    while more := {each for each in every - found if each.parent in {its.number for its in found}}:
        found |= more
    return found


def links(number: int | None = None) -> set[str]:
    """Those of this machine: all, or the bridge of a cluster and what hangs on it."""
    bridge = f"caravan{number}"
    devices = Path("/sys/class/net").iterdir()
    return {it.name for it in devices if number is None or bridge in (it.name, (it / "master").resolve().name)}


def traces(folder: str, number: int) -> dict[str, list[str]]:
    """What there is of a cluster on this machine, processes apart."""
    mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    found = {
        "mounts": [mount for mount in mounts if folder in mount],
        "links": sorted(links(number)),
        "groups": list(map(str, groups(number))),
        "folder": [folder] * Path(folder).exists(),
    }
    return {what: seen for what, seen in found.items() if seen}


def test_what_a_cluster_left_that_was_killed_goes_when_it_is_taken_down(broken: Cluster) -> None:
    its = below(broken.pid)
    supervisor = os.pidfd_open(broken.pid)
    signal.pidfd_send_signal(supervisor, signal.SIGKILL)
    assert select.select([supervisor], [], [], 30)[0]
    os.close(supervisor)
    assert its.isdisjoint(processes())
    assert {"links", "groups", "folder"} == traces(broken.folder, broken.number).keys()
    down(broken.folder)
    assert traces(broken.folder, broken.number) == {}


def test_a_cluster_ends_with_the_process_that_started_it(kubernetes: Cluster) -> None:
    command = [sys.executable, "-c", HOLDER]
    holder = subprocess.Popen(command, cwd=CHECKOUT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert holder.stdout
    pid, number, folder = holder.stdout.readline().split()
    assert int(number) != kubernetes.number
    assert {"links", "groups", "folder"} == traces(folder, int(number)).keys()
    its = below(int(pid))
    assert {"etcd", "kube-apiserver", "kubelet", "containerd"} <= {each.name for each in its}
    supervisor = os.pidfd_open(int(pid))
    holder.kill()
    holder.communicate()
    assert select.select([supervisor], [], [], 30)[0]
    os.close(supervisor)
    assert its.isdisjoint(processes())
    assert traces(folder, int(number)) == {}


@pytest.mark.usefixtures("kubernetes")  # which can be set up here
async def test_a_cluster_started_by_hand_stays_until_it_is_taken_down_and_leaves_nothing(tmp_path: Path) -> None:
    def by_hand(*arguments: str) -> str:
        command = [sys.executable, "-m", "tests.backends.kubernetes", *arguments]
        return subprocess.run(command, cwd=CHECKOUT, check=True, capture_output=True, text=True).stdout

    folder = str(tmp_path / "kubernetes")
    try:
        said = by_hand("up", folder)
        assert said and by_hand("up", folder) == said
        cluster = up(folder)
        assert cluster.pid == json.loads(said)["pid"]
        async with client(cluster) as http:
            ok(await http.post(JOBS, json=job("running", "sleep", "600")), 201)
            await runs(http, "running")
        hanging, its = links(cluster.number), below(cluster.pid)
        assert len(hanging) == 2 and {"containerd-shim", "sleep"} <= {each.name for each in its}
    finally:
        by_hand("down", folder)
    assert traces(folder, cluster.number) == {}
    assert links().isdisjoint(hanging) and its.isdisjoint(processes())
    assert settings() == BEFORE


def test_kubernetes_may_not_be_left_out_in_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    assert must_run()
    monkeypatch.delenv("CI")
    assert not must_run()
