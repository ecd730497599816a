"""Containers by apptainer on real clusters, in an image that is made here: a folder with busybox."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from caravan.contracts.jobs import Outcome
from caravan.contracts.spec import Container
from services.broker.adapters.port import Seen
from tests.backends.slurm import RELEASES, Cluster
from tests.backends.test_slurm_adapter import on
from tests.contract.backends import USERS, Site, eventually

WITH_APPTAINER = [release for release in RELEASES if release.apptainer]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.parametrize("slurm", WITH_APPTAINER, indirect=True, ids=lambda release: str(release.name)),
]

# 99-base.sh is in every image that apptainer made; it sets the job's variables after it.
BOX = """
set -e
test ! -e "$0" || exit 0
mkdir -p "$0.new" && cd "$0.new"
mkdir -p bin dev etc proc sys tmp root usr var/tmp .singularity.d/env
cp /bin/busybox bin && bin/busybox --install bin
touch etc/passwd etc/group .singularity.d/env/99-base.sh
echo 'export OF_THE_IMAGE=image A=image' >.singularity.d/env/90-environment.sh
printf '#!/bin/sh\\nprintf "ran <%%s>" "$@"\\n' >.singularity.d/runscript
chmod 755 .singularity.d/runscript
mv "$0.new" "$0"
"""


@pytest.fixture
def image(slurm: Cluster) -> str:
    path = f"{slurm.work}/box"
    slurm.run("sh", "-c", BOX, path)
    return path


@pytest.fixture
async def site(slurm: Cluster) -> AsyncIterator[Site]:
    harness = on(slurm)
    settings = {**harness.context.settings, "containers": {"runtime": "apptainer"}}
    harness = replace(harness, context=replace(harness.context, settings=settings))
    async with harness.open() as backend:
        site = Site(harness, backend)
        yield site
        await site.clear()


async def start(site: Site, container: Container, **how: Any) -> str:
    asked = site.harness.submission("true", **how).model_copy(update={"script": None, "container": container})
    reference = await site.backend.stage(asked)
    site.staged.append(reference)
    await site.backend.release(reference)
    return reference


def shell(image: str, script: str, *arguments: str) -> Container:
    return Container(image=image, command=("/bin/sh", "-c", script, "sh"), args=arguments)


def home(site: Site, user: str = "alice") -> Path:
    return Path(site.harness.context.settings["folder"], user)


async def test_words_and_variables_are_inside_exactly_as_they_were_given(site: Site, image: str) -> None:
    words = ("", "two words", "'single' \"double\" $HOME `id` $(id) \\ !", "一\n二\t", "--help", "-c", "*", "a,b=c:d")
    own = {f"V{number}": word for number, word in enumerate(words)} | {
        "A": "job", "PATH": "/own:/bin", "LD_LIBRARY_PATH": "/own", "LD_PRELOAD": "", "TRAILING": "x\n\n", "LONG": "长" * 20_000,
    }  # fmt: skip
    container = shell(image, 'printf "%s\\0" "$@"; pwd; printf "\\0"; env -0', *words)
    reference = await start(site, container, environment=own)
    (run,) = (await site.ended(reference)).runs
    assert run.outcome is Outcome.SUCCEEDED, await site.text(reference, stream="stderr")
    said = (await site.text(reference)).split("\0")[:-1]
    assert tuple(said[: len(words)]) == words
    assert said[len(words)] == f"{home(site)}\n"
    inside = dict(entry.partition("=")[::2] for entry in said[len(words) + 1 :])
    # apptainer adds its own libraries' folder
    assert inside.pop("LD_LIBRARY_PATH").split(":")[0] == own.pop("LD_LIBRARY_PATH")
    assert {name: inside.get(name) for name in own} == own
    assert (inside["OF_THE_IMAGE"], inside["HOME"], inside["TMPDIR"]) == ("image", str(home(site)), "/tmp")
    assert inside["SLURM_JOB_ID"] == reference.partition("-")[0]
    assert (inside["CARAVAN_ARRAY_INDEX"], inside["CARAVAN_SUBMISSION"]) == ("0", reference)


@pytest.mark.parametrize(
    ("script", "code", "signal"), [("exit 7", 7, None), ("exit 139", 139, None), ("kill -SEGV $$", None, 11)]
)
async def test_it_ends_as_the_program_inside(
    site: Site, image: str, script: str, code: int | None, signal: int | None
) -> None:
    reference = await start(site, shell(image, script))
    (run,) = (await site.ended(reference)).runs
    assert (run.outcome, run.exit_code, run.signal) == (Outcome.USER, code, signal)


async def test_what_is_not_there_fails_the_job_and_says_so(site: Site, image: str) -> None:
    missing = f"{home(site)}/none.sif"
    for container, words in (
        (Container(image=missing, command=("true",)), missing),
        (Container(image=image, command=("nothing",)), "nothing"),
    ):
        reference = await start(site, container)
        (run,) = (await site.ended(reference)).runs
        assert (run.outcome, run.exit_code) == (Outcome.USER, 255)
        assert "stderr" in run.detail and "image" in run.detail
        assert words in await site.text(reference, stream="stderr")


async def test_the_working_folder_is_inside_and_nothing_of_other_tenants(
    slurm: Cluster, site: Site, image: str
) -> None:
    (home(site, "bob") / "secret").write_text("secret")
    slurm.run("touch", "/tmp/of-the-node")
    script = 'echo kept >kept; echo gone >/tmp/gone; ls ..; ls /etc/slurm; cat "$1"; ls /tmp; exit 0'
    reference = await start(site, shell(image, script, f"{home(site, 'bob')}/secret"))
    await site.ended(reference)
    # the cluster's own folder is below /tmp
    assert (await site.text(reference)).split() == ["alice", Path(slurm.folder).name, "gone"]
    assert (home(site) / "kept").read_text() == "kept\n"
    assert (home(site) / "kept").stat().st_uid == USERS["alice"]
    assert "caravan." not in slurm.run("ls", "/tmp")
    # where the centre shows a folder to containers, it is the user's rights that count
    harness = site.harness
    shown = {"runtime": "apptainer", "options": ["--bind", str(home(site).parent)]}
    settings = {**harness.context.settings, "containers": shown}
    async with replace(harness, context=replace(harness.context, settings=settings)).open() as backend:
        other = Site(harness, backend)
        reference = await start(other, shell(image, 'ls ..; cat "$1"', f"{home(site, 'bob')}/secret"))
        (run,) = (await other.ended(reference)).runs
        assert (await other.text(reference)).split() == ["alice", "bob"]
        assert "Permission denied" in await other.text(reference, stream="stderr")
        assert run.exit_code == 1


async def test_each_task_of_an_array_knows_its_index(site: Site, image: str) -> None:
    reference = await start(site, shell(image, "echo $CARAVAN_ARRAY_INDEX $SLURM_ARRAY_TASK_ID"), indices=(3, 8))
    seen = await site.ended(reference)
    assert {run.index: run.outcome for run in seen.runs} == dict.fromkeys((3, 8), Outcome.SUCCEEDED)
    assert [await site.text(reference, index) for index in (3, 8)] == ["3 3\n", "8 8\n"]


async def test_an_image_file_runs_what_it_names_with_the_args(site: Site, image: str) -> None:
    run = await site.run(f"#!/bin/sh\nexec apptainer build own.sif {image}\n")
    assert run.outcome is Outcome.SUCCEEDED, await site.text(site.staged[-1], stream="stderr")
    reference = await start(site, Container(image=f"{home(site)}/own.sif", args=("two words", "$HOME")))
    assert isinstance(await site.ended(reference), Seen)
    assert await site.text(reference) == "ran <two words>ran <$HOME>"


async def test_a_cancelled_one_is_told_and_has_its_time_to_end(site: Site, image: str) -> None:
    # what is cancelled in the second of its start has held nothing
    script = 'trap "told=yes" TERM; sleep 1; echo up; while test -z "$told"; do sleep 0.1; done; sleep 1; echo done'
    reference = await start(site, shell(image, script))
    await site.has_said(reference, "up")
    await site.backend.cancel(reference)
    (run,) = (await site.ended(reference)).runs
    assert run.outcome is Outcome.CANCELLED
    assert await site.has_said(reference, "done") == "up\ndone\n"


async def test_at_its_time_limit_it_is_told_and_then_killed_with_all_it_started(
    slurm: Cluster, site: Site, image: str
) -> None:
    deaf = '(: deaf; trap "" TERM; while :; do sleep 0.1; done)'
    script = f'trap "echo told" TERM; {deaf} & while :; do sleep 0.1; done'
    reference = await start(site, shell(image, script), walltime_seconds=1)
    (run,) = (await site.ended(reference)).runs
    assert (run.outcome, run.detail.partition(":")[0]) == (Outcome.LIMIT, "walltime")
    # once by Slurm, and once by apptainer, which passes on what it is told
    assert set((await site.text(reference)).split()) == {"told"}

    def gone() -> bool:
        return reference.partition("-")[0] not in slurm.run("squeue", "-h", "--format=%A").split()

    await eventually(gone, "Slurm has ended it")
    assert "deaf" not in slurm.run("ps", "-e", "-o", "args")
