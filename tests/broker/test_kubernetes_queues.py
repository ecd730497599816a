"""Kueue at a Kubernetes site: what is its own of a Job, what it says of one that waits, and what it took back."""

import asyncio
from typing import Any

import pytest

from caravan.contracts.jobs import Outcome
from services.broker.adapters.kubernetes import acts, adapter, manifest, queues, records
from services.broker.adapters.kubernetes.devices import Devices
from services.broker.adapters.kubernetes.queues import Workload
from services.broker.adapters.kubernetes.reference import QUEUE, WANTED, Reference
from services.broker.adapters.kubernetes.settings import Settings, Tenant
from services.broker.adapters.kubernetes.submissions import Submissions
from services.broker.adapters.port import Rejected, Seen
from tests.broker.kubernetes_answers import (
    CREATED,
    ENDED,
    MARK,
    OURS,
    SITE_SETTINGS,
    ended,
    job,
    pod,
    running,
    submission,
    workload,
)
from tests.broker.kubernetes_double import ApiServer, opened, status
from tests.support import until

REFERENCE = str(OURS)
DEVICES = Devices({}, {}, {})


def queued(**how: Any) -> dict[str, Any]:
    return job(labels={QUEUE: "here"}, **how)


def killed(uid: str = "pod-1", **how: Any) -> dict[str, Any]:
    """A pod that was deleted while it ran."""
    return pod(ended(137), uid=uid, deleted=ENDED + 1, **how)


def kueues(**how: Any) -> Workload:
    found = queues.workload(workload(**how))
    assert found is not None
    return found


def look(*pods: dict[str, Any], of: dict[str, Any], said: dict[str, Any] | None = None, gone: bool = False) -> Seen:
    found = Submissions()
    found.take_job(records.job(of), gone=gone)
    if said is not None:
        found.take_workload(kueues(**said))
    for one in pods:
        found.take_pod(records.pod(one))
    return seen(found)


def seen(found: Submissions) -> Seen:
    shown = found.of(OURS).seen(OURS, ENDED + 100, DEVICES, 30)
    assert isinstance(shown, Seen)
    return shown


@pytest.mark.parametrize(
    ("site", "target", "queue"), [({"queue": "here"}, {}, "here"), ({"queue": "here"}, {"queue": "fast"}, "fast"), ({}, {}, None)]
)  # fmt: skip
def test_a_staged_job_names_its_queue_where_kueue_does_not_look(
    site: dict[str, str], target: dict[str, str], queue: str | None
) -> None:
    asked = submission().model_copy(update={"target": target})
    settings, tenant = Settings.model_validate(SITE_SETTINGS | site), Tenant.model_validate(asked.tenant_settings)
    metadata = manifest.job(asked, "0a1b2c3d", MARK, settings, tenant, DEVICES)["metadata"]
    assert (metadata["annotations"].get(WANTED), metadata["labels"].get(QUEUE)) == (queue, None)


def test_an_offering_names_no_queue_of_a_site_without_one() -> None:
    resources, target = submission().resources, {"queue": "fast"}
    with pytest.raises(Rejected, match="has Kueue"):
        adapter.grant(resources, target, SITE_SETTINGS)
    assert adapter.grant(resources, target, SITE_SETTINGS | {"queue": "here"}).cpus == 1


def test_a_release_gives_the_job_to_its_queue_and_leaves_alone_what_is_kueues() -> None:
    patch = acts.release(OURS, "here")
    assert patch["metadata"]["labels"][QUEUE] == "here"
    assert "spec" not in patch
    assert acts.release(OURS, "")["spec"] == {"suspend": False}


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({}, "在站点队列中等待配额 waiting in the site's queue for quota (insufficient unused quota for cpu in flavor "
         "plain, 1 more needed)"),
        ({"quota": None}, "在站点队列中等待配额 waiting in the site's queue for quota"),
        ({"quota": ("True", "")}, "等待站点队列的准入检查 waiting for the admission checks of the site's queue"),
        ({"quota": ("True", ""), "admitted": True}, "正在启动 starting"),
        ({"evicted": "Preempted", "quota": ("False", "1 more needed")},
         "被其他作业抢占，已重新排队 preempted by another job, and in the site's queue again (1 more needed)"),
        ({"evicted": "PodsReadyTimeout", "quota": ("False", "")},
         "被站点队列收回，已重新排队 taken back by the site's queue, and in it again"),
        ({"active": False, "evicted": "Deactivated"}, "被站点队列搁置 put aside by the site's queue"),
    ],
)  # fmt: skip
def test_why_a_queue_lets_a_job_wait_is_said_in_both_languages(how: dict[str, Any], words: str) -> None:
    shown = look(of=queued(suspended=True), said=how)
    assert (shown.detail, shown.queued, shown.runs) == (words, True, ())


def test_a_job_that_kueue_has_not_looked_at_yet_is_not_said_to_be_suspended() -> None:
    assert look(of=queued(suspended=True)).detail == "在站点队列中等待配额 waiting in the site's queue for quota"
    assert "suspended by the centre" in look(of=job(suspended=True)).detail


def test_who_is_preempted_ends_as_that_and_its_next_pod_is_another_run() -> None:
    waits = look(killed(), of=queued(suspended=True), said={"evicted": "Preempted", "past": ("Preempted",)})
    (first,) = waits.runs
    assert (first.outcome, first.exit_code, first.detail) == (Outcome.PREEMPTED, None, "preempted by another job")
    assert waits.queued and "preempted" in waits.detail
    again = look(
        killed(),
        pod(running(), uid="pod-2", created=ENDED + 1),
        of=queued(),
        said={"quota": ("True", ""), "admitted": True, "past": ("Preempted",)},
    )
    assert again.runs[0] == first
    assert [(run.identity, run.outcome) for run in again.runs] == [("pod-1", Outcome.PREEMPTED), ("pod-2", None)]


async def test_a_new_agent_says_nothing_of_who_was_preempted_before_it_knows_what_kueue_did() -> None:
    server = ApiServer()
    server.put("jobs", queued())
    server.put("pods", killed())
    another = pod(running(), uid="pod-2", created=ENDED + 1)
    another["metadata"]["name"] += "-again"
    server.put("pods", another)
    server.put("workloads", workload(quota=("True", ""), admitted=True, past=("Preempted",)))
    server.answers["GET workloads"] = status(503, "starting")

    async def refused() -> bool:
        return "GET workloads" in server.asked

    async with opened(server, queue="here") as backend:
        asked = asyncio.create_task(backend.observe([REFERENCE]))
        await until(refused)
        await asyncio.wait({asked}, timeout=0.1)
        del server.answers["GET workloads"]
        seen = (await asked)[REFERENCE]
    assert isinstance(seen, Seen)
    assert [run.outcome for run in seen.runs] == [Outcome.PREEMPTED, None]


def test_what_was_taken_back_stands_for_no_pod_that_a_finished_job_speaks_of() -> None:
    found = Submissions()
    found.take_job(records.job(queued(finished="Complete", status={"succeeded": 1})))
    found.take_pod(records.pod(killed()))
    known = found.of(OURS)
    assert known.wants_pods and not known.complete


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (None, "taken back by the site's queue"),
        ({"past": ("PodsReadyTimeout",)}, "taken back by the site's queue: its pods weren't ready in time"),
        ({"past": ("Preempted", "New")}, "taken back by the site's queue: New; or preempted by another job"),
        ({"past": ("ClusterQueueStopped", "LocalQueueStopped")}, "taken back by the site's queue, which the centre has stopped"),
    ],
)  # fmt: skip
def test_why_a_queue_took_a_job_back_is_said_as_far_as_it_tells(said: dict[str, Any] | None, words: str) -> None:
    (run,) = look(killed(), of=queued(suspended=True), said=said).runs
    assert (run.outcome, run.detail) == (Outcome.SITE, words)


def test_what_is_cancelled_or_deleted_at_a_queue_is_not_preempted() -> None:
    past = {"quota": ("True", ""), "admitted": True, "past": ("Preempted",)}
    last = killed("pod-2", created=ENDED + 1)
    shown = look(killed(), last, of=queued(), said=past, gone=True)
    assert [run.outcome for run in shown.runs] == [Outcome.PREEMPTED, Outcome.CANCELLED]
    (run,) = look(killed(), of=queued(), said=past).runs
    assert run.outcome is Outcome.CANCELLED


def test_nodes_of_one_task_are_taken_back_together_and_start_anew_together() -> None:
    first = [killed(f"pod-{rank}", place=rank, nodes=2, created=CREATED + rank) for rank in range(2)]
    waits = look(*first, of=queued(suspended=True), said={"evicted": "Preempted", "past": ("Preempted",)})
    (run,) = waits.runs
    assert (run.outcome, run.detail) == (Outcome.PREEMPTED, "node 0: preempted by another job")
    assert waits.queued and not waits.ended
    again = [pod(running(), uid=f"again-{rank}", place=rank, nodes=2, created=ENDED + 1) for rank in range(2)]
    shown = look(*first, *again, of=queued(), said={"quota": ("True", ""), "admitted": True, "past": ("Preempted",)})
    assert [run.outcome for run in shown.runs] == [Outcome.PREEMPTED, None]


def test_nodes_made_one_after_another_and_then_cancelled_were_not_taken_back() -> None:
    pods = [killed(f"pod-{rank}", place=rank, nodes=2, created=CREATED + rank) for rank in range(2)]
    (run,) = look(*pods, of=queued(), said={"quota": ("True", ""), "admitted": True}, gone=True).runs
    assert run.outcome is Outcome.CANCELLED


def test_what_the_centre_suspends_without_a_queue_is_not_preempted() -> None:
    (run,) = look(killed(), of=job(suspended=True)).runs
    assert (run.outcome, run.detail) == (Outcome.CANCELLED, "its pod was deleted")


def test_what_ended_by_itself_was_not_taken_back() -> None:
    runs = look(
        pod(ended(5)), pod(ended(0), uid="pod-2", place=1, indices="0-1", deleted=ENDED + 1), of=queued(suspended=True)
    ).runs
    assert [(run.outcome, run.exit_code) for run in runs] == [(Outcome.USER, 5), (Outcome.SUCCEEDED, 0)]


def test_what_was_taken_back_before_it_ran_has_not_run() -> None:
    shown = look(pod(deleted=ENDED, node=""), of=queued(suspended=True), said={"evicted": "Preempted"})
    assert shown.runs == ()


def test_what_kueue_says_may_come_before_its_job_and_outlives_its_workload() -> None:
    found = Submissions()
    found.take_workload(kueues(past=("Preempted",)))
    found.take_job(records.job(queued(suspended=True)))
    found.take_pod(records.pod(killed()))
    assert "1 more needed" in seen(found).detail
    assert found.changed() == [REFERENCE]
    found.take_workload(kueues(version=31, past=("Preempted",)))
    assert found.changed() == []
    found.take_workload(kueues(version=32, quota=("True", ""), past=("Preempted",)))
    assert found.changed() == [REFERENCE]
    found.take_workload(kueues(version=31))
    assert "admission checks" in seen(found).detail
    found.take_workload(kueues(version=33, past=("Preempted",)), gone=True)
    assert [run.detail for run in seen(found).runs] == ["preempted by another job"]


def test_workloads_that_went_before_their_jobs_were_heard_of_are_forgotten() -> None:
    for goes in (True, False):
        found = Submissions()
        found.take_workload(kueues())
        if goes:
            found.take_workload(kueues(version=31), gone=True)
        else:
            found.keep_workloads((), 31)
        found.take_job(records.job(queued(suspended=True)))
        assert "more needed" not in seen(found).detail
    found = Submissions()
    found.take_workload(kueues())
    found.keep_workloads((), 29)
    found.keep_workloads(("workload-1",), 31)
    found.take_job(records.job(queued(suspended=True)))
    assert "more needed" in seen(found).detail


def test_workloads_of_others_are_left_alone() -> None:
    assert queues.workload(workload(name="somebody-elses")) is None
    theirs = workload()
    del theirs["metadata"]["ownerReferences"]
    assert queues.workload(theirs) is None


async def test_a_site_with_a_queue_watches_it_and_releases_into_it() -> None:
    server = ApiServer()
    async with opened(server, queue="here") as backend:
        reference = await backend.stage(submission())
        ours = Reference.parse(reference)
        assert ours is not None
        assert QUEUE not in server.objects["jobs"][ours.name]["metadata"]["labels"]
        server.put("workloads", workload(name=ours.name))
    async with opened(server, queue="here") as another:
        await another.release(reference)
        there = server.objects["jobs"][ours.name]
        assert (there["metadata"]["labels"][QUEUE], there["spec"]["suspend"]) == ("here", True)

        async def told() -> bool:
            found = (await another.observe([reference]))[reference]
            return isinstance(found, Seen) and "1 more needed" in found.detail

        await until(told)


async def test_a_namespace_whose_queue_takes_what_is_staged_is_refused_before_anything_is_staged() -> None:
    server = ApiServer()
    server.default_queue = True
    async with opened(server) as backend:
        with pytest.raises(Rejected, match="named `default`"):
            await backend.stage(submission())
        assert "jobs" not in {kind for _, kind, _ in server.history}


async def test_what_such_a_queue_took_once_the_namespace_had_been_tried_is_deleted_again() -> None:
    server = ApiServer()
    async with opened(server) as backend:
        await backend.stage(submission())
        server.objects["jobs"].clear()
        server.default_queue = True
        with pytest.raises(Rejected, match="named `default`"):
            await backend.stage(submission())
        assert server.objects["jobs"] == {}
