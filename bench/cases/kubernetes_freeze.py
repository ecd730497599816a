"""An agent of a Kubernetes site that freezes around stage and release, loses its lease and thaws: one run each time, and no litter."""

from functools import partial

from bench.agents import SWEEP
from bench.case import Trial, Verdict, case
from bench.demo.stages import Kubernetes
from bench.freezing import Freezer, freeze_at_a_cluster
from bench.kubernetes_jobs import differences, job_spec
from bench.kubernetes_trials import on_cluster, open_kubernetes_market
from bench.platform import Platform
from tests.backends.kubernetes import Cluster


@case(
    "kubernetes-freeze",
    claim="caravan agent of a Kubernetes site frozen by SIGSTOP around stage and release, another one taking over, then let go: each task "
    "runs once and is billed once, as the node's own record of containers has it, and nothing is kept at the cluster",
    goal="0 differences to containerd's record, held 0.00, nothing kept at the cluster",
)
def kubernetes_freeze(trial: Trial) -> Verdict:
    return on_cluster(trial, _freeze, {"CARAVAN_LEASE_SECONDS": "2"})


async def _freeze(trial: Trial, platform: Platform, cluster: Cluster, stage: Kubernetes) -> Verdict:
    with stage.agents(platform, SWEEP) as agents:
        market = await open_kubernetes_market(platform, stage, agents.start)
        freezer = Freezer(trial, platform, market, agents)
        told_otherwise = partial(differences, platform, market, cluster)
        return await freeze_at_a_cluster(trial, freezer, partial(job_spec, market.project), told_otherwise)
