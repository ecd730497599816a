"""A claim about Kubernetes, tried on a real cluster, with a platform and the site's agents as processes of their own."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from contextlib import ExitStack
from typing import Any, Final

from bench.books import PRICES
from bench.case import Trial, Verdict
from bench.demo.stages import Kubernetes
from bench.platform import Market, Platform, open_market
from tests.backends.kubernetes import Cluster, LeftOut, must_run, running

CPUS: Final = 16
"""More than the node has: what finds no room waits there."""
NODES: Final = 2
"""The most that a task may have: each is a pod of its own, also on one node."""
Claim = Callable[[Trial, Platform, Cluster, Kubernetes], Coroutine[Any, Any, Verdict]]


def on_cluster(trial: Trial, claim: Claim, environment: Mapping[str, str] | None = None) -> Verdict:
    """With a cluster and a platform of its own, which start side by side. The short form passes where the cluster can't be set up.

    `environment` is the platform's.
    """
    platform = Platform(trial.folder, environment=environment or {})
    try:
        with ExitStack() as ends:
            ends.callback(platform.stop)
            platform.launch()
            cluster = ends.enter_context(running())
            return asyncio.run(_claimed(trial, claim, platform, cluster, Kubernetes(cluster, ends)))
    except LeftOut as left_out:
        return Verdict(not must_run() and not trial.long, f"left out: {left_out}")


async def _claimed(trial: Trial, claim: Claim, platform: Platform, cluster: Cluster, stage: Kubernetes) -> Verdict:
    async with platform.start():
        trial.say("cluster and platform are up")
        return await claim(trial, platform, cluster, stage)


async def open_kubernetes_market(
    platform: Platform,
    stage: Kubernetes,
    start_agent: Callable[[str], object],
    settings: Mapping[str, Any] | None = None,
) -> Market:
    """As `open_market`, of the cluster's one real node. `settings` change the stage's."""
    return await open_market(
        platform, nodes=NODES, cpus=CPUS, prices=PRICES, adapter=stage.adapter, tenant=stage.tenant, queue_ahead=CPUS,
        site_settings={**stage.settings, "image_seconds": 5, **(settings or {})}, target=stage.target, start_agent=start_agent,
    )  # fmt: skip
