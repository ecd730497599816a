"""A claim about Slurm and Kubernetes at once, tried on a real cluster of each, with a platform as a process of its own."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from contextlib import ExitStack
from typing import Any

from bench.case import Trial, Verdict
from bench.demo.stages import Kubernetes, Slurm, clusters
from bench.platform import Platform
from tests.backends import kubernetes, slurm
from tests.backends.shelf import LeftOut

Claim = Callable[[Trial, Platform, Slurm, Kubernetes], Coroutine[Any, Any, Verdict]]


def on_both(trial: Trial, claim: Claim, environment: Mapping[str, str] | None = None) -> Verdict:
    """With two clusters and a platform of its own, which start side by side: the platform may not be ready yet. The short form passes
    where a cluster can't be set up. `environment` is the platform's.
    """
    platform = Platform(trial.folder / "platform", environment=environment or {})
    try:
        with ExitStack() as ends:
            ends.callback(platform.stop)
            platform.launch()
            stages = clusters(ends)
            trial.say("both clusters are up")
            return asyncio.run(_claimed(trial, claim, platform, *stages))
    except LeftOut as left_out:
        must = kubernetes.must_run() or slurm.must_run(slurm.RELEASES[1])
        return Verdict(not must and not trial.long, f"left out: {left_out}")


async def _claimed(trial: Trial, claim: Claim, platform: Platform, one: Slurm, other: Kubernetes) -> Verdict:
    async with platform:
        return await claim(trial, platform, one, other)
