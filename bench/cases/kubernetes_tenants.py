"""Two organizations as two namespaces of one cluster: neither reads what the other's job carries (see `bench/kubernetes_tenants`)."""

import asyncio

from bench.case import Trial, Verdict, case
from bench.kubernetes_tenants.stand import Stand
from bench.kubernetes_tenants.trying import by_caravan, by_jobs, by_kubernetes, planted, tokens, walls
from bench.kubernetes_tenants.ways import MUST_BE_SEEN
from bench.leaking import Row, unseen
from tests.backends.kubernetes import Cluster, LeftOut, must_run, running


@case(
    "kubernetes-tenants",
    claim="Two organizations as two namespaces: neither can read the other's script, ConfigMap, log or Secret, at Kubernetes with what a "
    "job has, or through Caravan; no pod has a token, and a policy denies by default",
    goal="0 leaks, 0 gaps; who may see does; what a centre leaves open is found",
)
def kubernetes_tenants(trial: Trial) -> Verdict:
    try:
        with running() as cluster:
            rows, gaps, plants = asyncio.run(_tried(trial, cluster))
    except LeftOut as left_out:
        if must_run() or trial.long:
            raise
        return Verdict(True, str(left_out))
    leaks = [str(row) for row in rows if row.other]
    blind = [f"{kind} at {place}" for place, kind in unseen(rows, MUST_BE_SEEN)]
    missed = [name for name, found in plants.items() if not found]
    for fault in (*leaks, *gaps, *(f"nobody saw: {one}" for one in blind), *(f"not found: {one}" for one in missed)):
        trial.say(fault)
    return Verdict(
        not (leaks or gaps or blind or missed),
        f"{len(leaks)} leaks by {len(rows)} ways, {len(gaps)} gaps; {len(plants) - len(missed)} of {len(plants)} planted "
        f"faults found; who may missed {len(blind)}",
        {"rows": [str(row) for row in rows], "gaps": gaps, "plants": plants},
    )


async def _tried(trial: Trial, cluster: Cluster) -> tuple[list[Row], list[str], dict[str, bool]]:
    """All ways while both jobs run, in the long form also once they have ended."""
    trial.say("the cluster runs")
    async with Stand(trial, cluster) as stand:
        trial.say("both jobs run")
        rows = [*await by_kubernetes(stand), *await by_caravan(stand)]
        gaps = [
            fault for one in stand.tenants for look in (walls, tokens) for fault in await look(stand, one.namespace)
        ]
        rows += await by_jobs(stand)
        if trial.long:
            rows += [*await by_kubernetes(stand), *await by_caravan(stand)]
        return rows, gaps, await planted(stand)
