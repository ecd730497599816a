"""A claim about Slurm, tried on real clusters, with a platform and the site's agents as processes of their own."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from contextlib import ExitStack
from typing import Any, Final

from bench.books import PRICES
from bench.case import Trial, Verdict
from bench.demo.stages import Slurm
from bench.platform import Market, Platform, open_market
from tests.backends.slurm import RELEASES, Cluster, LeftOut, Release, must_run
from tests.backends.slurm.cluster import running

CPUS: Final = 16
PARTITION: Final = "short"
Claim = Callable[[Trial, Cluster, Slurm], Coroutine[Any, Any, Verdict]]


def on_releases(trial: Trial, claim: Claim) -> Verdict:
    """In its long form on each release; in its short one on 24.11, and it passes where that can't be set up."""
    found = [_on(trial, release, claim) for release in (RELEASES if trial.long else RELEASES[1:2])]
    return Verdict(
        all(verdict.passed for verdict in found),
        "; ".join(verdict.figure for verdict in found),
        {"releases": [verdict.details for verdict in found]},
    )


def _on(trial: Trial, release: Release, claim: Claim) -> Verdict:
    try:
        with ExitStack() as ends:
            cluster = ends.enter_context(running(release))
            verdict = asyncio.run(claim(trial, cluster, Slurm(cluster, ends)))
    except LeftOut as left_out:
        return Verdict(not must_run(release) and (release.moves or not trial.long), f"left out: {left_out}")
    trial.say(verdict.figure)
    return Verdict(verdict.passed, f"{cluster.version}: {verdict.figure}", {cluster.version: verdict.details})


async def open_slurm_market(
    platform: Platform, stage: Slurm, start_agent: Callable[[str], object], settings: Mapping[str, Any] | None = None
) -> Market:
    """As `open_market`, of the cluster's partition `short`. `settings` change the stage's."""
    return await open_market(
        platform, cpus=CPUS, prices=PRICES, adapter=stage.adapter, tenant=stage.tenant, queue_ahead=CPUS,
        site_settings={**stage.settings, **(settings or {})}, target={"partition": PARTITION}, start_agent=start_agent,
    )  # fmt: skip
