"""What the node's record of containers says of numbered jobs, held against the platform's word: each kind of difference is named."""

from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from bench.kubernetes_jobs import Told, billed_otherwise, litter, metered_otherwise, not_once
from caravan.contracts.jobs import JobState, Outcome
from caravan.kernel import clock
from services.broker.adapters.kubernetes.reference import KEPT, SITE
from tests.backends.kubernetes.containers import Container

BEGAN = clock.from_seconds(1_795_923_000)
LINES = {"cpu_core_hour": (2, 2), "memory_gib_hour": (128, 0), "node_hour": (2, 0), "job": (1, 1)}
"""Of a run of two seconds: quantity and fen."""


def container(attempt: str = "att_1", place: int = 0, seconds: float = 2.4, **changed: Any) -> Container:
    environment = {"CARAVAN_ATTEMPT": attempt, "JOB_COMPLETION_INDEX": str(place)}
    ended = BEGAN + timedelta(seconds=seconds)
    one = Container("uid-1", "pod", "alice", "task", ("run",), environment, 1.0, 64.0, BEGAN, ended, 0)
    return replace(one, **changed)


def run(seconds: int = 2, identity: str = "uid-1", outcome: Outcome = Outcome.SUCCEEDED) -> Any:
    span = SimpleNamespace(start=BEGAN, end=BEGAN + timedelta(seconds=seconds))
    return SimpleNamespace(identity=identity, outcome=outcome, spans=(span,))


def lines(bearer: str = "organization", **changed: tuple[int, int]) -> list[Any]:
    return [
        SimpleNamespace(component=component, quantity=quantity, bearer=bearer, amount=SimpleNamespace(fen=amount))
        for component, (quantity, amount) in (LINES | changed).items()
    ]


def told(number: int = 1, **changed: Any) -> Told:
    attempts: Any = [
        SimpleNamespace(id="att_1", indices=(1, 2, 7) if number % 8 == 0 else (0,), detail=""),
        SimpleNamespace(id="att_2", indices=(0,), detail=""),
    ]
    job: Any = SimpleNamespace(name=str(number), id=f"job_{number}", state=JobState.SUCCEEDED)
    return replace(Told(job=job, attempts=attempts, runs=[run()], lines=lines(), paid=3), **changed)


def test_each_task_comes_to_its_own_end_once() -> None:
    lost = container(exit_code=None)
    assert not_once(told(), [container()]) == not_once(told(), [lost, container("att_2")]) == []
    assert not_once(told(8), [container(place=place) for place in range(3)]) == []
    for wrong in ([], [container(), container("att_2")], [lost], [container(exit_code=3)]):
        assert not_once(told(), wrong)
    assert not_once(told(5), [container(exit_code=3)])
    assert not_once(told(8), [container(place=place) for place in (0, 1)])


@pytest.mark.parametrize(
    ("runs", "containers"),
    [
        ([], [container()]), ([run()], []), ([run(), run()], [container()]), ([run(5)], [container()]),
        ([run(outcome=Outcome.SITE)], [container()]), ([run()], [container(exit_code=None)]),
        ([run()], [container(ended=None)]), ([run(identity="another")], [container()]),
    ],
)  # fmt: skip
def test_a_run_that_is_not_its_containers_is_named(runs: list[Any], containers: list[Container]) -> None:
    assert metered_otherwise(told(runs=runs), containers)


def test_a_run_is_its_containers_up_to_the_edges_of_its_seconds() -> None:
    for seconds in (1, 2, 3, 4):
        assert metered_otherwise(told(runs=[run(seconds)]), [container()]) == []
    lost = container(exit_code=None)
    assert metered_otherwise(told(runs=[run(40, outcome=Outcome.SITE)]), [lost]) == []


def test_what_is_billed_or_paid_otherwise_is_named() -> None:
    assert billed_otherwise(told()) == []
    assert billed_otherwise(told(runs=[run(outcome=Outcome.SITE)], lines=lines("provider", job=(0, 0)), paid=0)) == []
    for wrong in (lines("provider"), lines(cpu_core_hour=(3, 3)), lines(cpu_core_hour=(2, 3)), [*lines(), *lines()]):
        assert billed_otherwise(told(lines=wrong))
    assert billed_otherwise(told(paid=2))
    assert billed_otherwise(told(runs=[run(outcome=Outcome.SITE)]))


def thing(uid: str, owner: str | None = None, **meta: Any) -> dict[str, Any]:
    owners = {"ownerReferences": [{"uid": owner}]} if owner else {}
    return {"metadata": {"name": uid, "namespace": "alice", "uid": uid, **owners, **meta}}


def test_what_is_kept_and_what_has_lost_its_job_is_litter() -> None:
    def cluster(*, jobs: list[Any], pods: list[Any], files: list[Any]) -> Any:
        there = {"/apis/batch/v1/jobs": jobs, "/api/v1/pods": pods, "/api/v1/configmaps": files}
        return SimpleNamespace(ask=lambda method, path: {"items": there[path]})

    done = {"jobs": [thing("a")], "pods": [thing("p", "a")], "files": [thing("f", "a"), thing("root-ca")]}
    assert litter(cluster(**done)) == []
    assert litter(cluster(**done | {"jobs": [thing("a", labels={SITE: "sit_1"})]})) == ["alice/a"]
    assert litter(cluster(**done | {"pods": [thing("p", "a", finalizers=[KEPT])]})) == ["alice/p"]
    assert litter(cluster(**done | {"jobs": []})) == ["alice/p", "alice/f"]
