"""Two organizations as two namespaces of one cluster: neither reads what the other's job carries (see `bench/kubernetes_tenants`)."""

from bench.case import Trial, Verdict, case
from bench.demo.stages import Kubernetes
from bench.kubernetes_tenants.stand import Stand
from bench.kubernetes_tenants.trying import by_caravan, by_jobs, by_kubernetes, planted, tokens, walls
from bench.kubernetes_tenants.ways import MUST_BE_SEEN
from bench.kubernetes_trials import on_cluster
from bench.leaking import Row, unseen
from bench.platform import Platform
from tests.backends.kubernetes import Cluster


@case(
    "kubernetes-tenants",
    claim="Two organizations as two namespaces: neither can read the other's script, ConfigMap, log or Secret, at Kubernetes with what a "
    "job has, or through Caravan; no pod has a token, and a policy denies by default",
    goal="0 leaks, 0 gaps; who may see does; what a centre leaves open is found",
)
def kubernetes_tenants(trial: Trial) -> Verdict:
    return on_cluster(trial, _tenants)


async def _tenants(trial: Trial, platform: Platform, cluster: Cluster, stage: Kubernetes) -> Verdict:
    stand = Stand(trial, platform, cluster)
    await stand.open(stage)
    trial.say("both jobs run")
    rows, gaps, plants = await _tried(stand)
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


async def _tried(stand: Stand) -> tuple[list[Row], list[str], dict[str, bool]]:
    """All ways while both jobs run, in the long form also once they have ended."""
    rows = [*await by_kubernetes(stand), *await by_caravan(stand)]
    gaps = [fault for one in stand.tenants for look in (walls, tokens) for fault in await look(stand, one.namespace)]
    rows += await by_jobs(stand)
    if stand.trial.long:
        rows += [*await by_kubernetes(stand), *await by_caravan(stand)]
    return rows, gaps, await planted(stand)
