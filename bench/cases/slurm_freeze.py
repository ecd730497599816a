"""An agent of a Slurm site that freezes around stage and release, loses its lease and thaws: one run each time, and no litter."""

from functools import partial

from bench.agents import SWEEP
from bench.case import Trial, Verdict, case
from bench.demo.stages import Slurm
from bench.freezing import Freezer, freeze_at_a_cluster
from bench.platform import Platform
from bench.slurm_jobs import differences, job_spec
from bench.slurm_trials import on_releases, open_slurm_market
from tests.backends.slurm import Cluster


@case(
    "slurm-freeze",
    claim="caravan agent of a Slurm site frozen by SIGSTOP around stage and release, another one taking over, then let go: each task "
    "runs once and is billed once, as sacct has it, and no litter is left at Slurm",
    goal="on each release: 0 differences to files and sacct, held 0.00, nothing left at Slurm",
)
def slurm_freeze(trial: Trial) -> Verdict:
    return on_releases(trial, _freeze)


async def _freeze(trial: Trial, cluster: Cluster, stage: Slurm) -> Verdict:
    folder = trial.folder / cluster.release
    async with Platform(folder, environment={"CARAVAN_LEASE_SECONDS": "2"}).start() as platform:
        with stage.agents(platform, SWEEP) as agents:
            market = await open_slurm_market(platform, stage, agents.start)
            freezer = Freezer(trial, platform, market, agents)
            told_otherwise = partial(differences, platform, market, cluster)
            return await freeze_at_a_cluster(trial, freezer, partial(job_spec, market.project), told_otherwise)
