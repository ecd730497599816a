"""Everything dies around jobs at Kubernetes, again and again: each job still runs once, ends as it should and is charged once."""

import asyncio
from functools import partial
from typing import Final

from bench.agents import SWEEP
from bench.case import Trial, Verdict, case
from bench.deaths import DYING
from bench.demo.stages import Kubernetes
from bench.kubernetes_jobs import differences, job_spec
from bench.kubernetes_trials import on_cluster, open_kubernetes_market
from bench.outages import Deaths, Whole, die
from bench.platform import Platform, until
from bench.submitter import Submitter, all_settled
from tests.backends.kubernetes import Cluster

SETTLE_SECONDS: Final = 600
API: Final = "kube-apiserver"
QUICK: Final = SWEEP | {"CARAVAN_AGENT_LONGEST_PAUSE_SECONDS": "5"}
LONG: Final = Deaths(200, ((None, 7), (API, 3), (None, 10)), 60)
SHORT: Final = Deaths(3, ((API, 1),), 3)
AT_WORK: Final = 2
"""Jobs that run when their node is killed, as many as it has cores, and how long they do."""
AT_WORK_SECONDS: Final = 5.0


class Forgetful:
    """A cluster whose etcd forgets what was, whenever its API server goes: a watch can't go on from there."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def stop(self, daemon: str) -> None:
        self._cluster.stop(daemon)
        if daemon == API:
            self._cluster.compact()

    def start(self, daemon: str) -> None:
        self._cluster.start(daemon)


@case(
    "kubernetes-crash",
    claim="200 jobs at Kubernetes; platform and agent killed with -9 20 times, at least once in each step, the API server away for 60 s "
    "while etcd is compacted, the node killed whole with all that runs on it: each task runs to its own end once, what ended with the node "
    "is tried again and is the site's, and all is billed once, as the node's own record of containers has it",
    goal="0 differences to containerd's record, held 0.00, nothing kept at the cluster",
)
def kubernetes_crash(trial: Trial) -> Verdict:
    return on_cluster(trial, partial(_crash, size=LONG if trial.long else SHORT))


async def _crash(trial: Trial, platform: Platform, cluster: Cluster, stage: Kubernetes, *, size: Deaths) -> Verdict:
    with stage.agents(platform, QUICK) as agents:
        market = await open_kubernetes_market(platform, stage, agents.start)
        whole = Whole(platform, agents, market.site)
        submitter = Submitter(
            platform,
            market,
            lambda number: job_spec(market.project, number, None if number < size.jobs else AT_WORK_SECONDS),
        )
        died = await die(trial, Forgetful(cluster), whole, submitter.submit, size)
        whole.start()
        await submitter.all_answered()
        await all_settled(platform, market, SETTLE_SECONDS)
        submitter.submit(range(size.jobs, size.jobs + AT_WORK))
        await until(lambda: _at_work(cluster), "a job to run", SETTLE_SECONDS)
        await asyncio.to_thread(cluster.stop, "node")
        await asyncio.sleep(size.outage_seconds)
        await asyncio.to_thread(cluster.start, "node")
        trial.say("the node is there again")
        await submitter.all_answered()
        found = await all_settled(platform, market, SETTLE_SECONDS)
        trial.say(f"{len(found)} jobs settled")
        faults = await differences(platform, market, cluster, found, size.jobs + AT_WORK)
    containers = cluster.containers()
    lost = sum(one.exit_code is None for one in containers)
    faults["nothing ended with the node"] = [] if lost else ["no container did"]
    if size is LONG:
        faults["steps not died in"] = [step for step in DYING if not died[step]]
    return Verdict(
        not any(faults.values()),
        f"{len(found)} jobs, {died.total()} deaths, {len(containers)} containers of which {lost} ended with the node, "
        f"{sum(map(len, faults.values()))} differences",
        {"faults": faults, "deaths": dict(died)},
    )


async def _at_work(cluster: Cluster) -> bool:
    return any(one.ended is None for one in await asyncio.to_thread(cluster.containers))
