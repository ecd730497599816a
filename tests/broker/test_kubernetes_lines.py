"""Places in Kueue's queues: its own order among all that waits, and when a new place is news."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.broker.adapters.kubernetes import backend as module
from services.broker.adapters.kubernetes import queues, records
from services.broker.adapters.kubernetes.lines import Lines, LocalQueue, told, turn
from services.broker.adapters.kubernetes.reference import QUEUE, Reference
from services.broker.adapters.kubernetes.submissions import Submissions
from services.broker.adapters.port import Seen
from tests.broker.kubernetes_answers import CREATED, OURS, job, submission, workload
from tests.broker.kubernetes_double import ApiServer, opened
from tests.support import until

HERE = LocalQueue(OURS.namespace, "here")
BEHIND = {HERE: "shared", LocalQueue("beta", "here"): "shared", LocalQueue("gamma", "here"): "other"}


def other(uid: str, **how: Any) -> dict[str, Any]:
    return workload(name=f"job-{uid}", uid=uid, **how)


def order(*workloads: dict[str, Any]) -> list[str]:
    """The uids of those that wait, by their places."""
    lines = Lines()
    for one in workloads:
        lines.take(one)
    uids = [one["metadata"]["uid"] for one in workloads]
    return sorted((uid for uid in uids if lines.waits(uid)), key=lambda uid: lines.place(uid, BEHIND) or 0)


def test_the_order_is_by_priority_then_by_how_long_then_by_uid() -> None:
    assert order(
        other("d", created=CREATED),
        other("b", created=CREATED - 1),
        other("c", created=CREATED),
        other("a", created=CREATED + 5, priority=10),
        other("e", created=CREATED - 9, priority=-1),
    ) == ["a", "b", "c", "d", "e"]


@pytest.mark.parametrize(
    ("evicted", "last"), [("Preempted", False), ("PodsReadyTimeout", True), ("AdmissionCheck", True), ("NodeFailures", False)]
)  # fmt: skip
def test_who_is_taken_back_waits_anew_only_where_kueue_has_it_so(evicted: str, last: bool) -> None:
    back, later = other("back", evicted=evicted), other("later", created=CREATED + 30)
    assert order(back, later) == (["later", "back"] if last else ["back", "later"])


def test_a_place_is_counted_among_all_queues_that_lead_to_the_same_one() -> None:
    assert order(
        other("third", created=CREATED + 2), other("first", namespace="beta"), other("second", created=CREATED + 1)
    ) == ["first", "second", "third"]
    lines = Lines()
    lines.take(other("ours"))
    lines.take(other("theirs", namespace="gamma", created=CREATED - 9))
    assert (lines.place("ours", BEHIND), lines.place("theirs", BEHIND)) == (1, 1)
    assert lines.place("ours", {}) is None and lines.place("nobodys", BEHIND) is None


@pytest.mark.parametrize("how", [{"quota": ("True", "")}, {"active": False}])
def test_what_has_its_quota_or_is_put_aside_waits_no_more(how: dict[str, Any]) -> None:
    assert turn(other("a", **how)) is None
    lines = Lines()
    lines.take(other("a"))
    lines.take(other("b", created=CREATED + 1))
    assert lines.place("b", BEHIND) == 2
    lines.take(other("a", **how))
    assert (lines.waits("a"), lines.place("b", BEHIND)) == (False, 1)
    finished = other("a", quota=None)
    finished["status"]["conditions"].append({"type": "Finished", "status": "True"})
    assert turn(finished) is None


def test_only_what_comes_goes_or_changes_its_turn_moves_a_line() -> None:
    lines = Lines()

    def moved() -> bool:
        found, lines.moved = lines.moved, False
        return found

    lines.take(other("a"))
    assert moved()
    lines.take(other("a", quota=("False", "2 more needed")))
    lines.take(other("b", quota=("True", "")))
    lines.keep({"a", "b"})
    assert not moved()
    lines.take(other("a", priority=1))
    assert moved()
    lines.keep({"b"})
    assert moved() and not lines.waits("a")


Told = tuple[int, int, int, bool]


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(-2, 2), st.integers(0, 3), st.booleans()), max_size=40))
def test_whatever_comes_and_goes_the_places_are_those_of_one_sorted_list(told: list[Told]) -> None:
    lines, there = Lines(), dict[str, dict[str, Any]]()
    for number, priority, second, gone in told:
        one = other(f"w{number}", priority=priority, created=CREATED + second, namespace=("acme", "beta")[number % 2])
        lines.take(one, gone=gone)
        there.pop(f"w{number}", None)
        if not gone:
            there[f"w{number}"] = one
    behind = {LocalQueue("acme", "here"): "shared", LocalQueue("beta", "here"): "shared"}
    by_kueue = sorted(
        there, key=lambda uid: (-there[uid]["spec"]["priority"], there[uid]["metadata"]["creationTimestamp"], uid)
    )
    assert [lines.place(uid, behind) for uid in by_kueue] == [*range(1, len(by_kueue) + 1)]


@pytest.mark.parametrize(("place", "said"), [(1, 1), (9, 9), (10, 10), (19, 10), (20, 20), (99, 90), (1234, 1000)])
def test_a_place_that_is_far_off_is_rounded_down(place: int, said: int) -> None:
    assert told(place) == said


def test_a_job_is_told_few_places_however_long_its_queue_is() -> None:
    assert len({told(place) for place in range(1, 2001)}) == 29


def test_a_place_is_news_only_where_it_is_told_otherwise() -> None:
    found = Submissions()

    def take(content: dict[str, Any], *, gone: bool = False) -> None:
        found.lines.take(content, gone=gone)
        one = queues.workload(content)
        if one is not None:
            found.take_workload(one, gone=gone)

    def moved() -> list[str]:
        found.changed()
        found.tell_places(BEHIND)
        return found.changed()

    found.take_job(records.job(job(labels={QUEUE: "here"}, suspended=True)))
    before = [other(f"before-{number}", created=CREATED - 1) for number in range(12)]
    for one in [*before, workload()]:
        take(one)
    assert moved() == [str(OURS)]
    assert not found.lines.moved
    for one in before[:3]:
        take(one, gone=True)
    assert moved() == []
    take(before[3], gone=True)
    assert (moved(), found.of(OURS).place) == ([str(OURS)], 9)
    take(workload(version=31, quota=("True", "")))
    assert (found.of(OURS).place, moved()) == (None, [])


async def test_who_waits_is_told_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PLACES_SECONDS", 0.01)
    server = ApiServer()
    for namespace in (OURS.namespace, "beta"):
        name = {"name": "here", "namespace": namespace, "uid": namespace}
        server.objects["localqueues"][namespace] = {"metadata": name, "spec": {"clusterQueue": "shared"}}
    async with opened(server, queue="here") as backend:
        reference = await backend.stage(submission())
        await backend.release(reference)
        ours = Reference.parse(reference)
        assert ours is not None

        async def says(words: str) -> None:
            async def told() -> bool:
                found = (await backend.observe([reference]))[reference]
                return isinstance(found, Seen) and words in found.detail

            await until(told)

        for number in range(12):
            server.put("workloads", other(f"before-{number}", namespace="beta", created=CREATED - 1))
        server.put("workloads", workload(name=ours.name))
        await says(
            "在站点队列中等待配额，排在第 10 位或更后 waiting in the site's queue for quota, position 10 or later (insu"
        )
        for number in range(10):
            server.remove("workloads", f"job-job-before-{number}-ae105")
        await says(
            "在站点队列中等待配额，排在第 3 位 waiting in the site's queue for quota, position 3 (insufficient unused"
        )
        server.put("workloads", workload(name=ours.name, quota=("True", ""), admitted=True))
        await says("正在启动 starting")
        assert server.asked.count("GET localqueues") == 1
