"""Containers by Slurm itself on a real cluster, by crun from an OCI bundle that is made here: busybox, and alice's folder at /home."""

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from caravan.contracts.jobs import Outcome
from caravan.contracts.spec import Container, Resources
from tests.backends.slurm import RELEASES, Cluster
from tests.backends.test_slurm_adapter import on
from tests.backends.test_slurm_containers import shell, start
from tests.contract.backends import USERS, Site

WITH_BUNDLES = [release for release in RELEASES if release.bundles]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.parametrize("slurm", WITH_BUNDLES, indirect=True, ids=lambda release: str(release.name)),
]

BOX = """
set -e
mkdir -p "$0/rootfs" && cd "$0/rootfs"
mkdir -p bin dev etc home proc tmp var/run
test -e bin/sh || { cp /bin/busybox bin && bin/busybox --install bin; }
"""


def config(home: str, user: int) -> dict[str, Any]:
    """https://github.com/opencontainers/runtime-spec. Slurm puts a folder of its own below /var/run, and into /tmp."""

    def memory(where: str, *options: str) -> dict[str, Any]:
        return {"destination": where, "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", *options]}

    mapping = [{"containerID": 0, "hostID": user, "size": 1}]
    return {
        "ociVersion": "1.0.2",
        "process": {"user": {"uid": 0, "gid": 0}, "args": ["own"], "env": ["PATH=/bin", "A=bundle"], "cwd": "/home"},
        "root": {"path": "rootfs", "readonly": True},
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            memory("/dev", "mode=755"),
            memory("/tmp", "mode=1777"),
            memory("/var/run"),
            {"destination": "/home", "type": "bind", "source": home, "options": ["rbind", "rw"]},
        ],
        "linux": {
            "uidMappings": mapping,
            "gidMappings": mapping,
            "namespaces": [{"type": kind} for kind in ("pid", "ipc", "uts", "mount", "user")],
        },
    }


@pytest.fixture
async def site(slurm: Cluster) -> AsyncIterator[Site]:
    harness = on(slurm)
    settings = {**harness.context.settings, "containers": {"runtime": "slurm"}}
    harness = replace(harness, context=replace(harness.context, settings=settings))
    async with harness.open() as backend:
        site = Site(harness, backend)
        yield site
        await site.clear()


@pytest.fixture
def bundle(slurm: Cluster, site: Site) -> str:
    path = slurm.work / "bundle"
    slurm.run("sh", "-c", BOX, str(path))
    home = f"{site.harness.context.settings['folder']}/alice"
    (path / "config.json").write_text(json.dumps(config(home, USERS["alice"])))
    return str(path)


async def test_words_are_inside_exactly_as_they_were_given_and_the_bundles_variables_win(
    site: Site, bundle: str
) -> None:
    words = (
        "",
        "two words",
        "'single' \"double\" $HOME `id` $(id) \\ !",
        "一\n二\t",
        "--help",
        "-c",
        "*",
        "a,b=c:d",
        "%j %b",
    )
    own = {"A": "job", "B": "1\n2", "C": "", "PATH": "/own"}
    container = shell(bundle, 'printf "%s\\0" "$@"; pwd; printf "\\0"; env -0', *words)
    reference = await start(site, container, environment=own)
    (run,) = (await site.ended(reference)).runs
    assert (run.outcome, run.exit_code) == (Outcome.SUCCEEDED, 0), await site.text(reference, stream="stderr")
    said = (await site.text(reference)).split("\0")[:-1]
    assert tuple(said[: len(words)]) == words
    assert said[len(words)] == "/home\n"
    inside = dict(entry.partition("=")[::2] for entry in said[len(words) + 1 :])
    assert {name: inside[name] for name in own} == {**own, "A": "bundle", "PATH": "/bin"}
    assert inside["SLURM_CONTAINER"] == bundle
    assert (inside["CARAVAN_ARRAY_INDEX"], inside["CARAVAN_SUBMISSION"]) == ("0", reference)


@pytest.mark.parametrize(("script", "code"), [("exit 7", 7), ("exit 200", 200), ("sh -c 'kill -SEGV $$'", 139)])
async def test_it_ends_as_the_program_inside(site: Site, bundle: str, script: str, code: int) -> None:
    reference = await start(site, shell(bundle, f"{script}; exit $?"))
    (run,) = (await site.ended(reference)).runs
    assert (run.outcome, run.exit_code, run.signal) == (Outcome.USER, code, None)


async def test_what_is_not_there_fails_the_job_and_says_so(site: Site, bundle: str) -> None:
    for container, code, words in (
        (Container(image=f"{bundle}/none", command=("true",)), 255, "launch failed"),
        (Container(image=bundle, command=("nothing",)), 1, "nothing"),
    ):
        reference = await start(site, container)
        (run,) = (await site.ended(reference)).runs
        assert (run.outcome, run.exit_code) == (Outcome.USER, code)
        assert words in await site.text(reference, stream="stderr")


async def test_of_several_nodes_it_runs_once_on_the_first_with_its_accelerators(site: Site, bundle: str) -> None:
    wanted = Resources(
        nodes=2, tasks_per_node=2, cpus_per_task=2, memory_mib_per_node=300, accelerators_per_node=3, accelerator="acc_nvidia-h100",
        walltime_seconds=60,
    )  # fmt: skip
    target = {"partition": "gpu"}
    grant = site.harness.adapter.grant(wanted, target, site.harness.context.settings)
    script = "echo $SLURMD_NODENAME $SLURM_STEP_NUM_TASKS $SLURM_CPUS_PER_TASK $CUDA_VISIBLE_DEVICES; sleep 2"
    asked = site.harness.submission("true").model_copy(
        update={
            "script": None, "container": shell(bundle, script), "resources": wanted, "target": target, "grant": grant,
        }
    )  # fmt: skip
    reference = await site.backend.stage(asked)
    site.staged.append(reference)
    await site.backend.release(reference)
    (run,) = (await site.ended(reference)).runs
    assert await site.text(reference) == "n1 1 4 0,1,2\n", await site.text(reference, stream="stderr")
    (span,) = run.spans
    assert (span.nodes, span.cpus, span.accelerators) == (2, 8, 6)


async def test_each_task_of_an_array_knows_its_index(site: Site, bundle: str) -> None:
    reference = await start(site, shell(bundle, "echo $CARAVAN_ARRAY_INDEX $SLURM_ARRAY_TASK_ID"), indices=(3, 8))
    seen = await site.ended(reference)
    assert {run.index: run.outcome for run in seen.runs} == dict.fromkeys((3, 8), Outcome.SUCCEEDED)
    assert [await site.text(reference, index) for index in (3, 8)] == ["3 3\n", "8 8\n"]


async def test_a_cancelled_one_is_told_and_has_its_time_to_end(site: Site, bundle: str) -> None:
    # what is cancelled in the second of its start has held nothing
    script = 'trap "told=yes" TERM; sleep 1; echo up; while test -z "$told"; do sleep 0.1; done; sleep 1; echo done'
    reference = await start(site, shell(bundle, script))
    await site.has_said(reference, "up")
    await site.backend.cancel(reference)
    (run,) = (await site.ended(reference)).runs
    assert run.outcome is Outcome.CANCELLED
    assert await site.has_said(reference, "done") == "up\ndone\n"
