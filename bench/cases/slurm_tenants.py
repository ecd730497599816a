"""Two organizations as two Unix users of one Slurm cluster: neither reads what the other's job carries (see `bench/slurm_tenants`)."""

import asyncio
from typing import Final

from bench.case import Trial, Verdict, case
from bench.leaking import Row, unseen
from bench.slurm_tenants.stand import Stand
from bench.slurm_tenants.trying import try_all, try_on_a_machine, try_plants
from bench.slurm_tenants.ways import FILES, MUST_BE_SEEN
from tests.backends.slurm import RELEASES, Cluster, LeftOut, must_run
from tests.backends.slurm.cluster import running

KEPT: Final = {"AccountingStoreFlags": "job_comment,job_env,job_script"}
"""The books hold scripts and environments: what could leak from them is there."""
PRIVATE: Final = {"PrivateData": "accounts,jobs,usage,users"}
"""As docs/slurm.md has a centre set it, in slurm.conf and slurmdbd.conf."""


@case(
    "slurm-tenants",
    claim="Two organizations as two Unix users: neither can read the other's script, output or environment, at Slurm or through Caravan",
    goal="0 leaks; owners see all of theirs; what a centre leaves open is found",
)
def slurm_tenants(trial: Trial) -> Verdict:
    tables: dict[str, list[Row]] = {}
    opened: dict[str, list[Row]] = {}
    for release in RELEASES if trial.long else RELEASES[1:2]:
        try:
            with running(release, KEPT | PRIVATE) as cluster:
                tables[release.name], opened[f"{release.name}, folder open"] = asyncio.run(_kept_apart(trial, cluster))
            if trial.long:
                with running(release, KEPT) as cluster:
                    opened[f"{release.name}, as Slurm comes"] = asyncio.run(_as_slurm_comes(trial, cluster))
        except LeftOut as left_out:
            if must_run(release):
                raise
            trial.say(str(left_out))
    leaks = [f"{name}: {row}" for name, rows in tables.items() for row in rows if row.other]
    blind = [
        f"{name}: {kind} at {place}" for name, rows in tables.items() for place, kind in unseen(rows, MUST_BE_SEEN)
    ]
    missed = [name for name, rows in opened.items() if not any(row.other for row in rows)]
    for fault in (*leaks, *(f"its owner never saw: {one}" for one in blind), *(f"not found: {one}" for one in missed)):
        trial.say(fault)
    return Verdict(
        not leaks and not blind and not missed and (bool(tables) or not trial.long),
        f"{len(leaks)} leaks by {sum(map(len, tables.values()))} ways on {', '.join(tables) or 'no release'}; "
        f"{len(opened) - len(missed)} of {len(opened)} planted faults found; owners missed {len(blind)} of theirs",
        {name: [str(row) for row in rows] for name, rows in (tables | opened).items()},
    )


async def _kept_apart(trial: Trial, cluster: Cluster) -> tuple[list[Row], list[Row]]:
    """All that was tried where a centre has set what it should; and what is found once a tenant's folder is open to all."""
    _keep_private(cluster)
    async with Stand(trial, cluster) as stand:
        rows = await try_all(stand, "running")
        rows += await try_plants(stand)
        await stand.end()
        rows += await try_all(stand, "ended")
        cluster.run("chmod", "-R", "o+rX", str(stand.tenants[0].folder))
        return rows, await try_on_a_machine(stand, "folder open", {"files": FILES})


async def _as_slurm_comes(trial: Trial, cluster: Cluster) -> list[Row]:
    async with Stand(trial, cluster) as stand:
        rows = await try_all(stand, "running, as Slurm comes")
        await stand.end()
        return [*rows, *await try_all(stand, "ended, as Slurm comes")]


def _keep_private(cluster: Cluster) -> None:
    """What docs/slurm.md has a centre set outside slurm.conf."""
    with (cluster.etc / "slurmdbd.conf").open("a") as conf:
        conf.writelines(f"{name}={value}\n" for name, value in PRIVATE.items())
    cluster.run("sacctmgr", "--immediate", "reconfigure")
    cluster.run("mount", "-o", "remount,hidepid=2", "/proc")
