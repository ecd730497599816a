"""`caravan reconcile site …` of a Kubernetes site: which books it reads, what it shows of them, and its exit code."""

import json
import os
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from caravan.contracts.runs import SiteRun
from caravan.reconcile.record import COLUMNS
from tests.cli.test_reconcile import AT, SITE, SUBMITTED, caravan, platform, run

GPU = "nvidia.com/gpu"
HERE = AT.model_copy(
    update={"adapter": "kubernetes", "accelerators": {"acc_nvidia-h100-80g": f"{GPU}:NVIDIA-H100-80GB-HBM3"}}
)
ENDED = SUBMITTED + timedelta(seconds=60)


def billed(name: str) -> SiteRun:
    return run(1).model_copy(update={"identity": name})


def pod(name: str, cpus: int = 4, seconds: int = 60) -> dict[str, Any]:
    times = {"startedAt": SUBMITTED.isoformat(), "finishedAt": (SUBMITTED + timedelta(seconds=seconds)).isoformat()}
    labels = {"caravan/tag": "t", "batch.kubernetes.io/controller-uid": name, "batch.kubernetes.io/job-completion-index": "0"}  # fmt: skip
    requests = {"cpu": str(cpus), "memory": "1Gi", GPU: "2"}
    return {
        "metadata": {
            "uid": name,
            "creationTimestamp": SUBMITTED.isoformat(),
            "labels": labels,
            "annotations": {"caravan/site": SITE},
        },
        "spec": {"containers": [{"name": "task", "resources": {"requests": requests}}]},
        "status": {"phase": "Succeeded", "containerStatuses": [{"name": "task", "state": {"terminated": times}}]},
    }


def listed(*pods: dict[str, Any]) -> str:
    return json.dumps({"items": pods})


def line(name: str, *, cpus: int = 4, early: float = 0.4) -> str:
    cells = {
        "site": SITE, "submission": f"acme.job.{name}", "nodes": "1", "rank": "0", "pod": name, "cpus": str(cpus),
        "started": (SUBMITTED - timedelta(seconds=early)).isoformat(), "ended": ENDED.isoformat(), "exit_code": "0",
        "memory_mib": "1024",
    }  # fmt: skip
    return ",".join(cells[column] for column in COLUMNS)


def record(*lines: str) -> str:
    return "".join(f"{one}\n" for one in (",".join(COLUMNS), *lines))


def test_pods_that_agree_are_exit_code_0_and_what_is_gone_is_counted() -> None:
    with platform(billed("a"), billed("b"), there_is=HERE) as (url, _):
        done = caravan(url, "--pods", "-", stdin=listed(pod("a")))
    assert done.exit_code == 0, done.output
    assert "gone from the books 1" in " ".join(done.stdout.split())


def test_a_difference_to_the_pods_is_named() -> None:
    with platform(billed("a"), there_is=HERE) as (url, _):
        done = caravan(url, "--pods", "-", stdin=listed(pod("a", cpus=5), pod("c")))
        found = json.loads(caravan(url, "--pods", "-", "--json", stdin=listed(pod("a", cpus=5), pod("c"))).stdout)
    assert done.exit_code == 1, done.output
    assert "核数不同" in done.stdout and "未计费" in done.stdout and f"2 {GPU}" in done.stdout
    assert [(one["kind"], one["identity"]) for one in found["differences"]] == [("cores", "a"), ("not_billed", "c")]


def test_a_record_keeps_all_so_that_what_is_missing_there_is_named(tmp_path: Path) -> None:
    file = tmp_path / "containers.csv"
    with platform(billed("a"), billed("b"), there_is=HERE) as (url, _):
        file.write_text(record(line("a"), line("b")))
        agreed = caravan(url, "--containers", str(file))
        file.write_text(record(line("a", early=1.2)))
        done = caravan(url, "--containers", str(file))
    assert agreed.exit_code == 0, agreed.output
    assert (done.exit_code, "站点账目中没有" in done.stdout, "秒数不同" in done.stdout) == (1, True, True), done.output


def kubectl(folder: Path, script: str) -> str:
    """A PATH on which that is all that `kubectl` does."""
    made = folder / "kubectl"
    made.write_text(f"#!/bin/sh\n{script}\n")
    made.chmod(0o755)
    return f"{folder}{os.pathsep}{os.environ['PATH']}"


def test_without_a_file_kubectl_is_asked_for_all_pods(tmp_path: Path) -> None:
    path = kubectl(tmp_path, f"echo \"$*\" > {tmp_path}/told\ncat <<'EOF'\n{listed(pod('a'))}\nEOF")
    with platform(billed("a"), there_is=HERE) as (url, _):
        done = caravan(url, path=path)
    assert done.exit_code == 0, done.output
    assert (
        tmp_path / "told"
    ).read_text() == "get pods --all-namespaces --selector=caravan/tag --show-managed-fields --output=json\n"


def test_where_kubectl_is_not_or_fails_one_is_told_so(tmp_path: Path) -> None:
    with platform(billed("a"), there_is=HERE) as (url, _):
        none = caravan(url, path=str(tmp_path))
        failed = caravan(url, path=kubectl(tmp_path, "exit 3"))
    assert none.exit_code == failed.exit_code == 2
    assert "There is no `kubectl` here" in none.stderr and "--pods FILE:\nkubectl get pods" in none.stderr
    assert "kubectl: exit code 3" in failed.stderr


@pytest.mark.parametrize(
    ("arguments", "stdin", "named"),
    [
        (("--pods", "-"), "NAME READY", "Write it by `kubectl get pods"),
        (("--containers", "-"), "pod,started\n", "The record lacks site, submission"),
        (("--sacct", "-"), "", "sacct: the site is of kubernetes: give --pods or --containers"),
        (("--pods", "-", "--containers", "-"), "", "containers: give one file"),
    ],
)
def test_books_that_can_not_be_read_are_refused_with_what_to_do(
    arguments: tuple[str, ...], stdin: str, named: str
) -> None:
    with platform(billed("a"), there_is=HERE) as (url, _):
        done = caravan(url, *arguments, stdin=stdin)
    assert (done.exit_code, named in done.stderr) == (2, True), done.output


def test_a_pod_or_a_line_that_can_not_be_read_is_named_and_none_can_be_said() -> None:
    with platform(billed("a"), there_is=HERE) as (url, _):
        pods = caravan(url, "--pods", "-", stdin=listed(pod("a"), {}))
        lines = caravan(url, "--containers", "-", stdin=record(line("a"), line("a").replace("acme.job.a", "x")))
    assert (pods.exit_code, "pod 2: form: KeyError: 'metadata'" in pods.stderr) == (1, True), pods.output
    assert (lines.exit_code, "line 3: submission: 'x' is no" in lines.stderr) == (1, True), lines.output


def test_a_site_without_books_of_its_own_is_refused() -> None:
    with platform(there_is=AT.model_copy(update={"adapter": "local"})) as (url, _):
        done = caravan(url)
    assert (done.exit_code, "site: one of the adapter local has no books" in done.stderr) == (2, True), done.output
