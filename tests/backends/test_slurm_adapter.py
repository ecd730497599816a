"""The Slurm adapter over real clusters, in what the contract suite can't ask of every backend."""

import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from caravan.contracts.dispatch import Submission
from caravan.contracts.jobs import Outcome
from caravan.contracts.spec import Resources
from caravan.kernel import ids
from services.broker.adapters.port import Rejected, RunSeen, Seen
from tests.backends.slurm import RELEASES, Cluster, Release
from tests.backends.slurm.cluster import running
from tests.contract.backends import HARNESSES, Harness, Site, eventually

pytestmark = pytest.mark.slow

MODELS = {"acc_nvidia-h100": "gres/gpu:h100", "acc_ascend-910b": "gres/npu"}


def on(cluster: Cluster) -> Harness:
    harness = HARNESSES[f"slurm-{cluster.release}"][0](Path("/"), lambda _: lambda _: cluster)
    return replace(harness, context=replace(harness.context, accelerators=MODELS))


@pytest.fixture
async def site(slurm: Cluster) -> AsyncIterator[Site]:
    harness = on(slurm)
    async with harness.open() as backend:
        site = Site(harness, backend)
        yield site
        await site.clear()


def sacct(cluster: Cluster, reference: str, fields: str) -> list[list[str]]:
    job = reference.partition("-")[0]
    said = cluster.run("sacct", "-nPXj", job, f"--format={fields}")
    return [line.split("|") for line in said.splitlines()]


def held(run: RunSeen) -> float:
    """Seconds for which its spans say that it held what it was allocated."""
    return sum((span.end - span.start).total_seconds() for span in run.spans)


@pytest.mark.parametrize(("partition", "accelerator"), [("gpu", "acc_nvidia-h100"), ("npu", "acc_ascend-910b")])
async def test_accelerators_of_several_nodes_are_granted_and_metered_by_their_model(
    slurm: Cluster, site: Site, partition: str, accelerator: str
) -> None:
    wanted = Resources(
        nodes=2, tasks_per_node=2, cpus_per_task=2, memory_mib_per_node=300, accelerators_per_node=3, accelerator=accelerator,
        walltime_seconds=60,
    )  # fmt: skip
    target = {"partition": partition}
    grant = site.harness.adapter.grant(wanted, target, site.harness.context.settings)
    asked = site.harness.submission("#!/bin/sh\necho $SLURM_JOB_NODELIST\nsleep 2\n")
    asked = asked.model_copy(update={"resources": wanted, "target": target, "grant": grant})
    reference = await site.backend.stage(asked)
    site.staged.append(reference)
    await site.backend.release(reference)
    (run,) = (await site.ended(reference)).runs
    (span,) = run.spans
    assert (span.nodes, span.cpus, span.memory_mib) == (grant.nodes, grant.cpus, grant.memory_mib) == (2, 8, 600)
    assert (span.accelerators, span.accelerator) == (grant.accelerators, grant.accelerator) == (6, accelerator)
    ((elapsed, state),) = sacct(slurm, reference, "ElapsedRaw,State")
    assert ((span.end - span.start).total_seconds(), state) == (float(elapsed), "COMPLETED")


async def test_suspended_time_is_left_out_as_sacct_leaves_it_out(slurm: Cluster, site: Site) -> None:
    reference = await site.start("#!/bin/sh\nsleep 4\n")
    await site.running(reference)
    job = reference.partition("-")[0]
    slurm.run("scontrol", "suspend", job)

    async def suspended() -> bool:
        seen = await site.seen(reference)
        (run,) = seen.runs
        return (seen.seen_at - run.started_at).total_seconds() >= held(run) + 2

    await eventually(suspended, "it is seen to be suspended", 60)
    slurm.run("scontrol", "resume", job)
    (run,) = (await site.ended(reference)).runs
    ((elapsed,),) = sacct(slurm, reference, "ElapsedRaw")
    assert held(run) == float(elapsed)
    assert run.ended_at is not None
    assert (run.ended_at - run.started_at).total_seconds() >= float(elapsed) + 2


@contextmanager
def forgetful(release: Release) -> Iterator[Cluster]:
    """A cluster of its own whose slurmctld forgets soon."""
    with running(release, {"MinJobAge": "5"}) as cluster:
        yield cluster


@pytest.mark.parametrize("release", RELEASES[:2], ids=lambda release: str(release.name))
async def test_an_agent_that_was_away_finds_ends_and_exit_codes_that_slurmctld_has_forgotten(release: Release) -> None:
    script = '#!/bin/sh\ntest "$CARAVAN_ARRAY_INDEX" = 2 && exit 7\ntest "$CARAVAN_ARRAY_INDEX" = 3 && kill -SEGV $$\nexit 0\n'
    with forgetful(release) as cluster:
        harness = on(cluster)
        async with harness.open() as backend:
            site = Site(harness, backend)
            one = await site.start("#!/bin/sh\nexit 7\n")
            many = await site.start(script, indices=(1, 2, 3))
            jobs = [reference.partition("-")[0] for reference in (one, many)]

        def forgotten() -> bool:
            return not set(jobs) & set(cluster.run("squeue", "-h", "-t", "all", "--format=%A %F").split())

        await eventually(forgotten, "slurmctld forgets", 120)
        async with harness.open() as backend:
            away = Site(harness, backend)
            found = [run for reference in (one, many) for run in (await away.ended(reference)).runs]
            assert [(run.index, run.outcome, run.exit_code, run.signal) for run in found] == [
                (0, Outcome.USER, 7, None),
                (1, Outcome.SUCCEEDED, 0, None),
                (2, Outcome.USER, 7, None),
                (3, Outcome.USER, None, 11),
            ]


async def test_two_sites_on_one_cluster_do_not_sweep_each_other(slurm: Cluster, site: Site) -> None:
    reference = await site.stage("#!/bin/sh\ntrue\n", indices=range(0, 90, 2))
    other = replace(site.harness, context=replace(site.harness.context, site=ids.new("sit")))
    async with other.open() as backend:
        assert await backend.staged() == []
    async with site.harness.open() as backend:
        assert [one.reference for one in await backend.staged()] == [reference]
        await backend.discard(reference)
        assert await backend.staged() == []


async def test_a_token_may_be_a_file_or_a_program_and_a_wrong_one_is_not_shown(
    slurm: Cluster, site: Site, tmp_path: Path
) -> None:
    program = tmp_path / "give-token"
    program.write_text(f'#!/bin/sh\ncat "{tmp_path}/$1.jwt" | sed s/^/SLURM_JWT=/\n')
    program.chmod(0o700)
    for user in ("slurm", "alice"):
        (tmp_path / f"{user}.jwt").write_text(slurm.token(user) + "\n")
    sources: list[dict[str, Any]] = [{"file": "{user}.jwt"}, {"command": "give-token"}]
    for source in sources:
        settings = {**site.harness.context.settings, "token": source}
        harness = replace(site.harness, context=replace(site.harness.context, settings=settings, secrets=tmp_path))
        async with harness.open() as backend:
            reference = await Site(harness, backend).stage("#!/bin/sh\ntrue\n")
            assert isinstance((await backend.observe([reference]))[reference], Seen)
            await backend.cancel(reference)


@pytest.mark.parametrize("release", RELEASES[:2], ids=lambda release: str(release.name))
async def test_while_slurmdbd_is_away_nothing_is_final_and_nothing_is_lost(release: Release) -> None:
    with running(release) as cluster:
        harness = on(cluster)
        async with harness.open() as backend:
            site = Site(harness, backend)
            cluster.stop("slurmdbd", signal.SIGKILL)
            reference = await site.start("#!/bin/sh\nexit 7\n")

            async def ended() -> Seen | None:
                seen = await site.seen(reference)
                return seen if seen.ended else None

            (run,) = (await eventually(ended, "it ends", 60)).runs
            assert (run.final, run.exit_code, run.outcome) == (False, 7, Outcome.USER)
            cluster.start("slurmdbd")
            (final,) = (await site.ended(reference)).runs
            assert final == replace(run, final=True)


@contextmanager
def closed(folder: Path) -> Iterator[None]:
    """Nothing can be made in it."""
    mode = folder.stat().st_mode
    folder.chmod(0o500)
    try:
        yield
    finally:
        folder.chmod(mode)


async def test_a_script_whose_output_cannot_be_written_never_started_and_is_the_tenants(site: Site) -> None:
    """Slurm makes a folder that is missing; of one that its user closed it says no more than of a program that signal 53 ended."""
    with closed(Path(site.harness.context.settings["folder"], "alice")):
        run = await site.run("#!/bin/sh\necho started\n")
    assert (run.outcome, run.exit_code, run.signal) == (Outcome.USER, None, 53)
    assert "never started" in run.detail
    own = await site.run('#!/bin/sh\nkill -53 "$$"\n')
    assert (own.outcome, own.exit_code, own.signal, own.detail) == (run.outcome, None, 53, run.detail)


def of_a_stranger(harness: Harness, **account: str) -> Submission:
    """A job of a user that the cluster doesn't have, whose folder the centre has made all the same."""
    Path(harness.context.settings["folder"], "zora").mkdir(exist_ok=True)
    return harness.submission("#!/bin/sh\ntrue\n").model_copy(update={"tenant_settings": {"user": "zora", **account}})


async def test_a_job_of_a_user_whom_the_cluster_does_not_have_is_rejected_by_the_field_that_names_it(
    site: Site,
) -> None:
    with pytest.raises(
        Rejected, match=r"user zora \(`user` of the tenant's mapping\) with an account.*sacctmgr.*Slurm says"
    ):
        await site.backend.stage(of_a_stranger(site.harness))
    with pytest.raises(Rejected, match=r"with the account proj1 \(`account` of the tenant's mapping\)"):
        await site.backend.stage(of_a_stranger(site.harness, account="proj1"))


@pytest.mark.parametrize("release", RELEASES[:2], ids=lambda release: str(release.name))
async def test_where_nobody_has_to_be_associated_a_job_that_slurm_takes_for_nobodys_is_rejected_too(
    release: Release,
) -> None:
    with running(release, {"AccountingStorageEnforce": "nosteps"}) as cluster:
        harness = on(cluster)
        async with harness.open() as backend:
            for _ in range(2):
                with pytest.raises(Rejected, match="`user` of the tenant's mapping"):
                    await backend.stage(of_a_stranger(harness))
            assert not await backend.staged()
            assert not cluster.run("squeue", "-h").strip()
            reference = await Site(harness, backend).stage("#!/bin/sh\ntrue\n")
            assert [one.reference for one in await backend.staged()] == [reference]
