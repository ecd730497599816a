"""How jobs end on a real Kubernetes: the API and the bill against the node's own record, by a checker that knows nothing of the adapter."""

import asyncio

from bench.case import Trial, Verdict, case
from bench.kubernetes_ends.asked import ASKED
from bench.kubernetes_ends.playing import played
from tests.backends.kubernetes import LeftOut, must_run, running


@case(
    "kubernetes-ends",
    claim="Of each way for a job to end on Kubernetes, state, exit code, log, times, and what is billed to whom, in seconds and fen, are "
    "what the node's own record of its containers says",
    goal="0 differences",
)
def kubernetes_ends(trial: Trial) -> Verdict:
    jobs = [job for job in ASKED if trial.long or not job.slow]
    try:
        with running() as cluster:
            trial.say(f"Kubernetes {cluster.version} is up")
            compared = asyncio.run(played(trial, cluster, jobs))
    except LeftOut as fault:
        # the short form is part of the suite, which people without root run too
        return Verdict(not trial.long and not must_run(), f"left out: {fault}")
    differences = [*map(str, compared.differences)]
    for difference in differences:
        trial.say(difference)
    return Verdict(
        passed=not differences,
        figure=f"{len(jobs)} jobs, {compared.fields:,} fields compared, {compared.amounts:,} of them quantities and fen billed: "
        f"{len(differences)} differences",
        details={"differences": differences},
    )
