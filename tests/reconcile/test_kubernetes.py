"""Pods and containers at Kubernetes: what runs held by them, and which difference from what was billed is named."""

import json
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caravan.contracts.jobs import Outcome
from caravan.contracts.runs import SiteRun
from caravan.kernel.clock import from_seconds, to_seconds
from caravan.reconcile import Asked, Kind, Reconciliation, Row, containers, pods, reconcile, record
from caravan.reconcile.containers import START_SECONDS, Container
from caravan.sacct import Allocation, Fault, UnreadableDump
from services.broker.adapters.kubernetes import clocks, records, reference
from services.broker.adapters.kubernetes.devices import Devices
from services.broker.adapters.kubernetes.runs import run_seen
from tests.broker.kubernetes_answers import (
    CREATED,
    ENDED,
    MARK,
    OURS,
    STARTED,
    at,
    ended,
    meshed,
    pod,
    running,
    unknown,
    waiting,
)
from tests.reconcile.test_comparing import lines_of, row, run_of, span

ASKED = Asked(MARK, STARTED - 1000, STARTED + 1000, complete_through=ENDED + 2000, as_of=ENDED + 2000)
GPUS = frozenset({"nvidia.com/gpu"})
JOB = OURS.uid
HEADER = ",".join(record.COLUMNS)


def listed(*made: dict[str, Any]) -> str:
    return json.dumps({"kind": "List", "items": made})


def read(*made: dict[str, Any]) -> list[Container | Fault]:
    return [*pods.containers(listed(*made), GPUS)]


def good(*made: dict[str, Any]) -> list[Container]:
    return [one for one in read(*made) if isinstance(one, Container)]


def container(started: int | None = STARTED, ended: int | None = ENDED, **changed: Any) -> Container:
    made = Container(
        site=MARK, pod="pod-1", job=JOB, nodes=1, rank=0, started=started, ended=ended, lost=False, cpus=2, memory_mib=512,
        accelerators=None,
    )  # fmt: skip
    return replace(made, **changed)


def of_two(rank: int, started: int | None = STARTED, ended: int | None = ENDED, **changed: Any) -> Container:
    return container(started, ended, **{"pod": f"pod-{rank}", "nodes": 2, "rank": rank, **changed})


def held(*made: Container, runs: tuple[SiteRun, ...] = (), **how: Any) -> list[tuple[str, int, int | None, int, int]]:
    rows = containers.rows(made, MARK, runs, **how)
    return [(one.identity, one.start - STARTED, one.end and one.end - STARTED, one.nodes, one.cpus) for one in rows]


def billed(identity: str, *parts: tuple[int, int, int], outcome: Outcome | None = Outcome.SUCCEEDED) -> SiteRun:
    """`parts`: from when to when, and on how many nodes of 2 CPUs each."""
    made = [like(nodes) for _, _, nodes in parts]
    spans = [span(STARTED + start, STARTED + end, one) for (start, end, _), one in zip(parts, made, strict=True)]
    run = run_of(made[0], *(one.model_copy(update={"accelerator": None}) for one in spans), outcome=outcome)
    return run.model_copy(update={"identity": identity})


def like(nodes: int) -> Allocation:
    return row(STARTED, nodes=nodes, cpus=2 * nodes, memory_mib=512 * nodes, accelerators=())


def by_record(found: list[Container], *runs: SiteRun, asked: Asked = ASKED) -> Reconciliation:
    rows, least = (containers.rows(found, MARK, runs, late=late) for late in (0, START_SECONDS))
    return reconcile([*rows], runs, lines_of(runs), asked, (), [*least])


def by_pods(found: list[Container], *runs: SiteRun) -> Reconciliation:
    asked = replace(ASKED, keeps_all=False)
    rows: list[Row] = [*containers.rows(found, MARK, runs, keeps_all=False)]
    return reconcile(rows, runs, lines_of(runs), asked)


def named(found: Reconciliation) -> list[tuple[Kind, str | None]]:
    return [(one.kind, one.identity) for one in found.differences]


def test_a_pod_is_read_as_the_adapter_marks_it() -> None:
    (one,) = read(pod(ended(3), requests={"cpu": "1500m", "memory": "1Gi", "nvidia.com/gpu": "2", "other/nic": "1"}))
    assert one == container(cpus=2, memory_mib=1024, accelerators=(("nvidia.com/gpu", 2),))
    (two,) = read(pod(running(), place=3, nodes=2, uid="pod-2"))
    assert isinstance(two, Container)
    assert (two.nodes, two.rank, two.started, two.ended) == (2, 1, STARTED, None)
    assert (pods.SITE, pods.NODES, pods.JOB_UID, pods.INDEX, pods.HELD, pods.TASK) == (
        reference.SITE, reference.NODES, reference.JOB_UID, reference.INDEX, reference.HELD, reference.TASK,
    )  # fmt: skip
    assert pods.LAG_SECONDS == clocks.LAG_SECONDS
    assert pods.ASK[4] == f"--selector={reference.TAG}"


def test_what_the_cluster_puts_beside_a_job_is_not_what_was_billed() -> None:
    beside = {"terminated": {"startedAt": at(STARTED - 3), "finishedAt": at(ENDED + 9)}}
    (one,) = read(meshed(pod(ended(), requests={"cpu": "2", "memory": "512Mi", "nvidia.com/gpu": "1"}), beside))
    assert one == container(accelerators=(("nvidia.com/gpu", 1),))
    other = pod(ended())
    other["spec"]["containers"][0]["name"] = "main"
    assert read(other) == [Fault(1, "form", "ValueError: there is no container task")]


def test_accelerators_are_what_stands_on_the_pod_whatever_the_site_calls_them_now() -> None:
    asked = {"cpu": "2", "memory": "512Mi", "renamed.com/gpu": "4"}
    (one,) = read(pod(ended(), requests=asked, held="4 acc_h100"))
    assert one == container(accelerators=(("acc_h100", 4),))
    (fault,) = read(pod(ended(), requests=asked, held="acc_h100"))
    assert isinstance(fault, Fault)


BOUND = {"PodScheduled": {"status": "True", "lastTransitionTime": at(STARTED - 2)}}


@pytest.mark.parametrize(
    ("started", "finished", "there"),
    [
        (STARTED - 8 * 3600, ENDED - 8 * 3600, (-2, 58, True)),
        (STARTED + 8 * 3600, ENDED + 8 * 3600, (1, 61, True)),
        (STARTED - 8 * 3600, ENDED, (-2, 61, True)),
        (STARTED - 122, ENDED, (-122, 60, False)),
        (STARTED, ENDED + 121, (0, 181, False)),
        (STARTED, ENDED + 122, (-2, 61, True)),
    ],
)
def test_times_that_can_not_be_are_put_right_as_for_billing(
    started: int, finished: int, there: tuple[int, int, bool]
) -> None:
    made = pod(ended(started=at(started), finished=finished), conditions=BOUND, written=ENDED + 1)
    (one,) = read(made)
    assert isinstance(one, Container) and one.started is not None and one.ended is not None
    assert (one.started - STARTED, one.ended - STARTED, one.righted) == there
    assert [(row.start, row.end) for row in containers.rows([one], MARK, ())] == billed_for(made)
    found = by_pods([one], billed("pod-1", (there[0], there[1], 1)))
    assert (named(found), found.compared, found.righted) == ([], 1, int(there[2]))
    found = by_pods([one], billed("pod-1", (there[0], there[1] + 1, 1)))
    assert named(found) == [(Kind.SECONDS, "pod-1")]


SECOND = st.integers(CREATED - 500, CREATED + 500)


@given(st.none() | SECOND, st.none() | SECOND, SECOND, SECOND)
def test_whatever_a_nodes_clock_says_the_rule_is_that_of_billing(
    bound: int | None, written: int | None, started: int, finished: int
) -> None:
    when = {} if bound is None else {"PodScheduled": {"status": "True", "lastTransitionTime": at(bound)}}
    made = pod(ended(started=at(started), finished=finished), conditions=when, written=written)
    (one,) = read(made)
    assert isinstance(one, Container)
    assert [(row.start, row.end) for row in containers.rows([one], MARK, ())] == billed_for(made)


def billed_for(made: dict[str, Any]) -> list[tuple[int, int]]:
    """By the adapter."""
    told = run_seen(records.pod(made), ENDED + 10**6, Devices({}, {}, {}), 30, "")
    assert told is not None
    return [(to_seconds(one.start), to_seconds(one.end)) for one in told.spans]


def test_whose_a_pod_is_stays_when_nobody_asks_for_it_any_more() -> None:
    let_go = pod(ended())
    del let_go["metadata"]["labels"][reference.SITE]
    let_go["metadata"]["annotations"][reference.SITE] = MARK
    (one,) = read(let_go)
    assert isinstance(one, Container) and one.site == MARK


def test_a_pod_of_which_nobody_knows_when_it_ended_tells_nothing() -> None:
    assert read(pod(unknown(), "Failed")) == []
    (never,) = read(pod(waiting("ImagePullBackOff")))
    assert isinstance(never, Container) and held(never) == []


def test_a_pod_that_can_not_be_read_is_named_by_its_place() -> None:
    wrong = pod(ended(), requests={"cpu": "two"})
    assert read(pod(ended()), wrong)[1:] == [Fault(2, "form", "ValueError: 'two' is no quantity like 4, 500m or 64Mi")]


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"items": null}', "NAME READY"])
def test_what_is_no_list_of_pods_is_refused_with_how_to_write_one(text: str) -> None:
    with pytest.raises(UnreadableDump, match="kubectl get pods"):
        list(pods.containers(text, GPUS))


@pytest.mark.parametrize(
    ("text", "amount"),
    [("4", "4"), ("500m", "0.5"), ("64Mi", "67108864"), ("1.5Gi", "1610612736"), ("2k", "2000"), ("1e3", "1000"), ("3M", "3000000")],
)  # fmt: skip
def test_quantities_are_kubernetes(text: str, amount: str) -> None:
    assert pods.quantity(text) == Decimal(amount)


def line(**changed: str) -> str:
    cells = {
        "site": MARK, "submission": str(OURS), "nodes": "1", "rank": "0", "pod": "pod-1", "cpus": "2.0", "memory_mib": "512",
        "started": from_seconds(STARTED).isoformat(), "ended": from_seconds(ENDED).isoformat(), "exit_code": "0", **changed,
    }  # fmt: skip
    return ",".join(cells[name] for name in record.COLUMNS)


def test_a_record_is_read_in_floored_seconds() -> None:
    at = from_seconds(STARTED).strftime("%Y-%m-%dT%H:%M:%S.987654321Z")
    lines = [HEADER, line(started=at), line(ended="", exit_code=""), line(exit_code=""), line(site="", started="?")]
    assert [*record.containers(lines)] == [container(), container(ended=None), container(lost=True)]


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"started": "soon"}, "started"),
        ({"started": "2026-11-01T08:00:00"}, "started"),
        ({"ended": "2020-11-01T08:00:00Z"}, "ended"),
        ({"nodes": "0"}, "nodes"),
        ({"rank": "-1"}, "rank"),
        ({"cpus": "many"}, "cpus"),
        ({"cpus": "NaN"}, "cpus"),
        ({"submission": "x"}, "submission"),
        ({"pod": ""}, "pod"),
        ({"exit_code": "0,1"}, "line"),
    ],
)
def test_a_line_of_a_record_that_can_not_be_read_is_named(changed: dict[str, str], field: str) -> None:
    found = [*record.containers([HEADER, line(), line(**changed)])]
    assert [(one.line, one.field) for one in found if isinstance(one, Fault)] == [(3, field)]


def test_a_record_without_a_column_is_refused_by_its_name() -> None:
    with pytest.raises(UnreadableDump, match=r"lacks exit_code\."):
        list(record.containers([HEADER.replace("exit_code", "code")]))


def test_the_pods_of_a_task_of_several_nodes_are_one_run_that_holds_what_they_hold_together() -> None:
    assert held(of_two(0), of_two(1, STARTED + 3, STARTED + 50)) == [
        (f"{JOB}.1", 0, 3, 1, 2), (f"{JOB}.1", 3, 50, 2, 4), (f"{JOB}.1", 50, 60, 1, 2),
    ]  # fmt: skip
    again = [of_two(rank, ENDED + 10, None, pod=f"again-{rank}") for rank in range(2)]
    assert held(of_two(0), *again, of_two(1)) == [(f"{JOB}.1", 0, 60, 2, 4), (f"{JOB}.2", 70, None, 2, 4)]


def test_a_run_of_several_nodes_has_the_number_that_it_was_billed_under() -> None:
    """The pods of the one before are gone."""
    runs = billed(f"{JOB}.1", (-100, -50, 2)), billed(f"{JOB}.2", (0, 60, 2))
    assert held(of_two(0), of_two(1), runs=runs) == [(f"{JOB}.2", 0, 60, 2, 4)]
    stray = [of_two(rank, ENDED + 10, ENDED + 20, pod=f"stray-{rank}") for rank in range(2)]
    assert held(of_two(0), of_two(1), *stray, runs=runs)[1:] == [(f"{JOB}.3", 70, 80, 2, 4)]


def test_a_run_of_which_a_pod_is_gone_is_left_out_where_pods_go() -> None:
    assert held(of_two(0), keeps_all=False) == []
    assert held(of_two(0), of_two(1, None, None), keeps_all=False) == [(f"{JOB}.1", 0, 60, 1, 2)]


def test_a_run_that_was_cut_as_its_node_fell_silent_is_open_or_gone_from_the_books() -> None:
    silent = {"Ready": {"status": "False", "lastTransitionTime": at(STARTED + 50)}}
    asked = replace(ASKED, keeps_all=False)
    goes_on = billed("pod-1", (0, 50, 1), outcome=None)
    rows = [*containers.rows(good(pod(running(), conditions=silent)), MARK, ())]
    found = reconcile(rows, [goes_on], lines_of([goes_on]), asked)
    assert (named(found), [one.identity for one in found.open], found.not_kept) == ([], ["pod-1"], 0)
    lost = billed("pod-1", (0, 50, 1), outcome=Outcome.SITE)
    found = by_pods(good(pod(running(), "Failed", conditions=silent)), lost)
    assert (named(found), found.open, found.not_kept) == ([], (), 1)


ONE = billed("pod-1", (0, 60, 1))


@pytest.mark.parametrize(
    ("changed", "kinds"),
    [
        ({}, []),
        ({"ended": ENDED + 1}, [Kind.SECONDS]),
        ({"started": STARTED - 1}, [Kind.SECONDS]),
        ({"cpus": 3}, [Kind.CORES]),
        ({"accelerators": (("nvidia.com/gpu", 1),)}, [Kind.ACCELERATORS]),
        ({"ended": None}, [Kind.STILL_RUNS]),
    ],
)
def test_what_a_pod_says_is_what_was_billed(changed: dict[str, Any], kinds: list[Kind]) -> None:
    found = by_pods([container(**{"accelerators": (), **changed})], ONE)
    assert named(found) == [(kind, "pod-1") for kind in kinds]


def test_a_run_whose_pod_is_gone_is_counted_and_one_that_was_billed_twice_is_named() -> None:
    other = billed("pod-2", (0, 60, 1))
    found = by_pods([container(accelerators=())], ONE, other)
    assert (named(found), found.compared, found.not_kept) == ([], 1, 1)
    twice = by_pods([container(accelerators=())], ONE, billed("pod-1", (0, 60, 1)))
    assert named(twice) == [(Kind.NOT_IN_BOOKS, "pod-1")]
    assert named(by_pods([container(accelerators=()), container(pod="pod-3")], ONE)) == [(Kind.NOT_BILLED, "pod-3")]
    assert named(by_pods([container(pod="pod-3", site="sit_other")])) == []


@pytest.mark.parametrize(
    ("changed", "kinds"),
    [
        ({}, []),
        ({"started": STARTED - 1}, []),
        ({"started": STARTED - 2}, [Kind.SECONDS]),
        ({"started": STARTED + 1}, [Kind.SECONDS]),
        ({"ended": ENDED + 1}, []),
        ({"ended": ENDED + 2}, [Kind.SECONDS]),
        ({"ended": ENDED - 1}, [Kind.SECONDS]),
        ({"cpus": 3}, [Kind.CORES]),
        ({"ended": None}, [Kind.STILL_RUNS]),
        ({"pod": "pod-9"}, [Kind.NOT_IN_BOOKS, Kind.NOT_BILLED]),
    ],
)
def test_a_record_may_have_a_start_a_second_before_the_kubelets(changed: dict[str, Any], kinds: list[Kind]) -> None:
    assert [kind for kind, _ in named(by_record([container(**changed)], ONE))] == kinds


def test_each_node_may_have_started_a_second_before_and_no_more() -> None:
    run = billed(f"{JOB}.1", (0, 1, 1), (1, 60, 2))
    assert named(by_record([of_two(0), of_two(1)], run)) == []
    assert named(by_record([of_two(0), of_two(1, STARTED + 1)], run)) == []
    assert named(by_record([of_two(0, STARTED - 1), of_two(1)], run)) == []
    for wrong, kinds in (
        ([of_two(0), of_two(1, STARTED - 2)], [Kind.SECONDS]),
        ([of_two(0), of_two(1, ended=ENDED - 2)], [Kind.CORES, Kind.NODES]),
        ([of_two(0, cpus=3), of_two(1, cpus=3)], [Kind.CORES]),
        ([of_two(0)], [Kind.CORES, Kind.NODES]),
    ):
        assert [kind for kind, _ in named(by_record(wrong, run))] == kinds


def test_a_container_of_less_than_a_second_by_the_kubelet_needs_no_run() -> None:
    assert named(by_record([container(ended=STARTED + 1)])) == []
    assert named(by_record([container(ended=STARTED + 2)])) == [(Kind.NOT_BILLED, "pod-1")]


@pytest.mark.parametrize(
    ("outcome", "kinds"),
    [
        (Outcome.SITE, []),
        (Outcome.LOST, []),
        (Outcome.CANCELLED, []),
        (None, []),
        (Outcome.SUCCEEDED, [Kind.BEARER]),
        (Outcome.USER, [Kind.BEARER]),
    ],
)
def test_what_ended_with_its_node_is_not_its_jobs_to_pay(outcome: Outcome | None, kinds: list[Kind]) -> None:
    run = billed("pod-1", (0, 100, 1), outcome=outcome)
    asked = replace(ASKED, complete_through=ENDED)
    assert [kind for kind, _ in named(by_record([container(lost=True)], run, asked=asked))] == kinds
    assert named(by_record([container(lost=True)])) == []
