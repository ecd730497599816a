"""What was billed at Kubernetes beside the cluster's pods and the node's record: real jobs, and `caravan reconcile` as a centre runs it."""

import asyncio
import csv
import json
from collections.abc import Callable
from contextlib import ExitStack
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from bench.demo.stages import Kubernetes
from bench.kubernetes_trials import open_kubernetes_market
from bench.platform import Market, Platform, until
from bench.reconciling import PODS, reconcile, write_record
from caravan.client import each
from caravan.contracts.funds import HoldStatus
from caravan.contracts.jobs import JobState
from caravan.contracts.spec import Array, JobSpec, Resources
from caravan.kernel import clock
from tests.backends.kubernetes import Cluster

pytestmark = pytest.mark.slow
Cells = dict[str, str]


async def played(platform: Platform, market: Market) -> None:
    """An array, a task of two nodes, and one that is cancelled, until all of it is charged."""
    broker = await platform.broker(f"org/{market.organization}:member")

    def spec(script: str, nodes: int = 1, **changed: Any) -> JobSpec:
        resources = Resources(walltime_seconds=120, nodes=nodes, memory_mib_per_node=64)
        return JobSpec(name="one", project=market.project, script=f"{script}\n", resources=resources, **changed)

    jobs = [
        await broker.submit_job(spec("sleep 3", array=Array(indices=(0, 3)))),
        await broker.submit_job(spec("sleep 3", nodes=2)),
        await broker.submit_job(spec("sleep 60")),
    ]

    async def runs() -> bool:
        return (await broker.get_job(jobs[2].id)).state is JobState.RUNNING

    await until(runs, "the one to cancel runs", 120)
    await asyncio.sleep(2)
    await broker.cancel_job(jobs[2].id)
    finance = await platform.accounting("platform:finance")

    async def charged() -> bool:
        holds = [await finance.get_hold(job.id) for job in jobs]
        return all(hold.status is HoldStatus.SETTLED for hold in holds)

    await until(charged, "all to be charged", 240)


def later(cells: Cells, seconds: int) -> Cells:
    return cells | {"ended": (datetime.fromisoformat(cells["ended"]) + timedelta(seconds=seconds)).isoformat()}


async def test_what_was_billed_is_what_pods_and_containers_say_and_one_altered_figure_is_named(
    kubernetes: Cluster, tmp_path: Path
) -> None:
    with ExitStack() as ends:
        stage = Kubernetes(kubernetes, ends)
        async with Platform(tmp_path / "platform").start(CARAVAN_LOG_LEVEL="warning") as platform:
            market = await open_kubernetes_market(platform, stage, lambda site: stage.run_agent(site, platform))
            await played(platform, market)
            money = await platform.accounting("platform:finance")
            now = clock.floor_second(clock.now())
            span = now - timedelta(hours=2), now + timedelta(hours=2)
            runs = [run.identity async for run in each(money.list_site_runs, market.site, *span)]

            async def found(option: str, file: Path) -> tuple[int, list[tuple[str, str | None]]]:
                code, told, words = await asyncio.to_thread(
                    reconcile, platform, market.provider, market.site, option, str(file)
                )
                assert told, words
                assert (told["open"], told["compared"] + told["not_kept"]) == ([], len(runs))
                return code, [(one["kind"], one["identity"]) for one in told["differences"]]

            pods = tmp_path / "pods.json"
            listed = kubernetes.ask("GET", PODS)
            ours = [one for one in listed["items"] if one["metadata"]["annotations"].get("caravan/site") == market.site]
            assert len(ours) >= 4

            async def of_pods(change: Callable[[dict[str, Any]], None]) -> tuple[int, list[tuple[str, str | None]]]:
                altered = json.loads(json.dumps(listed))
                (one,) = [pod for pod in altered["items"] if pod["metadata"]["uid"] == alone["metadata"]["uid"]]
                change(one)
                pods.write_text(json.dumps(altered))
                return await found("--pods", pods)

            (alone, *_) = [one for one in ours if one["metadata"]["uid"] in runs]
            uid = alone["metadata"]["uid"]

            def wider(pod: dict[str, Any]) -> None:
                pod["spec"]["containers"][0]["resources"]["requests"]["cpu"] = "2"

            def longer(pod: dict[str, Any]) -> None:
                ended = pod["status"]["containerStatuses"][0]["state"]["terminated"]
                at = datetime.fromisoformat(ended["finishedAt"]) + timedelta(seconds=1)
                ended["finishedAt"] = at.isoformat()

            assert await of_pods(lambda pod: None) == (0, [])
            assert await of_pods(wider) == (1, [("cores", uid)])
            assert await of_pods(longer) == (1, [("seconds", uid)])

            record = tmp_path / "containers.csv"
            write_record(record, kubernetes.containers())
            with record.open(newline="") as lines:
                reader = csv.DictReader(lines)
                names, rows = reader.fieldnames or [], [*reader]
            mine = [cells for cells in rows if cells["site"] == market.site]
            several = [cells for cells in mine if cells["nodes"] == "2"]
            assert (len(mine), len(several), len(runs)) == (5, 2, 4)

            async def of_record(*cells: Cells) -> tuple[int, list[tuple[str, str | None]]]:
                with record.open("w", newline="") as lines:
                    writer = csv.DictWriter(lines, names)
                    writer.writeheader()
                    writer.writerows(cells)
                return await found("--containers", record)

            assert await of_record(*rows) == (0, [])
            (one,) = [cells for cells in mine if cells["pod"] == uid]
            others = [cells for cells in rows if cells is not one]
            assert await of_record(later(one, 2), *others) == (1, [("seconds", uid)])
            assert await of_record(one | {"cpus": "2"}, *others) == (1, [("cores", uid)])
            assert await of_record(*others) == (1, [("not_in_books", uid)])
            first, second = several
            run = f"{first['submission'].rpartition('.')[2]}.1"
            assert run in runs
            code, told = await of_record(*[cells for cells in rows if cells is not second])
            assert (code, {identity for _, identity in told}) == (1, {run})
