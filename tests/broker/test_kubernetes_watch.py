"""How the Kubernetes adapter looks at a cluster and acts on it: what it asks the API server, and that it misses nothing."""

import asyncio
import json
import secrets
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import httpx
import pytest
from lightkube.config.client_adapter import BearerTokenFileAuth

from caravan.contracts.jobs import Outcome
from caravan.contracts.spec import Container
from caravan.kernel import clock
from services.broker.adapters.kubernetes import adapter, reads, watch
from services.broker.adapters.kubernetes.backend import KubernetesBackend
from services.broker.adapters.kubernetes.reference import ENDED, INDICES, JOB_NAME, JOB_UID, Reference
from services.broker.adapters.kubernetes.rest import Rest
from services.broker.adapters.port import NotSeen, OutcomeUnknown, Rejected, Seen, SiteContext, SiteRefused, Unavailable
from tests.broker.kubernetes_answers import (
    MARK,
    OURS,
    SITE_SETTINGS,
    at,
    ended,
    job,
    node,
    pod,
    running,
    submission,
    waiting,
)
from tests.broker.kubernetes_double import ApiServer, opened, status

REFERENCE = str(OURS)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "PAUSE_SOONEST_SECONDS", 0.01)


@pytest.fixture
def server() -> ApiServer:
    return ApiServer()


async def until(true: Callable[[], Any], seconds: float = 10) -> Any:
    deadline = clock.monotonic() + seconds
    while True:
        found = true()
        found = await found if asyncio.iscoroutine(found) else found
        if found:
            return found
        assert clock.monotonic() < deadline, "it didn't become so"
        await asyncio.sleep(0.01)


async def look(backend: KubernetesBackend, reference: str = REFERENCE) -> Seen:
    found = (await backend.observe([reference]))[reference]
    assert isinstance(found, Seen), found
    return found


async def has_ended(backend: KubernetesBackend) -> Seen | None:
    seen = await look(backend)
    return seen if seen.ended else None


def finish(server: ApiServer) -> None:
    server.put("pods", pod(ended()))
    server.put("jobs", job(finished="Complete", status={"succeeded": 1}))


async def test_while_nothing_changes_nothing_is_asked(server: ApiServer) -> None:
    server.put("jobs", job())
    server.put("pods", pod(running()))
    async with opened(server) as backend:
        await look(backend)
        await backend.changed(None)
        asked = len(server.asked)
        for _ in range(20):
            assert (await look(backend)).runs[0].outcome is None
            assert await backend.changed(0.0) == []
        assert len(server.asked) == asked
        await backend.news()
        heard = asyncio.create_task(backend.news())
        await asyncio.sleep(0)
        assert not heard.done()
        server.put("pods", pod(ended()))
        await heard
        assert await until(lambda: backend.changed(0.0)) == [REFERENCE]
        server.put("jobs", job(finished="Complete", status={"succeeded": 1}))
        assert await until(lambda: backend.changed(0.0)) == [REFERENCE]
        assert (await look(backend)).ended
        assert len(server.asked) == asked


async def test_a_watch_that_was_cut_goes_on_from_what_came_last(server: ApiServer) -> None:
    server.put("jobs", job())
    async with opened(server) as backend:
        await look(backend)
        await until(lambda: len(server.watched) == 3)
        await backend.changed(0.0)  # of the Job
        server.put("pods", pod(running()))
        await until(lambda: backend.changed(0.0))
        last = server.version
        server.down = True
        server.cut()
        await until(lambda: backend._pods.fault)
        server.down = False
        finish(server)
        seen = await until(lambda: has_ended(backend))
        assert seen.runs[0].outcome is Outcome.SUCCEEDED
        assert f"pods {last}" in server.watched
        assert server.asked.count("GET jobs") == 1


async def test_after_a_bookmark_an_old_version_is_not_needed_any_more(server: ApiServer) -> None:
    server.put("jobs", job())
    async with opened(server) as backend:
        await look(backend)
        await until(lambda: len(server.watched) == 3)
        server.put("nodes", {"metadata": {"name": "other"}})
        server.bookmark()
        watches = (backend._jobs, backend._pods, backend._events)
        await until(lambda: {watch._version for watch in watches} == {str(server.version)})
        server.oldest = marked = server.version
        server.cut()
        resumed = {f"{kind} {marked}" for kind in ("jobs", "pods", "events")}
        await until(lambda: resumed <= set(server.watched))
        finish(server)
        await until(lambda: has_ended(backend))
        assert server.asked.count("GET jobs") == 1


async def test_a_watch_that_was_open_is_opened_again_soon_however_often_it_was_cut(server: ApiServer) -> None:
    async with opened(server) as backend:
        await backend.observe([])
        for _ in range(12):
            await until(lambda: len(server.watched) == 3, seconds=3)
            await asyncio.sleep(0.05)
            server.watched.clear()
            server.cut()


def test_a_server_that_ends_each_watch_at_once_is_asked_ever_less_often() -> None:
    pauses = [0.0]
    for open_seconds in (0.0, 0.0, 0.01, 0.0, 0.0, 0.0, 0.0):
        pauses.append(watch.pause_after(pauses[-1], open_seconds))
    soonest, latest = watch.PAUSE_SOONEST_SECONDS, watch.PAUSE_LATEST_SECONDS
    assert pauses[1:] == [min(soonest * 2**number, latest) for number in range(7)]
    assert watch.pause_after(latest, latest) == soonest


async def test_a_watch_that_ends_in_good_order_as_it_begins_is_a_fault(server: ApiServer) -> None:
    server.put("jobs", job())
    server.answers["WATCH jobs"] = httpx.Response(200, content=b"")
    async with opened(server) as backend:
        await until(lambda: backend._jobs.fault)
        del server.answers["WATCH jobs"]
        finish(server)
        await until(lambda: has_ended(backend))


async def test_what_went_while_the_watch_was_too_old_is_found_gone(server: ApiServer) -> None:
    server.put("jobs", job())
    server.put("pods", pod(running()))
    async with opened(server) as backend:
        await look(backend)
        await until(lambda: len(server.watched) == 3)
        server.down = True
        server.cut()
        await until(lambda: backend._pods.fault)
        server.remove("jobs", OURS.name)
        server.remove("pods", pod()["metadata"]["name"])
        server.version += 1
        server.oldest, server.history = server.version, []
        server.down = False
        seen = await until(lambda: has_ended(backend))
        assert [run.outcome for run in seen.runs] == [Outcome.CANCELLED]


async def test_an_error_in_the_stream_that_says_expired_has_all_listed_anew(server: ApiServer) -> None:
    server.put("jobs", job())
    async with opened(server) as backend:
        await look(backend)
        await until(lambda: len(server.watched) == 3)
        server.version += 1
        server._tell("pods", "ERROR", {"kind": "Status", "code": 410, "reason": "Expired"})
        await until(lambda: server.asked.count("GET pods") == 2)
        server.put("pods", pod(running()))
        await until(lambda: backend.changed(0.0))


async def test_what_is_too_old_is_not_listed_again_at_once(server: ApiServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "PAUSE_SOONEST_SECONDS", 3600.0)
    server.answers["WATCH jobs"] = status(410, "too old resource version", "Expired")
    async with opened(server) as backend:
        await until(lambda: backend._jobs._expired)
        for _ in range(1000):
            await asyncio.sleep(0)
        assert server.asked.count("GET jobs") == 1
        assert await backend.probe() == ()
        assert not backend._jobs.well


@pytest.mark.parametrize("told", ["as an answer", "in the stream"])
async def test_a_server_that_has_forgotten_what_it_has_just_listed_is_a_fault_until_it_tells_something(
    server: ApiServer, told: str
) -> None:
    expired = {"kind": "Status", "code": 410, "reason": "Expired"}
    event = json.dumps({"type": "ERROR", "object": expired}).encode()
    server.answers["WATCH jobs"] = status(410) if told == "as an answer" else httpx.Response(200, content=event + b"\n")
    server.put("jobs", job())
    async with opened(server) as backend:

        async def faults() -> tuple[str, ...]:
            return await backend.probe()

        (fault,) = await until(faults)
        assert "too old to go on from (410)" in fault
        del server.answers["WATCH jobs"]

        async def well() -> bool:
            server.bookmark()
            return await backend.probe() == ()

        await until(well)


async def test_one_object_that_cannot_be_read_hides_no_other(server: ApiServer) -> None:
    server.put("jobs", {"metadata": {"name": "strange", "labels": job()["metadata"]["labels"]}})
    server.put("jobs", job())
    server.put("pods", pod(running()))
    async with opened(server) as backend:
        assert (await look(backend)).runs


async def test_what_no_api_server_would_say_does_not_end_the_watch(server: ApiServer) -> None:
    server.put("jobs", job())
    server.answers["GET jobs"] = httpx.Response(200, json={"from": "a proxy"})
    async with opened(server) as backend:
        await until(lambda: backend._jobs.fault)
        del server.answers["GET jobs"]
        await look(backend)
        finish(server)
        await until(lambda: has_ended(backend))


@pytest.mark.parametrize("token", ["gone", "a folder", "no text"])
async def test_without_a_token_that_can_be_read_nothing_is_asked_until_there_is_one(
    server: ApiServer, tmp_path: Path, token: str
) -> None:
    file, asked = tmp_path / "token", "apis/batch/v1/jobs"
    if token == "a folder":
        file.mkdir()
    elif token == "no text":
        file.write_bytes(b"\xff")
    http = httpx.AsyncClient(transport=server, base_url="https://cluster", auth=BearerTokenFileAuth(str(file)))
    why = "can't be read any more: UnicodeDecodeError" if token == "no text" else "can't be read from token any more"
    async with http:
        rest = Rest(http)
        for sent in (rest.read(asked), rest.act("POST", asked, {}), rest.stream(asked, 1.0, watch="1").__aenter__()):
            with pytest.raises(Unavailable, match=why) as failed:
                await sent
            assert str(tmp_path) not in str(failed.value)
        assert server.asked == server.watched == []
        if token == "a folder":
            file.rmdir()
        file.write_text("it")
        assert (await rest.read(asked)).read()


async def test_whatever_a_watch_meets_it_is_told_and_tried_again(server: ApiServer) -> None:
    server.put("jobs", job())

    def broken(uids: Collection[str], version: int) -> None:
        raise RuntimeError("nobody thought of this")

    async with opened(server) as backend:
        keep, backend._jobs._keep = backend._jobs._keep, broken
        await until(lambda: backend._jobs.fault)
        assert any("jobs: a fault of the adapter (RuntimeError)" in fault for fault in await backend.probe())
        backend._jobs._keep = keep
        await look(backend)
        finish(server)
        await until(lambda: has_ended(backend))
        assert await backend.probe() == ()


async def test_whatever_tending_pods_meets_it_is_told_and_tried_again(
    server: ApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(server) as backend:
        with monkeypatch.context() as broken:
            broken.setattr(backend._submissions, "gated", None)

            async def told() -> bool:
                return any(fault.endswith("see its log: tend") for fault in await backend.probe())

            await until(told)

        async def well() -> bool:
            return await backend.probe() == ()

        await until(well)


async def test_what_another_agent_has_just_staged_is_read_once(server: ApiServer) -> None:
    async with opened(server) as backend:
        await backend.observe([])
        server.objects["jobs"][OURS.name] = job(suspended=True, released=False)
        assert not (await look(backend)).released
        asked = len(server.asked)
        await look(backend)
        assert len(server.asked) == asked


async def test_of_a_job_that_is_gone_its_pods_are_still_told(server: ApiServer) -> None:
    """A new agent finds only them: their finalizer has kept them."""
    server.put("pods", pod(ended(7), deleted=clock.to_seconds(clock.now())))
    async with opened(server) as backend:
        seen = await look(backend)
        assert (seen.ended, [run.exit_code for run in seen.runs]) == (True, [7])
        await backend.forget(REFERENCE)
        assert isinstance((await backend.observe([REFERENCE]))[REFERENCE], NotSeen)
        (kept,) = server.objects["pods"].values()
        assert "caravan/site" not in kept["metadata"]["labels"]


@pytest.mark.parametrize("when", ["before", "unheard", "just now"])
async def test_a_cancel_ends_the_pods_that_a_deleted_job_has_left_to_run_on(server: ApiServer, when: str) -> None:
    server.put("jobs", job())
    for place, state in enumerate((running(), ended(), running())):
        deleted = clock.to_seconds(clock.now()) if place == 2 else None
        server.put("pods", pod(state, uid=f"pod-{place}", place=place, indices="0-2", deleted=deleted))
    async with opened(server) as backend:
        await look(backend)
        if when == "before":
            server.remove("jobs", OURS.name)
            await until(lambda: backend._submissions.of(OURS).gone)
        elif when == "unheard":
            server.objects["jobs"].clear()
        else:
            going = {"deletionTimestamp": at(clock.to_seconds(clock.now())), "finalizers": ["orphan"]}
            server.before["DELETE jobs"] = lambda: server.put("jobs", job() | {"metadata": job()["metadata"] | going})
        await backend.cancel(REFERENCE)
        left = [one for one in server.objects["pods"].values() if one["spec"].get("activeDeadlineSeconds") == 1]
        assert [one["metadata"]["uid"] for one in left] == ["pod-0"]
        why = left[0]["metadata"]["annotations"][ENDED]
        for place in (0, 2):
            late = pod(ended(143), "Failed", reason="DeadlineExceeded", uid=f"pod-{place}", place=place, indices="0-2")
            server.put("pods", late | {"metadata": late["metadata"] | {"annotations": {INDICES: "0-2", ENDED: why}}})
        runs = (await until(lambda: has_ended(backend))).runs
        assert [run.outcome for run in runs] == [Outcome.CANCELLED, Outcome.SUCCEEDED, Outcome.CANCELLED]


LEFT = str(Reference("left", OURS.name, "6a2f2e8e-0000"))


@pytest.mark.parametrize("act", ["cancel", "discard", "forget"])
async def test_of_a_namespace_that_was_deleted_all_is_known_to_be_gone_and_others_go_on(
    server: ApiServer, act: str
) -> None:
    server.left.add("left")
    server.put("jobs", job())
    server.put("pods", pod(running()))
    async with opened(server) as backend:
        seen = await backend.observe([LEFT, REFERENCE])
        assert isinstance(seen[REFERENCE], Seen)
        assert seen[LEFT] == NotSeen(True, "the cluster has no such Job, and no pods of it")
        await getattr(backend, act)(LEFT)
        with pytest.raises(Rejected):
            await backend.release(LEFT)


async def test_what_went_unheard_with_its_namespace_can_be_let_go_of(server: ApiServer) -> None:
    """The watches have not told of it yet."""
    finish(server)
    async with opened(server) as backend:
        await look(backend)
        server.left.add(OURS.namespace)
        with pytest.raises(Unavailable, match="cannot PATCH"):
            await backend.forget(REFERENCE)
        server.objects["jobs"].clear()
        with pytest.raises(Unavailable, match="cannot PATCH"):
            await backend.forget(REFERENCE)
        server.objects["pods"].clear()
        await backend.forget(REFERENCE)


async def test_one_submission_that_cannot_be_read_hides_no_other(server: ApiServer) -> None:
    server.put("jobs", job())
    async with opened(server) as backend:
        await look(backend)
        server.answers["GET jobs"] = status(500)
        assert [*await backend.observe([LEFT, REFERENCE])] == [REFERENCE]
        with pytest.raises(Unavailable):
            await backend.observe([LEFT])


async def test_a_clock_that_was_told_a_moment_ago_is_not_asked_for(server: ApiServer) -> None:
    async with opened(server) as backend:
        await backend.observe([])
        await until(lambda: all(one.well for one in backend._watches))
        server.asked.clear()
        assert 0 <= clock.to_seconds(clock.now()) - clock.to_seconds(await backend.now()) <= 2
        assert server.asked == []
        server.cut()
        await until(lambda: backend._jobs.fault)
        await backend.now()
        assert server.asked == ["GET /version"]


async def test_what_the_watches_have_told_whole_is_forgotten_by_a_patch_of_each(server: ApiServer) -> None:
    finish(server)
    async with opened(server) as backend:
        await look(backend)
        server.asked.clear()
        await backend.forget(REFERENCE)
        assert server.asked == [f"PATCH jobs {OURS.name}", f"PATCH pods {pod()['metadata']['name']}"]


ONCE_A_MINUTE = ["GET nodes", "GET limitranges", "GET resourcequotas", "POST jobs"]
"""Before a job is staged: the last one is a dry run."""


@pytest.mark.parametrize("container", [None, Container(image="docker://busybox", command=("true",))])
@pytest.mark.parametrize("environment", [{}, {"X": "x"}])
async def test_a_job_is_four_requests_from_staging_to_forgetting_and_one_each_for_its_script_and_its_environment(
    server: ApiServer, container: Container | None, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(secrets, "token_hex", lambda count: OURS.name.rpartition("-")[2])
    async with opened(server, images=["docker://busybox"]) as backend:
        await backend.observe([])
        server.asked.clear()
        await backend.release(await backend.stage(submission(container=container, environment=environment)))
        server.put("pods", pod(ended()))
        await until(lambda: backend._submissions.of(OURS).pods)
        finish(server)
        await until(lambda: has_ended(backend))
        await backend.forget(REFERENCE)
    files = ["POST configmaps"] * ((not container) + bool(environment))
    asked = [" ".join(one.split()[:2]) for one in server.asked]
    assert asked == [*ONCE_A_MINUTE, "POST jobs", *files, "PATCH jobs", "PATCH jobs", "PATCH pods"]


@pytest.mark.parametrize("told", ["more than its Job counts", "less than its Job counts", "nothing since a cut"])
async def test_pods_are_looked_for_where_some_may_have_been_missed_so_that_no_finalizer_stays(
    server: ApiServer, told: str
) -> None:
    finish(server)
    if told == "more than its Job counts":
        server.put("pods", pod(ended(), uid="before", place=1, indices="0-2"))
    async with opened(server) as backend:
        await look(backend)
        await backend.changed(0.0)
        late = pod(ended(), uid="late", place=2, indices="0-2")
        server.objects["pods"][late["metadata"]["name"]] = late
        if told == "less than its Job counts":
            server.put("jobs", job(finished="Complete", status={"succeeded": 2}))
            await until(lambda: backend.changed(0.0))
        if told == "nothing since a cut":
            server.answers["WATCH pods"] = status(500)
            server.cut()
            await until(lambda: backend._pods.fault)
        await backend.forget(REFERENCE)
        assert not any("caravan/site" in one["metadata"]["labels"] for one in server.objects["pods"].values())


async def test_the_pods_of_many_that_have_gone_are_asked_for_by_one_question(server: ApiServer) -> None:
    references = [Reference(OURS.namespace, f"job-0000000{number}", f"{number}") for number in range(3)]
    for one in references:
        there = job()
        server.put("jobs", there | {"metadata": there["metadata"] | {"name": one.name, "uid": one.uid}})
    late = pod(ended(7), uid="late")
    labels = late["metadata"]["labels"] | {JOB_NAME: references[1].name, JOB_UID: references[1].uid}
    async with opened(server) as backend:
        await backend.observe([])
        await until(lambda: len(server.watched) == 3)
        server.objects["pods"]["late"] = late | {"metadata": late["metadata"] | {"labels": labels}}
        for one in references:
            server.remove("jobs", one.name)
        await until(lambda: all((known := backend._submissions.get(one)) and known.gone for one in references))
        server.asked.clear()
        found = [*(await backend.observe([str(one) for one in references])).values()]
        assert [one.ended and [run.exit_code for run in one.runs] for one in found if isinstance(one, Seen)] == [
            [],
            [7],
            [],
        ]
        assert server.asked == ["GET pods"]


async def test_a_pod_whose_event_is_late_is_looked_for_when_the_job_has_ended(server: ApiServer) -> None:
    server.put("jobs", job())
    async with opened(server) as backend:
        await look(backend)
        server.objects["pods"]["late"] = pod(ended())
        server.put("jobs", job(finished="Complete", status={"succeeded": 1}))
        seen = await until(lambda: has_ended(backend))
        assert [run.outcome for run in seen.runs] == [Outcome.SUCCEEDED]


async def test_a_job_whose_pods_cannot_be_read_now_keeps_no_other_from_being_seen(server: ApiServer) -> None:
    other = Reference(OURS.namespace, "job-00000001", "1")
    server.put("jobs", job())
    there = job()
    server.put("jobs", there | {"metadata": there["metadata"] | {"name": other.name, "uid": other.uid}})
    async with opened(server) as backend:
        await look(backend)
        server.remove("jobs", OURS.name)
        await until(lambda: backend._submissions.of(OURS).gone)
        server.answers["GET pods"] = status(500)
        assert [*await backend.observe([REFERENCE, str(other)])] == [str(other)]
        with pytest.raises(Unavailable):
            await backend.observe([REFERENCE])


async def test_a_stage_leaves_a_job_that_owns_its_script_and_a_release_means_that_job_alone(server: ApiServer) -> None:
    async with opened(server) as backend:
        reference = await backend.stage(submission())
        ours = Reference.parse(reference)
        assert ours is not None
        files = server.objects["configmaps"][ours.name]
        assert files["metadata"]["ownerReferences"][0]["uid"] == ours.uid
        assert files["data"]["script"] == submission().script
        assert [staged.reference for staged in await backend.staged()] == [reference]
        with pytest.raises(Rejected):
            await backend.release(str(Reference(ours.namespace, ours.name, "another")))
        assert server.objects["jobs"][ours.name]["spec"]["suspend"]
        await backend.release(reference)
        assert not server.objects["jobs"][ours.name]["spec"]["suspend"]
        assert await backend.staged() == []
        server.asked.clear()
        await backend.release(reference)
        assert server.asked == []


async def test_what_is_released_while_it_is_being_discarded_stays(server: ApiServer) -> None:
    server.put("jobs", job(suspended=True, released=False))
    async with opened(server) as backend:
        await look(backend)
        server.before["DELETE jobs"] = lambda: server.put("jobs", job())
        await backend.discard(REFERENCE)
        assert OURS.name in server.objects["jobs"]
        assert (await look(backend)).released


async def test_what_the_job_controller_writes_meanwhile_keeps_nothing_from_being_discarded(server: ApiServer) -> None:
    staged = server.put("jobs", job(suspended=True, released=False))
    async with opened(server) as backend:
        await look(backend)

        def write_status_once() -> None:
            del server.before["DELETE jobs"]
            server.put("jobs", staged)

        server.before["DELETE jobs"] = write_status_once
        await backend.discard(REFERENCE)
        assert server.objects["jobs"] == {}


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (status(404, 'namespaces "acme" not found', "NotFound"), Rejected), (status(401, "Unauthorized"), Unavailable),
        (status(403, 'User "alice" cannot create resource "jobs"'), Rejected), (status(403, "exceeded quota: q"), Unavailable),
        (status(422, "Job is invalid: spec"), Rejected), (status(500, "etcdserver: timed out"), OutcomeUnknown),
        (httpx.Response(201, text="<html>"), OutcomeUnknown),
    ],
)  # fmt: skip
async def test_a_stage_that_fails_says_whether_it_may_be_there(
    server: ApiServer, answer: httpx.Response, error: type[Exception]
) -> None:
    async with opened(server) as backend:
        server.answers["POST jobs"] = answer
        with pytest.raises(error) as failed:
            await backend.stage(submission())
        assert "alice" not in str(failed.value)


async def test_a_server_that_is_away_is_unavailable_and_said_to_be(server: ApiServer) -> None:
    async with opened(server) as backend:
        await backend.observe([])
        server.down = True
        server.cut()
        await until(lambda: backend._jobs.fault)
        for asked in (backend.now(), backend.inventory(), backend.probe(), backend.stage(submission())):
            with pytest.raises(Unavailable, match="reached"):
                await asked
        server.down = False
        server.answers["GET events"] = status(403, 'cannot list resource "events"')
    async with opened(server) as backend:
        await backend.observe([])
        (fault,) = await until(backend.probe)
        assert "events" in fault


async def test_the_nodes_of_a_large_cluster_are_read_in_parts_and_believed_for_a_while(
    server: ApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.objects["nodes"].clear()
    for number in range(250):
        server.put("nodes", node(f"node-{number}"))
    async with opened(server) as backend:
        await backend.observe([])
        for _ in range(3):
            assert await backend.probe() == ()
        assert server.asked.count("GET nodes") == 3
        assert sum(item.nodes for item in await backend.inventory()) == 250
        server.objects["nodes"].clear()
        assert await backend.probe() == ()
        monkeypatch.setattr(reads, "BELIEVED_SECONDS", 0.0)
        (fault,) = await backend.probe()
        assert "no nodes" in fault


async def test_whether_the_platform_may_make_jobs_is_asked_of_a_server_that_is_ready(server: ApiServer) -> None:
    """One that has just started refuses everybody."""
    refused = status(403, 'jobs.batch is forbidden: User "agent" cannot create resource "jobs"')
    async with opened(server) as backend:
        server.answers["POST jobs"], server.ready = refused, False
        with pytest.raises(Unavailable, match="not ready"):
            await backend.stage(submission())
        server.ready = True
        with pytest.raises(Rejected, match="may make no Jobs"):
            await backend.stage(submission())
        server.before["GET "] = server.answers.clear
        assert await backend.stage(submission())


@pytest.mark.parametrize(
    ("waits", "said"),
    [(pod(waiting("ImagePullBackOff", "no such image")), "can't be pulled"), (pod({"waiting": {}}, made=True), "isn't started")],
)  # fmt: skip
async def test_a_pod_that_waits_for_what_it_will_never_get_is_ended_after_a_while(
    server: ApiServer, waits: dict[str, Any], said: str
) -> None:
    server.put("jobs", job())
    server.put("pods", waits)
    name = pod()["metadata"]["name"]
    async with opened(server, image_seconds=1) as backend:
        assert said in (await look(backend)).detail
        await until(lambda: server.objects["pods"][name]["spec"].get("activeDeadlineSeconds") == 1)
    server.put("pods", pod(waiting("ContainerCreating")))
    async with opened(server, image_seconds=1) as backend:
        await look(backend)
        assert backend._submissions.stuck() == []


KUBECONFIG = """
clusters: [{name: c, cluster: {server: SERVER}}]
users: [{name: u, user: {token: secret-token}}]
contexts: [{name: x, context: {cluster: c, user: u}}]
current-context: x
"""


@pytest.mark.parametrize(
    ("written", "why"),
    [
        (KUBECONFIG.replace("SERVER", "http://cluster"), "isn't https"),
        (KUBECONFIG.replace("SERVER", "https://cluster:port"), "a port that is no number"),
        (KUBECONFIG.replace("SERVER", "https://cluster, insecure-skip-tls-verify: true"), "insecure"),
        (KUBECONFIG.replace("user: u", "user: secret-token"), "can't be read: KeyError"), ("[secret-token", "can't be read"),
        ("secret-token", "can't be read"), (KUBECONFIG.replace(", user: u", ""), "names no user"),
        (KUBECONFIG.replace("SERVER", "https://cluster, certificate-authority: gone.crt"), "No such file"), (None, "isn't in"),
    ],
)  # fmt: skip
async def test_a_way_to_the_server_that_cannot_be_used_or_is_not_safe_is_refused(
    tmp_path: Path, written: str | None, why: str
) -> None:
    if written is not None:
        (tmp_path / "kubeconfig").write_text(written)
    with pytest.raises(SiteRefused, match=why) as refused:
        async with adapter.open(SiteContext(site=MARK, settings=SITE_SETTINGS, secrets=tmp_path)):
            pass
    assert "secret-token" not in str(refused.value)


async def test_the_platforms_own_cluster_takes_jobs_only_if_its_operator_agrees() -> None:
    context = SiteContext(site=MARK, settings=SITE_SETTINGS | {"api": {"by": "in-cluster"}}, jobs_on_this_machine=False)
    with pytest.raises(SiteRefused, match="has not agreed"):
        async with adapter.open(context):
            pass
