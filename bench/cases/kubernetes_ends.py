"""How jobs end on a real Kubernetes: the API and the bill against the node's own record, by a checker that knows nothing of the adapter."""

from bench.case import Trial, Verdict, case
from bench.demo.stages import Kubernetes
from bench.kubernetes_ends.asked import ASKED
from bench.kubernetes_ends.playing import played
from bench.kubernetes_trials import on_cluster
from bench.platform import Platform
from tests.backends.kubernetes import Cluster


@case(
    "kubernetes-ends",
    claim="Of each way for a job to end on Kubernetes, state, exit code, log, times, and what is billed to whom, in seconds and fen, are "
    "what the node's own record of its containers says",
    goal="0 differences",
)
def kubernetes_ends(trial: Trial) -> Verdict:
    return on_cluster(trial, _ends)


async def _ends(trial: Trial, platform: Platform, cluster: Cluster, stage: Kubernetes) -> Verdict:
    jobs = [job for job in ASKED if trial.long or not job.slow]
    compared = await played(trial, platform, cluster, jobs)
    differences = [*map(str, compared.differences)]
    for difference in differences:
        trial.say(difference)
    return Verdict(
        passed=not differences,
        figure=f"{len(jobs)} jobs, {compared.fields:,} fields compared, {compared.amounts:,} of them quantities and fen billed: "
        f"{len(differences)} differences",
        details={"differences": differences},
    )
