"""How jobs end at a real cluster, and what it says of those that wait: by its kubelet, its scheduler, and who has rights there."""

from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import pytest

from caravan.contracts.dispatch import Submission
from caravan.contracts.jobs import Outcome
from caravan.contracts.offerings import Capacity
from caravan.contracts.spec import Container, Resources
from caravan.kernel import ids
from services.broker.adapters.kubernetes import acts
from services.broker.adapters.kubernetes.reference import Reference
from services.broker.adapters.kubernetes.rest import MERGE
from services.broker.adapters.port import NotSeen, Rejected, RunSeen, Seen, Unavailable
from tests.backends.kubernetes import Cluster
from tests.backends.kubernetes.configuration import GPU, H100
from tests.backends.kubernetes.image import BUSYBOX
from tests.backends.kubernetes.sidecars import injected
from tests.backends.kubernetes_site import namespace
from tests.contract.backends import HARNESSES, Harness, Site, eventually

pytestmark = pytest.mark.slow

MODEL = "acc_nvidia-h100"
LONG = "#!/bin/sh\necho begun\nexec sleep 600\n"
ODD = "".join(
    f"{odd}\n"
    for odd in ("$(HOME) $$ ${X}", "`x` 'y' \"z\" \\", "核时 🚀\t\x85\u2028", "\x01\x1b[1m", "  ", "%s {0} #")
)


@pytest.fixture
def harness(kubernetes: Cluster) -> Harness:
    """Of images that don't come it is known after three seconds."""
    made = HARNESSES["kubernetes"][0](Path("/"), lambda _: kubernetes)
    own = {"images": ["docker://caravan.test"], "pull_images": "if_missing"}
    settings = {**made.context.settings, **own, "image_seconds": 3}
    return replace(made, context=replace(made.context, settings=settings, accelerators={MODEL: f"{GPU}:{H100}"}))


@pytest.fixture
async def site(harness: Harness) -> AsyncIterator[Site]:
    async with harness.open() as backend:
        site = Site(harness, backend)
        yield site
        await site.clear()


def asked(site: Site, script: str | None = LONG, **changes: Any) -> Submission:
    """A submission with these fields changed; `resources` by what differs from one CPU, 256 MiB and a minute."""
    made = site.harness.submission(LONG)
    wanted = Resources.model_validate(
        {"walltime_seconds": 60, "memory_mib_per_node": 256} | changes.pop("resources", {})
    )
    grant = site.harness.adapter.grant(wanted, changes.get("target", {}), site.harness.context.settings)
    return made.model_copy(update={"script": script, "resources": wanted, "grant": grant} | changes)


async def start(site: Site, submission: Submission) -> str:
    reference = await site.backend.stage(submission)
    site.staged.append(reference)
    await site.backend.release(reference)
    return reference


async def alone(site: Site, reference: str) -> RunSeen:
    (run,) = (await site.ended(reference)).runs
    return run


async def waits(site: Site, reference: str, words: str) -> Seen:
    """Once it waits, and says why in these words."""

    async def look() -> Seen | None:
        seen = await site.seen(reference)
        return seen if words in seen.detail else None

    found = await eventually(look, f"{reference} says {words}", site.harness.deadline_seconds)
    assert isinstance(found, Seen) and found.queued
    return found


def pods(cluster: Cluster, reference: str) -> list[dict[str, Any]]:
    ours = Reference.parse(reference)
    assert ours is not None
    selector = f"labelSelector=batch.kubernetes.io/controller-uid={ours.uid}"
    found = cluster.ask("GET", f"/api/v1/namespaces/{ours.namespace}/pods?{selector}")["items"]
    assert isinstance(found, list)
    return found


def path(pod: dict[str, Any]) -> str:
    return f"/api/v1/namespaces/{pod['metadata']['namespace']}/pods/{pod['metadata']['name']}"


def begun(cluster: Cluster, reference: str) -> bool:
    (pod,) = pods(cluster, reference)
    return any(one.pod_uid == pod["metadata"]["uid"] for one in cluster.containers())


def job(reference: str) -> str:
    ours = Reference.parse(reference)
    assert ours is not None
    return f"/apis/batch/v1/namespaces/{ours.namespace}/jobs/{ours.name}"


async def test_more_memory_than_was_asked_for_ends_a_task(site: Site) -> None:
    greedy = '#!/bin/sh\nx=$(head -c 200000000 /dev/zero | tr "\\0" x)\necho "${#x}"\nexec sleep 600\n'
    run = await alone(site, await start(site, asked(site, greedy, resources={"memory_mib_per_node": 32})))
    assert (run.outcome, run.exit_code) == (Outcome.LIMIT, None)
    assert "memory" in run.detail


async def test_more_disk_than_a_pod_may_write_ends_a_task(site: Site, kubernetes: Cluster) -> None:
    settings = {**site.harness.context.settings, "disk_mib": 16}
    small = replace(site.harness, context=replace(site.harness.context, settings=settings))
    async with small.open() as backend:
        another = Site(small, backend)
        filling = "#!/bin/sh\necho begun\nhead -c 33554432 /dev/zero >/tmp/full\nexec sleep 600\n"
        reference = await start(another, asked(another, filling, resources={"walltime_seconds": 300}))
        run = await alone(another, reference)
    (pod,) = pods(kubernetes, reference)
    assert pod["status"]["reason"] == "Evicted"
    assert (run.outcome, run.exit_code) == (Outcome.LIMIT, None)
    assert "disk: more was used than is allowed" in run.detail and "16Mi" in run.detail
    assert run.spans


async def test_an_image_that_does_not_come_ends_a_task_with_the_words_of_the_kubelet(site: Site) -> None:
    missing = "caravan.test/missing:1"
    scripted = await start(site, asked(site, target={"image": missing}))
    own = await start(site, asked(site, script=None, container=Container(image=f"docker://{missing}")))
    await waits(site, scripted, "its image can't be pulled")
    ends = [await alone(site, scripted), await alone(site, own)]
    assert [(run.outcome, run.spans) for run in ends] == [(Outcome.SITE, ()), (Outcome.USER, ())]
    assert all("missing" in run.detail for run in ends)


async def test_an_image_that_a_node_has_is_no_tenants_whom_its_registry_does_not_give_it(site: Site) -> None:
    settings = {**site.harness.context.settings, "pull_images": "always"}
    strict = replace(site.harness, context=replace(site.harness.context, settings=settings))
    async with strict.open() as backend:
        another = Site(strict, backend)
        own = asked(another, script=None, container=Container(image=f"docker://{BUSYBOX}", command=("true",)))
        run = await alone(another, await start(another, own))
        await another.clear()
    assert (run.outcome, run.spans) == (Outcome.USER, ())
    assert "its image can't be pulled" in run.detail


async def test_a_command_that_is_not_in_its_image_never_starts(site: Site) -> None:
    wrong = Container(image=f"docker://{BUSYBOX}", command=("/no/such/program",))
    run = await alone(site, await start(site, asked(site, script=None, container=wrong)))
    assert (run.outcome, run.exit_code, run.spans) == (Outcome.USER, 128, ())
    assert "no such file" in run.detail
    assert run.started_at.year > 2000


async def test_words_variables_and_scripts_arrive_byte_by_byte(site: Site) -> None:
    words = ODD.splitlines()
    program = Container(
        image=f"docker://{BUSYBOX}", command=("sh", "-c", 'printf "%s\\n" "$@" "$TRIED"', "sh"), args=tuple(words)
    )
    reference = await start(site, asked(site, script=None, container=program, environment={"TRIED": ODD}))
    assert (await alone(site, reference)).outcome is Outcome.SUCCEEDED
    assert await site.text(reference) == "".join(f"{word}\n" for word in words) + ODD + "\n"
    script = f"#!/bin/sh\ncat <<'THE END'\n{ODD}THE END\n"
    reference = await start(site, asked(site, script))
    await site.ended(reference)
    assert await site.text(reference) == ODD


async def test_a_megabyte_of_output_is_read_by_parts(site: Site) -> None:
    """Of what is written in a container's last moment containerd 1.6.20 may lose up to 64 KiB for good, so it ends a moment later."""
    line = "0123456789abcde"
    reference = await start(site, asked(site, f"#!/bin/sh\nyes {line} | head -n 65536\nsleep 1\n"))
    await site.ended(reference)
    read, said = site.backend.read_log, b""
    for _ in range(4):
        part = await read(reference, 0, "stdout", len(said), 300_000)
        said += part.data
    assert part.complete
    assert said == f"{line}\n".encode() * 65536
    assert (await read(reference, 0, "stdout", -32, 100)).data == f"{line}\n".encode() * 2


async def test_a_log_is_followed_while_it_is_written(site: Site, kubernetes: Cluster) -> None:
    reference = await start(site, asked(site, "#!/bin/sh\nfor n in $(seq 40); do echo $n; sleep 0.1; done\n"))
    await site.has_said(reference, "1\n")
    said, sizes = b"", set()
    while True:
        part = await site.backend.read_log(reference, 0, "stdout", len(said), 1000)
        said += part.data
        sizes.add(len(said))
        if part.complete:
            break
    assert said == b"".join(b"%d\n" % n for n in range(1, 41))
    assert len(sizes) > 10


async def test_what_was_cancelled_leaves_its_output_and_so_does_what_others_delete(
    site: Site, kubernetes: Cluster
) -> None:
    """What it says as it's told to end, too, if it doesn't end at once: see the test of a megabyte."""
    script = "#!/bin/sh\ntrap 'echo told; sleep 0.5; exit 0' TERM\necho begun\nwhile :; do sleep 0.1; done\n"
    ours, others = await start(site, asked(site, script)), await start(site, asked(site, script))
    for reference in (ours, others):
        await site.running(reference)
    await site.has_said(ours, "begun")
    await eventually(lambda: begun(kubernetes, others), "it has begun")
    await site.backend.cancel(ours)
    (pod,) = pods(kubernetes, others)
    kubernetes.ask("DELETE", path(pod))
    for reference in (ours, others):
        await site.ended(reference)
        text = await site.text(reference)
        # of the two streams either may come first
        assert sorted(text.splitlines()) in (["begun", "told"], ["Terminated", "begun", "told"])


async def test_output_is_there_when_nothing_is_left_at_the_cluster(
    site: Site, kubernetes: Cluster, tmp_path: Path
) -> None:
    context = replace(
        site.harness.context, output=tmp_path, settings={**site.harness.context.settings, "keep_jobs_seconds": 1}
    )
    keeping = replace(site.harness, context=context)
    async with keeping.open() as backend:
        reference = await start(Site(keeping, backend), asked(site, "#!/bin/sh\necho kept\n"))
        await Site(keeping, backend).ended(reference)
        await backend.forget(reference)
    await eventually(lambda: pods(kubernetes, reference) == [], "nothing of it is left", 60)
    async with keeping.open() as backend:
        assert (await backend.read_log(reference, 0, "stdout", 0, 100)).data == b"kept\n"


def mesh(script: str) -> dict[str, Any]:
    """A container that is put beside a task's."""
    return {
        "name": "a-mesh", "image": BUSYBOX, "command": ["sh", "-c", script],
        "resources": {"requests": {"cpu": "10m", "memory": "8Mi"}},
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }  # fmt: skip


async def test_what_a_container_beside_it_makes_of_its_pods_time_is_no_limit_that_a_task_has_reached(
    site: Site, kubernetes: Cluster
) -> None:
    space = namespace(kubernetes, f"mesh-{ids.new('own')[-6:]}")
    short = {"tenant_settings": {"namespace": space}, "resources": {"walltime_seconds": 10, "memory_mib_per_node": 64}}
    with injected(kubernetes, space, mesh("exec sleep 600")):
        scripts = ("exit 0", "exit 7", "exec sleep 600")
        started = [await start(site, asked(site, f"#!/bin/sh\n{script}\n", **short)) for script in scripts]
        runs = [await alone(site, reference) for reference in started]
    told = [pod["status"].get("reason") for reference in started for pod in pods(kubernetes, reference)]
    assert told == ["DeadlineExceeded"] * 3
    ends = [(Outcome.SUCCEEDED, 0), (Outcome.USER, 7), (Outcome.LIMIT, None)]
    assert [(run.outcome, run.exit_code) for run in runs] == ends


async def test_of_a_container_that_the_cluster_has_put_beside_it_nothing_is_a_tasks(
    site: Site, kubernetes: Cluster
) -> None:
    space = namespace(kubernetes, f"mesh-{ids.new('own')[-6:]}")
    with injected(kubernetes, space, mesh("echo the mesh; sleep 6")):
        task = "#!/bin/sh\necho the task\nsleep 2\nexit 7\n"
        reference = await start(site, asked(site, task, tenant_settings={"namespace": space}))
        run = await alone(site, reference)
    (pod,) = pods(kubernetes, reference)
    assert [one["name"] for one in pod["spec"]["containers"]] == ["a-mesh", "task"]
    told = {one["name"]: one["state"]["terminated"] for one in pod["status"]["containerStatuses"]}
    assert (run.outcome, run.exit_code) == (Outcome.USER, 7)
    assert await site.text(reference) == "the task\n"
    (span,) = run.spans
    assert (span.cpus, span.memory_mib) == (1, 256)
    seconds = [f"{moment:%Y-%m-%dT%H:%M:%SZ}" for moment in (span.start, span.end)]
    assert seconds == [told["task"]["startedAt"], told["task"]["finishedAt"]]
    assert told["task"]["finishedAt"] < told["a-mesh"]["finishedAt"]


async def test_accelerators_are_allocated_on_nodes_of_their_model_and_metered_by_it(site: Site) -> None:
    two = {"accelerators_per_node": 2, "accelerator": MODEL, "cpus_per_task": 1, "memory_mib_per_node": 100}
    reference = await start(site, asked(site, "#!/bin/sh\nsleep 2\n", resources=two))
    run = await alone(site, reference)
    (span,) = run.spans
    assert (span.accelerators, span.accelerator, span.cpus, span.memory_mib) == (2, MODEL, 1, 100)
    (part,) = await site.backend.inventory()
    assert (part.accelerator_backend_name, part.accelerators_per_node) == (f"{GPU}:{H100}", 8)


async def test_what_finds_no_room_waits_with_the_schedulers_words(site: Site) -> None:
    all_of_them = {"accelerators_per_node": 8, "accelerator": MODEL}
    first = await start(site, asked(site, resources=all_of_them))
    await site.running(first)
    second = await start(site, asked(site, resources=all_of_them))
    await waits(site, second, f"waiting for free resources (0/1 nodes are available: 1 Insufficient {GPU}")
    await site.backend.cancel(second)
    assert (await site.ended(second)).runs == ()
    await site.backend.cancel(first)
    assert (await alone(site, first)).outcome is Outcome.CANCELLED


async def test_a_quota_that_is_reached_is_said_to_be(site: Site, kubernetes: Cluster) -> None:
    small = namespace(kubernetes, f"small-{ids.new('own')[-6:]}")
    quota = {"metadata": {"name": "few"}, "spec": {"hard": {"pods": "0"}}}
    kubernetes.ask("POST", f"/api/v1/namespaces/{small}/resourcequotas", quota)
    await eventually(
        lambda: kubernetes.ask("GET", f"/api/v1/namespaces/{small}/resourcequotas/few").get("status", {}).get("hard"),
        "it counts",
    )
    reference = await start(site, asked(site, tenant_settings={"namespace": small}))
    await waits(site, reference, "the namespace's quota is reached (Error creating: pods")


async def test_what_the_namespace_can_never_have_is_rejected(site: Site, kubernetes: Cluster) -> None:
    small = namespace(kubernetes, f"small-{ids.new('own')[-6:]}")
    most = {"limits": [{"type": "Container", "max": {"memory": "300Mi"}}]}
    for kind, spec in (("limitranges", most), ("resourcequotas", {"hard": {"requests.cpu": "1"}})):
        kubernetes.ask("POST", f"/api/v1/namespaces/{small}/{kind}", {"metadata": {"name": "few"}, "spec": spec})
    space = {"namespace": small}
    with pytest.raises(Rejected, match="at most 300Mi of memory in the tenant's namespace: 301Mi"):
        await site.backend.stage(asked(site, tenant_settings=space, resources={"memory_mib_per_node": 301}))
    with pytest.raises(Rejected, match="may have 1 of cpu: 2"):
        await site.backend.stage(asked(site, tenant_settings=space, resources={"cpus_per_task": 2}))
    run = await alone(site, await start(site, asked(site, "#!/bin/sh\nexit 0\n", tenant_settings=space)))
    assert run.outcome is Outcome.SUCCEEDED


async def test_what_pods_asked_for_is_not_free(site: Site) -> None:
    async def free() -> Capacity:
        (part,) = [part for part in await site.backend.inventory() if not part.target]
        assert part.free is not None
        return part.free

    before = await free()
    three = {"accelerators_per_node": 3, "accelerator": MODEL, "memory_mib_per_node": 100}
    reference = await start(site, asked(site, resources=three))
    await site.running(reference)
    assert await free() == Capacity(
        cpus=before.cpus - 1, memory_mib=before.memory_mib - 100, accelerators=before.accelerators - 3
    )
    await site.backend.cancel(reference)
    await site.ended(reference)
    assert await free() == before


async def test_a_namespace_that_the_centre_has_not_opened_is_rejected(site: Site) -> None:
    with pytest.raises(Rejected, match="may make no Jobs in the tenant's namespace nowhere"):
        await site.backend.stage(asked(site, tenant_settings={"namespace": "nowhere"}))


@pytest.mark.parametrize("what", ["its pod", "its Job", "its pod, by force"])
async def test_what_others_delete_ends_and_its_record_is_kept_until_it_was_read(
    site: Site, kubernetes: Cluster, what: str
) -> None:
    """No agent is there while it happens: a new one comes later."""
    reference = await start(site, asked(site))
    (before,) = (await site.running(reference)).runs
    (pod,) = pods(kubernetes, reference)
    site.staged.clear()
    later = replace(site.harness, context=site.harness.context)
    if what == "its Job":
        kubernetes.ask("DELETE", f"{job(reference)}?propagationPolicy=Background")
    else:
        kubernetes.ask("DELETE", path(pod) + ("?gracePeriodSeconds=0" if "force" in what else ""))
    await eventually(
        lambda: "terminated" in kubernetes.ask("GET", path(pod))["status"]["containerStatuses"][0]["state"],
        "it has ended",
    )
    async with later.open() as backend:
        another = Site(later, backend)
        run = await alone(another, reference)
        assert (run.identity, run.outcome, run.started_at) == (before.identity, Outcome.CANCELLED, before.started_at)
        assert run.spans or run.ended_at == run.started_at
        await backend.forget(reference)
        assert isinstance((await backend.observe([reference]))[reference], NotSeen)
    await eventually(lambda: pods(kubernetes, reference) == [], "nothing of it is left")


async def test_a_cancel_ends_what_a_deleted_job_has_left_to_run_on(site: Site, kubernetes: Cluster) -> None:
    """So `kubectl delete --cascade=orphan` leaves them, and a plain DELETE."""
    reference = await start(site, asked(site))
    await site.running(reference)
    kubernetes.ask("DELETE", job(reference))
    await site.backend.cancel(reference)
    run = await alone(site, reference)
    assert (run.outcome, run.exit_code, run.detail) == (Outcome.CANCELLED, None, "cancelled")
    (pod,) = pods(kubernetes, reference)
    (container,) = [one for one in kubernetes.containers() if one.pod_uid == pod["metadata"]["uid"]]
    assert container.ended is not None


def deleted(cluster: Cluster, name: str) -> Callable[[], bool]:
    """Delete a namespace. What comes back says whether it is gone."""
    cluster.ask("DELETE", f"/api/v1/namespaces/{name}")

    def gone() -> bool:
        try:
            cluster.ask("GET", f"/api/v1/namespaces/{name}")
        except HTTPError as error:
            return error.code == 404
        return False

    return gone


async def test_a_namespace_is_gone_once_its_last_run_was_read(site: Site, kubernetes: Cluster) -> None:
    name = namespace(kubernetes, f"short-{ids.new('own')[-6:]}")
    reference = await start(site, asked(site, tenant_settings={"namespace": name}))
    await site.running(reference)
    gone = deleted(kubernetes, name)
    assert (await alone(site, reference)).outcome is Outcome.CANCELLED
    await site.backend.forget(reference)
    await eventually(gone, "the namespace is gone", 60)


async def test_a_namespace_whose_rights_went_first_goes_once_the_centre_lets_go_of_its_pods(
    site: Site, kubernetes: Cluster
) -> None:
    """As the guide says it. Before 1.33 Kubernetes itself may begin with the rights."""
    name = namespace(kubernetes, f"hung-{ids.new('own')[-6:]}")
    other = await start(site, asked(site))
    reference = await start(site, asked(site, tenant_settings={"namespace": name}))
    await site.running(reference)
    kubernetes.ask("DELETE", f"/apis/rbac.authorization.k8s.io/v1/namespaces/{name}/rolebindings/caravan-tenant")
    gone = deleted(kubernetes, name)
    run = await alone(site, reference)
    assert run.outcome is Outcome.CANCELLED and run.final
    with pytest.raises(Unavailable, match="cannot patch"):
        await site.backend.forget(reference)
    await site.running(other)
    (pod,) = pods(kubernetes, reference)
    remove = [{"op": "remove", "path": "/metadata/finalizers"}]
    kubernetes.ask("PATCH", path(pod), remove, "application/json-patch+json")
    await eventually(gone, "the namespace is gone", 60)
    await site.backend.forget(reference)


async def test_a_tenant_that_left_while_nobody_looked_keeps_no_other_from_being_seen(
    site: Site, kubernetes: Cluster
) -> None:
    """Our rights in its namespace went with it."""
    name = namespace(kubernetes, f"left-{ids.new('own')[-6:]}")
    other = await start(site, asked(site))
    async with site.harness.open() as before:
        left = await before.stage(asked(site, tenant_settings={"namespace": name}))
    await eventually(deleted(kubernetes, name), "the namespace is gone", 60)
    async with site.harness.open() as backend:
        seen = await backend.observe([left, other])
        assert isinstance(seen[other], Seen)
        assert seen[left] == NotSeen(True, "the cluster has no such Job, and no pods of it")
        await backend.cancel(left)
        await backend.discard(left)
    async with site.harness.open() as backend:
        await backend.forget(left)


async def test_what_was_forgotten_is_left_to_kubernetes_to_remove(site: Site, kubernetes: Cluster) -> None:
    settings = {**site.harness.context.settings, "keep_output_seconds": 1, "keep_jobs_seconds": 1}
    quick = replace(site.harness, context=replace(site.harness.context, settings=settings))
    async with quick.open() as backend:
        another = Site(quick, backend)
        reference = await start(another, asked(another, "#!/bin/sh\necho kept\n"))
        await another.ended(reference)
        await backend.forget(reference)
    ours = Reference.parse(reference)
    assert ours is not None

    def left() -> list[str]:
        kinds = ("/apis/batch/v1/namespaces/{}/jobs", "/api/v1/namespaces/{}/pods", "/api/v1/namespaces/{}/configmaps")
        found = [kubernetes.ask("GET", kind.format(ours.namespace))["items"] for kind in kinds]
        return [item["metadata"]["name"] for items in found for item in items if ours.name in item["metadata"]["name"]]

    await eventually(lambda: left() == [], "nothing of it is left", 60)


async def test_who_wrote_what_of_a_released_job_is_not_kept_and_releasing_it_once_more_writes_nothing(
    site: Site, kubernetes: Cluster
) -> None:
    reference = await start(site, asked(site, "#!/bin/sh\ntrue\n"))
    await alone(site, reference)
    ours = Reference.parse(reference)
    assert ours is not None
    path = f"/apis/batch/v1/namespaces/{ours.namespace}/jobs/{ours.name}"
    before = kubernetes.ask("GET", path)["metadata"]
    after = kubernetes.ask("PATCH", path, acts.release(ours, ""), MERGE)["metadata"]
    assert "managedFields" not in before
    assert after["resourceVersion"] == before["resourceVersion"]


async def test_a_task_that_ends_by_itself_when_it_is_told_to_was_cancelled_all_the_same(site: Site) -> None:
    reference = await start(
        site, asked(site, "#!/bin/sh\ntrap 'echo told; exit 9' TERM\necho begun\nwhile :; do sleep 0.1; done\n")
    )
    await site.has_said(reference, "begun")
    await site.backend.cancel(reference)
    run = await alone(site, reference)
    assert (run.outcome, run.exit_code) == (Outcome.CANCELLED, None)


async def test_one_failing_task_of_an_array_ends_no_other(site: Site, kubernetes: Cluster) -> None:
    script = '#!/bin/sh\ntest "$CARAVAN_ARRAY_INDEX" = 7 && exit 4\nexit 0\n'
    reference = await site.start(script, indices=(5, 7, 8, 9), max_parallel=2)
    runs = (await site.ended(reference)).runs
    assert [(run.index, run.exit_code) for run in runs] == [(5, 0), (7, 4), (8, 0), (9, 0)]
    assert len(pods(kubernetes, reference)) == 4


async def test_a_pod_has_no_token_of_the_clusters(site: Site) -> None:
    reference = await start(site, asked(site, "#!/bin/sh\nls /var/run/secrets/kubernetes.io 2>&1; id -u\n"))
    await site.ended(reference)
    text = await site.text(reference)
    assert "No such file" in text
    assert text.endswith("65534\n")


async def test_who_suspends_a_job_and_resumes_it_gives_its_task_a_second_run(site: Site, kubernetes: Cluster) -> None:
    reference = await start(site, asked(site))
    (first,) = (await site.running(reference)).runs
    patch: Callable[[bool], Any] = lambda suspend: kubernetes.ask(  # noqa: E731
        "PATCH", job(reference), {"spec": {"suspend": suspend}}, "application/merge-patch+json"
    )
    patch(True)
    await waits(site, reference, "suspended by the centre")
    await site.backend.release(reference)
    assert kubernetes.ask("GET", job(reference))["spec"]["suspend"]
    patch(False)

    async def look() -> Seen | None:
        seen = await site.seen(reference)
        return seen if len(seen.runs) == 2 and seen.runs[1].ended_at is None else None

    seen = await eventually(look, "it runs again", 60)
    assert [run.index for run in seen.runs] == [0, 0]
    assert seen.runs[0].identity == first.identity
    assert seen.runs[0].outcome is Outcome.CANCELLED
