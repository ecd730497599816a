"""What was billed beside slurmdbd's own books: jobs on a real cluster, and `caravan reconcile` as a centre runs it."""

import asyncio
import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack, closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from bench.demo.stages import Slurm
from bench.platform import Market, Platform, open_market, until
from caravan.cli.books import FORMAT, IN_UTC
from caravan.contracts.funds import HoldStatus
from caravan.contracts.slurm import run_identity
from caravan.contracts.spec import Array, JobSpec, Resources
from caravan.kernel import clock, ids
from tests.backends.slurm import RELEASES, Cluster, Release

pytestmark = pytest.mark.slow
FIELDS = FORMAT.split(",")
TOLD = tuple(f"{name}={value}" for name, value in IN_UTC.items())


def cell(row: str, field: str) -> str:
    return row.split("|")[FIELDS.index(field)]


def put(row: str, field: str, text: str) -> str:
    at = FIELDS.index(field)
    cells = row.split("|")
    return "|".join([*cells[:at], text, *cells[at + 1 :]])


def later(row: str, field: str, seconds: int) -> str:
    return str(int(cell(row, field)) + seconds)


def longer_by_one(row: str) -> str:
    return f"00:00:{int(cell(row, 'Elapsed').rpartition(':')[2]) + 1:02}"


def identity(row: str) -> str:
    return run_identity(cell(row, "Cluster"), int(cell(row, "JobIDRaw")), int(cell(row, "Submit")))


async def played(cluster: Cluster, platform: Platform, market: Market) -> None:
    """An array, a job that was suspended, one that was requeued, both cancelled then, until all of it is charged."""
    broker = await platform.broker(f"org/{market.organization}:member")

    def spec(script: str, **changed: Any) -> JobSpec:
        resources = Resources(walltime_seconds=120, cpus_per_task=2, memory_mib_per_node=200)
        return JobSpec(
            name="a|b", project=market.project, script=f"#!/bin/sh\n{script}\n", resources=resources, **changed
        )

    array = await broker.submit_job(spec("sleep 2", array=Array(indices=(0, 1, 2))))
    paused, again = await broker.submit_job(spec("sleep 60")), await broker.submit_job(spec("sleep 60"))

    async def raw_id(job: str) -> str:
        """Of the job when it runs."""
        (attempt,) = (await broker.list_job_attempts(job)).items
        listed = ("squeue", "--noheader", "--states=RUNNING", "--format=%A", f"--name={ids.bare(attempt.id)}")
        return (await asyncio.to_thread(cluster.run, *listed)).strip()

    first = await until(lambda: raw_id(paused.id), "the job to suspend")
    second = await until(lambda: raw_id(again.id), "the job to requeue")
    await asyncio.sleep(1)
    cluster.run("scontrol", "suspend", first)
    cluster.run("scontrol", "requeue", second)
    await asyncio.sleep(2)
    cluster.run("scontrol", "resume", first)
    for job in (paused, again):
        await broker.cancel_job(job.id)
    finance = await platform.accounting("platform:finance")

    async def charged() -> bool:
        holds = [await finance.get_hold(job.id) for job in (array, paused, again)]
        return all(hold.status is HoldStatus.SETTLED for hold in holds)

    await until(charged, "all to be charged", 240)


async def test_what_was_billed_is_what_slurmdbd_says_and_one_altered_figure_is_named(
    slurm_cluster: Callable[[Release], Cluster], tmp_path: Path
) -> None:
    cluster = slurm_cluster(RELEASES[1])
    cluster.offer("sacct", tmp_path)
    sacct = tmp_path / "sacct"
    with ExitStack() as ends:
        stage = Slurm(cluster, ends)
        async with Platform(tmp_path / "platform").start(CARAVAN_LOG_LEVEL="warning") as platform:
            market = await open_market(
                platform, cpus=16, queue_ahead=16, adapter=stage.adapter, site_settings=stage.settings, tenant=stage.tenant,
                target={"partition": "short", "requeue": True}, start_agent=lambda site: stage.run_agent(site, platform),
            )  # fmt: skip
            began = clock.floor_second(clock.now()) - timedelta(hours=2)
            await played(cluster, platform, market)
            span = ("--from", began.isoformat(), "--to", (began + timedelta(hours=4)).isoformat())
            env = os.environ | {
                "PATH": f"{sacct.parent}{os.pathsep}{os.environ['PATH']}",
                "CARAVAN_URL": platform.url("accounting").removesuffix("/accounting"),
                "CARAVAN_TOKEN": platform.token(f"provider/{market.provider}:admin"),
            }

            async def caravan(*arguments: str) -> tuple[int, list[tuple[str, str | None]]]:
                command = [sys.executable, "-m", "caravan.cli", "reconcile", "site", market.site, *span, "--json"]
                done = await asyncio.to_thread(
                    subprocess.run, [*command, *arguments], env=env, capture_output=True, text=True
                )
                assert done.returncode in (0, 1), done.stderr
                found = json.loads(done.stdout)
                assert found["open"] == []
                return done.returncode, [(one["kind"], one["identity"]) for one in found["differences"]]

            async def of(*rows: str) -> tuple[int, list[tuple[str, str | None]]]:
                dump = tmp_path / "dump"
                dump.write_text("".join(f"{row}\n" for row in (header, *rows)))
                return await caravan("--sacct", str(dump))

            assert await caravan() == (0, [])
            header, *rows = cluster.run("env", *TOLD, "sacct", "-aDXP", "-S", "now-2hours", f"-o{FORMAT}").splitlines()
            ran = [row for row in rows if f"caravan {market.site} " in row and cell(row, "AllocTRES")]
            assert sorted(cell(row, "State").split()[0] for row in ran) == ["CANCELLED", *["COMPLETED"] * 3, "REQUEUED"]
            (requeued,) = [row for row in ran if cell(row, "State") == "REQUEUED"]
            others = [row for row in rows if row != ran[0]]
            longer = put(put(ran[0], "End", later(ran[0], "End", 1)), "Elapsed", longer_by_one(ran[0]))
            assert await of(longer, *others) == (1, [("seconds", identity(ran[0]))])
            wider = put(ran[0], "AllocTRES", cell(ran[0], "AllocTRES").replace("cpu=2", "cpu=3"))
            assert await of(wider, *others) == (1, [("cores", identity(ran[0]))])
            stray = put(ran[0], "JobIDRaw", "4711")
            for field in ("Submit", "Start", "End"):
                stray = put(stray, field, later(ran[0], field, -3600))
            assert await of(stray, *rows) == (1, [("not_billed", identity(stray))])
            assert await of(*[row for row in rows if row != requeued]) == (1, [("not_in_books", identity(requeued))])
            assert await caravan("--sacct", str(tmp_path / "dump"), "--as-of", began.isoformat()) == (0, [])
            with closing(sqlite3.connect(platform.data / "accounting.db")) as books, books:
                books.execute("UPDATE lines SET amount = amount + 1 WHERE id = (SELECT min(id) FROM lines)")
            assert await caravan() == (1, [("amounts", None)])
