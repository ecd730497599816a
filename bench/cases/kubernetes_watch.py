"""A Kubernetes whose every connection is cut again and again, and whose past is forgotten: what happens there is seen all the same."""

import asyncio
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Final

from bench.agents import SWEEP
from bench.case import Trial, Verdict, case
from bench.cutting import cutter
from bench.demo.stages import Kubernetes
from bench.kubernetes_jobs import differences, job_spec
from bench.kubernetes_trials import on_cluster, open_kubernetes_market
from bench.platform import Platform, until
from bench.submitter import Submitter, all_settled
from caravan.client import BrokerClient, each
from tests.backends.kubernetes import Cluster

CUT_SECONDS: Final = 2.0
QUICK: Final = SWEEP | {"CARAVAN_AGENT_LONGEST_PAUSE_SECONDS": "5"}
SETTLE_SECONDS: Final = 300
EXPIRED: Final = "kubernetes_watch_expired"
"""Stands in an agent's log each time that it was told 410."""


@case(
    "kubernetes-watch",
    claim="60 jobs at Kubernetes while each connection to the API server is cut every 2 s, and etcd is compacted under the watches: each "
    "task runs once and is billed once, as the node's own record of containers has it",
    goal="0 differences to containerd's record, held 0.00, nothing kept at the cluster; 410 was said",
)
def kubernetes_watch(trial: Trial) -> Verdict:
    return on_cluster(trial, _watch)


async def _watch(trial: Trial, platform: Platform, cluster: Cluster, stage: Kubernetes) -> Verdict:
    jobs, forgotten = (60, 3) if trial.long else (4, 1)
    log = trial.folder / "agent.log"
    async with cutter(cluster.ports.api) as relay:
        with stage.agents(platform, QUICK) as agents:
            through = {"api": {**stage.settings["api"], "server": f"https://127.0.0.1:{relay.port}"}}
            market = await open_kubernetes_market(platform, stage, lambda site: agents.start(site, log), through)
            broker = await platform.broker(f"org/{market.organization}:member")
            submitter = Submitter(platform, market, lambda number: job_spec(market.project, number))
            async with relay.every(CUT_SECONDS):
                for number in range(forgotten):
                    batch = range(number * jobs // forgotten, (number + 1) * jobs // forgotten)
                    submitter.submit(batch)
                    await submitter.all_answered()
                    # a watch that has told of them goes on from there; one that was told 410 just before begins anew anyway
                    await until(partial(_begun, broker, batch), "one of the jobs to begin", SETTLE_SECONDS)
                    before = told_410(log)
                    await asyncio.to_thread(forget, cluster)

                    async def told(before: int = before) -> bool:
                        return told_410(log) > before

                    await until(told, "a watch to be told 410", SETTLE_SECONDS)
                    trial.say(f"etcd has forgotten {number + 1} times, {relay.cut} connections are cut")
                found = await all_settled(platform, market, SETTLE_SECONDS)
            faults = await differences(platform, market, cluster, found, jobs)
    expired = told_410(log)
    return Verdict(
        not any(faults.values()) and expired >= forgotten,
        f"{len(found)} jobs, {relay.cut} connections cut, {expired} watches told 410, {sum(map(len, faults.values()))} differences",
        {"faults": faults},
    )


async def _begun(broker: BrokerClient, numbers: Iterable[int]) -> bool:
    names = set(map(str, numbers))
    return any(job.started_at for job in [job async for job in each(broker.list_jobs)] if job.name in names)


def told_410(log: Path) -> int:
    """How often a watch of the agent with this log was."""
    return log.read_text().count(EXPIRED)


def forget(cluster: Cluster) -> None:
    """All that a watch could go on from: an API server that runs has the last of it in its memory."""
    cluster.stop("kube-apiserver")
    cluster.compact()
    cluster.start("kube-apiserver")
