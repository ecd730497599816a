"""How fast jobs come to Kubernetes through the platform beside a plain script, how soon their ends are known, and what many cost."""

import asyncio
import json
import re
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from statistics import median
from typing import Any, Final

import httpx

from bench.backends import cpu_seconds
from bench.case import Trial, Verdict, case
from bench.clients import CLIENTS, all_ended, beside_direct, cancelled, in_batches, one_by_one
from bench.demo.stages import Kubernetes
from bench.kubernetes_trials import on_cluster
from bench.platform import Market, Platform, open_market, until
from caravan.client import BrokerClient
from caravan.contracts.spec import Container, JobSpec, Resources
from caravan.kernel import clock
from services.broker.adapters.kubernetes.reference import SITE
from tests.backends.kubernetes import Cluster
from tests.backends.kubernetes.configuration import FAKE
from tests.backends.kubernetes.fakes import TAINT
from tests.backends.kubernetes.image import BUSYBOX
from tests.backends.kubernetes_site import AGENT

BATCHED: Final = 0.8
SINGLE: Final = 0.35
SOON_MILLISECONDS: Final = 200.0
HELD_MIB: Final = 300
QUIET_SHARE: Final = 0.01
USUAL: Final = {"CARAVAN_AGENT_OBSERVE_SECONDS": "0.5", "CARAVAN_AGENT_PROGRESS_SECONDS": "15"}
"""As an agent paces itself without another word."""
CONTROLLERS: Final = "kube-controller-manager"
SCHEDULER: Final = "kube-scheduler"
LATEST_SECONDS: Final = 600
RESTS_SHARE: Final = 0.1
"""Of a core: an agent that takes no more has nothing to do."""


@case(
    "kubernetes-rate",
    claim="At a Kubernetes whose controllers are away, 16 clients: jobs:batch of 100 reaches at least 0.8 of the rate of a plain script "
    "that creates suspended Jobs and releases them, single POSTs at least 0.35; a container's end is known soon; 2,000 jobs on 100 nodes "
    "of 8 GPUs are held and finished in little memory, and cost next to nothing while nothing happens",
    goal=f"ratios at least {BATCHED} and {SINGLE}; end at the API to succeeded p50 under {SOON_MILLISECONDS:.0f} ms; the agent under "
    f"{HELD_MIB} MiB, and under {QUIET_SHARE:.0%} of a core while it is quiet",
)
def kubernetes_rate(trial: Trial) -> Verdict:
    return on_cluster(trial, _kubernetes_rate, {"CARAVAN_LOG_LEVEL": "warning", "CARAVAN_LEASE_SECONDS": "15"})


async def _kubernetes_rate(trial: Trial, platform: Platform, cluster: Cluster, stage: Kubernetes) -> Verdict:
    nodes, many, rounds, ends, held, quiet = (100, 600, 3, 20, 2000, 30) if trial.long else (4, 16, 1, 2, 16, 1)
    await asyncio.to_thread(cluster.kwok, nodes)
    with stage.agents(platform, USUAL) as agents:
        started: list[int] = []
        market = await open_market(
            platform, cpus=100_000, memory_mib=100_000_000, deposit="100000000.00", adapter=stage.adapter,
            site_settings={**stage.settings, "images": [f"docker://{BUSYBOX}"]}, tenant=stage.tenant, queue_ahead=1_000_000,
            target={"node_selector": {FAKE: ""}, "tolerations": [{**TAINT, "operator": "Exists"}]},
            start_agent=lambda site: started.append(agents.start(site).pid),
        )  # fmt: skip
        (agent,) = started
        broker = await platform.broker(f"org/{market.organization}:member")
        waits = await _known(cluster, broker, market, ends)
        trial.say(f"end at the API to succeeded: p50 {median(waits) * 1000:.0f} ms")
        rates = await _rates(trial, cluster, stage, broker, market, agent, many, rounds)
        megabytes, share = await _many(trial, cluster, broker, market, agent, held, quiet)
    ratios = beside_direct(rates)
    soon = median(waits) * 1000
    fair = ratios["batch"] >= BATCHED and ratios["single"] >= SINGLE and soon < SOON_MILLISECONDS
    return Verdict(
        (fair and megabytes < HELD_MIB and share < QUIET_SHARE) or not trial.long,
        f"direct {max(rates['direct']):.0f}/s; batch {ratios['batch']:.2f}, single {ratios['single']:.2f} of it; end at the API to "
        f"succeeded p50 {soon:.0f} ms; {held} jobs held and finished in {megabytes:.0f} MiB, quiet {share:.2%} of a core",
        {"jobs a second": rates, "end at the API to succeeded, seconds": waits},
    )


def _spec(market: Market) -> JobSpec:
    resources = Resources(walltime_seconds=3600, memory_mib_per_node=64)
    container = Container(image=f"docker://{BUSYBOX}", command=("true",))
    return JobSpec(name="rate", project=market.project, container=container, resources=resources)


@asynccontextmanager
async def _api(cluster: Cluster) -> AsyncIterator[httpx.AsyncClient]:
    """As the agent comes to it."""
    trusted = ssl.create_default_context(cafile=cluster.authority)
    async with httpx.AsyncClient(
        base_url=cluster.url, headers=cluster.headers(AGENT), verify=trusted, timeout=60, trust_env=False
    ) as http:
        yield http


async def _known(cluster: Cluster, broker: BrokerClient, market: Market, count: int) -> list[float]:
    """Seconds from when a watch of our own showed a container's end until the platform had its job succeed, one job after another."""
    waits = []
    async with _api(cluster) as http:
        for _ in range(count):
            job = (await broker.submit_job(_spec(market))).id

            async def ended(job: str = job) -> datetime | None:
                events = (await broker.list_job_events(job, limit=200)).items
                return next((event.at for event in events if event.type == "job.succeeded"), None)

            shown = await _shown(http, job)
            at = await until(ended, "the job to succeed")
            waits.append((at - shown).total_seconds())
    return waits


async def _shown(http: httpx.AsyncClient, job: str) -> datetime:
    """When the API first shows that the container of the job has ended: its environment names the job."""
    async with http.stream("GET", "/api/v1/pods", params={"watch": "true", "labelSelector": SITE}) as lines:
        async for line in lines.aiter_lines():
            if job in line and any(
                "terminated" in one["state"]
                for one in json.loads(line)["object"]["status"].get("containerStatuses", ())
            ):
                return clock.now()
    raise RuntimeError(f"the watch ended before {job} did")


async def _rates(
    trial: Trial,
    cluster: Cluster,
    stage: Kubernetes,
    broker: BrokerClient,
    market: Market,
    agent: int,
    many: int,
    rounds: int,
) -> dict[str, list[float]]:
    """Jobs a second until all are released, of each way in turn. No controller takes a share of the machine meanwhile."""
    rates: dict[str, list[float]] = {"direct": [], "batch": [], "single": []}
    namespace = stage.tenant["namespace"]
    ways: dict[str, Callable[[], Awaitable[list[str]]]] = {
        "direct": lambda: _direct(cluster, namespace, many),
        "batch": lambda: in_batches(broker, _spec(market), many),
        "single": lambda: one_by_one(broker, _spec(market), many),
    }
    await asyncio.to_thread(cluster.stop, CONTROLLERS)
    for number in range(rounds):
        for name, send in ways.items():
            before = await _asked(cluster)
            rate, jobs = await _rate(cluster, namespace, send, many)
            rates[name].append(rate)
            released = await _asked(cluster)
            await _clear(cluster, namespace, broker, agent, jobs)
            ended = await _asked(cluster)
            trial.say(
                f"round {number}: {name} {rate:.0f} jobs/s; a job asks of the API server {_each(released - before, many)} to be released, "
                f"and {_each(ended - released, many)} to be cancelled and let go of"
            )
    await asyncio.to_thread(cluster.start, CONTROLLERS)
    return rates


async def _asked(cluster: Cluster) -> Counter[str]:
    """How often the API server was asked for what so far, by anybody: `POST jobs`."""
    trusted = ssl.create_default_context(cafile=cluster.authority)
    async with httpx.AsyncClient(
        base_url=cluster.url, headers=cluster.headers(), verify=trusted, timeout=60, trust_env=False
    ) as http:
        lines = (await http.get("/metrics")).text.splitlines()
    asked: Counter[str] = Counter()
    for line in lines:
        if line.startswith("apiserver_request_total{"):
            labels, count = line.rsplit("} ", 1)
            told = dict(re.findall(r'(\w+)="([^"]*)"', labels))
            asked[f"{told['verb']} {told['resource']}"] += round(float(count))
    return asked


def _each(asked: Counter[str], jobs: int) -> str:
    """Without what is asked now and then."""
    often = {what: count / jobs for what, count in asked.most_common() if count >= jobs / 10}
    return ", ".join(f"{count:.2f} {what}" for what, count in often.items()) or "nothing"


async def _rate(
    cluster: Cluster, namespace: str, send: Callable[[], Awaitable[list[str]]], count: int
) -> tuple[float, list[str]]:
    """Jobs a second from the first request until all of them are released, as a watch tells; and the broker's jobs among them."""
    async with _api(cluster) as http:
        released = asyncio.create_task(_released(http, namespace, count))
        began = clock.monotonic()
        jobs = await send()
        return count / (await asyncio.wait_for(released, LATEST_SECONDS) - began), jobs


async def _released(http: httpx.AsyncClient, namespace: str, count: int) -> float:
    """When so many Jobs were, on a clock that never jumps."""
    found: set[str] = set()
    async with http.stream("GET", "/apis/batch/v1/jobs", params={"watch": "true"}) as lines:
        async for line in lines.aiter_lines():
            event = json.loads(line)
            job = event["object"]
            if event["type"] == "MODIFIED" and job["metadata"]["namespace"] == namespace and not job["spec"]["suspend"]:
                found.add(job["metadata"]["uid"])
                if len(found) >= count:
                    return clock.monotonic()
    raise RuntimeError("the watch ended before all were released")


async def _clear(cluster: Cluster, namespace: str, broker: BrokerClient, agent: int, jobs: Sequence[str]) -> None:
    """Leave nothing for the next way to find."""
    await cancelled(broker, jobs)
    path = f"/apis/batch/v1/namespaces/{namespace}/jobs"
    await asyncio.to_thread(cluster.ask, "DELETE", path, {"propagationPolicy": "Background"})

    async def rests() -> bool:
        before = cpu_seconds(agent)
        await asyncio.sleep(1)
        return cpu_seconds(agent) - before < RESTS_SHARE

    await until(rests, "the agent to have let go of them", LATEST_SECONDS)


async def _direct(cluster: Cluster, namespace: str, count: int) -> list[str]:
    """What a centre's own script would do: a suspended Job, then its release, with 16 clients."""
    left = iter(range(count))
    resources = {"cpu": "1", "memory": "64Mi"}
    container = {
        "name": "task", "image": BUSYBOX, "command": ["true"], "resources": {"requests": resources, "limits": resources},
    }  # fmt: skip
    pod: dict[str, Any] = {
        "restartPolicy": "Never", "activeDeadlineSeconds": 3600, "nodeSelector": {FAKE: ""},
        "tolerations": [{**TAINT, "operator": "Exists"}], "containers": [container],
    }  # fmt: skip
    spec = {"suspend": True, "backoffLimit": 0, "template": {"spec": pod}}
    path = f"/apis/batch/v1/namespaces/{namespace}/jobs"
    content = json.dumps({"metadata": {"generateName": "direct-"}, "spec": spec}).encode()
    plain, merge = ({"Content-Type": f"application/{kind}json"} for kind in ("", "merge-patch+"))

    async def client() -> None:
        async with _api(cluster) as http:
            for _ in left:
                name = (await http.post(path, content=content, headers=plain)).json()["metadata"]["name"]
                release = b'{"spec": {"suspend": false}}'
                (await http.patch(f"{path}/{name}", content=release, headers=merge)).raise_for_status()

    await asyncio.gather(*(client() for _ in range(CLIENTS)))
    return []


async def _many(
    trial: Trial, cluster: Cluster, broker: BrokerClient, market: Market, agent: int, count: int, quiet: float
) -> tuple[float, float]:
    """The most memory that the agent had (MiB), and the share of a core that it took while all of them waited and nothing happened."""
    await asyncio.to_thread(cluster.stop, SCHEDULER)
    await in_batches(broker, _spec(market), count)

    await until(lambda: _there(cluster, count), f"{count} pods", LATEST_SECONDS)
    await asyncio.sleep(quiet / 4)
    before, began = cpu_seconds(agent), clock.monotonic()
    await asyncio.sleep(quiet)
    share = (cpu_seconds(agent) - before) / (clock.monotonic() - began)
    trial.say(f"{count} jobs are held, for {share:.2%} of a core")
    await asyncio.to_thread(cluster.start, SCHEDULER)
    await all_ended(broker)
    return _most_mib(agent), share


async def _there(cluster: Cluster, count: int) -> bool:
    pods = await asyncio.to_thread(cluster.ask, "GET", f"/api/v1/pods?labelSelector={SITE}")
    return len(pods["items"]) >= count


def _most_mib(pid: int) -> float:
    """The largest that a process ever was in memory (proc(5))."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / 1024
