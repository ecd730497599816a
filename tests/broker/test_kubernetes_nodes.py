"""Tasks of several nodes at Kubernetes, and arrays whose pods have to be told their index: the pure parts."""

from itertools import pairwise, permutations
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from caravan.contracts.jobs import Outcome, RunState
from caravan.contracts.spec import Container
from caravan.contracts.usage import Span
from caravan.kernel import clock
from services.broker.adapters.kubernetes import acts, inventory, manifest, records
from services.broker.adapters.kubernetes.devices import Devices
from services.broker.adapters.kubernetes.nodes import summed
from services.broker.adapters.kubernetes.reference import JOB_UID, NODES, OWN_INDEX
from services.broker.adapters.kubernetes.submissions import Submissions
from services.broker.adapters.port import Rejected, Seen
from tests.backends.kubernetes_site import TENANT
from tests.broker.kubernetes_answers import (
    CREATED,
    ENDED,
    H100,
    OURS,
    STARTED,
    ended,
    job,
    node,
    pod,
    running,
    submission,
    waiting,
)
from tests.broker.test_kubernetes_adapter import DEVICES, GRACE, NOW, container, made, variables

IMAGE = Container(image="docker://registry.test/a:1")
GONE = {"deleted": ENDED + 2}


def rank(number: int, state: dict[str, Any] | None = None, *args: Any, **how: Any) -> dict[str, Any]:
    """The pod of one of two nodes."""
    return pod(state, *args, **{"uid": f"pod-{number}", "place": number, "nodes": 2, **how})


def look(*pods: dict[str, Any], of: dict[str, Any] | None = None) -> Seen:
    found = Submissions()
    found.take_job(records.job(of or job()))
    for one in pods:
        found.take_pod(records.pod(one))
    shown = found.of(OURS).seen(OURS, NOW, DEVICES, GRACE)
    assert isinstance(shown, Seen)
    return shown


def held(seen: Seen, run: int = 0) -> list[tuple[int, int, int, int]]:
    """Start and end, nodes and CPUs."""
    spans = seen.runs[run].spans
    return [(clock.to_seconds(span.start), clock.to_seconds(span.end), span.nodes, span.cpus) for span in spans]


def test_each_node_is_a_pod_that_knows_its_rank_and_where_the_first_is() -> None:
    body = made(nodes=3, indices=(7,), tasks_per_node=2, accelerators_per_node=4, accelerator=H100)
    spec, template = body["spec"], body["spec"]["template"]
    assert (spec["completions"], spec["parallelism"], spec["backoffLimit"]) == (3, 3, 0)
    assert "backoffLimitPerIndex" not in spec
    assert template["metadata"]["labels"][NODES] == "3"
    limits = container(body)["resources"]["limits"]
    assert (limits["cpu"], limits["memory"], limits["nvidia.com/gpu"]) == ("2", "256Mi", "4")
    told = {one["name"]: one for one in container(body)["env"]}
    assert "job-completion-index" in told["CARAVAN_NODE_RANK"]["valueFrom"]["fieldRef"]["fieldPath"]
    assert told["CARAVAN_NODES"]["value"] == "3"
    service = manifest.service(submission(nodes=3), OURS)
    assert service is not None
    domain = service["metadata"]["name"]
    assert template["spec"]["subdomain"] == domain and domain[0].isalpha() and len(domain) <= 63
    assert told["CARAVAN_FIRST_NODE"]["value"] == f"{OURS.name}-0.{domain}"
    assert service["spec"]["selector"] == {JOB_UID: OURS.uid} and service["spec"]["clusterIP"] == "None"
    assert service["metadata"]["ownerReferences"][0]["uid"] == OURS.uid


def test_one_node_is_the_first_and_needs_no_service() -> None:
    body = made(environment={"CARAVAN_NODE_RANK": "9", "CARAVAN_NODES": "9", "CARAVAN_FIRST_NODE": "elsewhere"})
    told = variables(body)
    assert (told["CARAVAN_NODES"], told["CARAVAN_NODE_RANK"], told["CARAVAN_FIRST_NODE"]) == ("1", "0", "localhost")
    assert "subdomain" not in body["spec"]["template"]["spec"]
    assert NODES not in body["spec"]["template"]["metadata"]["labels"]
    assert manifest.service(submission(), OURS) is None


def test_tasks_of_an_array_have_one_node_each() -> None:
    with pytest.raises(Rejected, match="one node each"):
        made(nodes=2, indices=(0, 1))


def test_the_grant_is_all_nodes_together() -> None:
    grant = submission(nodes=3, cpus_per_task=2, accelerators_per_node=4, accelerator=H100).grant
    assert (grant.nodes, grant.cpus, grant.memory_mib, grant.accelerators) == (3, 6, 768, 12)


def test_nodes_that_the_site_does_not_have_are_not_waited_for() -> None:
    """Some would start, be billed, and wait for the others for ever."""
    nodes = [inventory.node(node(name), Devices({}, {}, {})) for name in ("n0", "n1")]
    assert inventory.why_not(submission(nodes=2, cpus_per_task=7).grant, None, {}, nodes) is None
    assert inventory.why_not(submission(nodes=4, cpus_per_task=3).grant, None, {}, nodes) is None
    assert "room for 2 of 3" in (inventory.why_not(submission(nodes=3, cpus_per_task=4).grant, None, {}, nodes) or "")
    assert "room for 0 of 2" in (inventory.why_not(submission(nodes=2, cpus_per_task=8).grant, None, {}, nodes) or "")


def test_the_pods_of_a_task_are_one_run_from_the_first_start_to_the_last_end() -> None:
    late = ended(started=ended_at(STARTED + 5), finished=ENDED + 20)
    shown = look(rank(0, ended()), rank(1, late))
    (run,) = shown.runs
    assert (run.index, run.identity, run.outcome, run.exit_code, run.final) == (
        0, f"{OURS.uid}.1", Outcome.SUCCEEDED, 0, True,
    )  # fmt: skip
    assert (clock.to_seconds(run.started_at), clock.to_seconds(run.ended_at or clock.now())) == (STARTED, ENDED + 20)
    assert held(shown) == [(STARTED, STARTED + 5, 1, 2), (STARTED + 5, ENDED, 2, 4), (ENDED, ENDED + 20, 1, 2)]


def ended_at(second: int) -> str:
    return clock.from_seconds(second).strftime("%Y-%m-%dT%H:%M:%SZ")


def test_a_run_goes_on_while_a_node_of_it_runs_or_is_still_to_come() -> None:
    for other in ([rank(1, running())], [rank(1, waiting("ContainerCreating"))], []):
        (run,) = look(rank(0, ended()), *other).runs
        assert (run.state, run.ended_at, run.outcome, run.final) == (RunState.RUNNING, None, None, False)
    assert look(rank(0, waiting("ContainerCreating")), rank(1)).runs == ()


@pytest.mark.parametrize(
    ("pods", "outcome", "exit_code", "words"),
    [
        ((rank(0, ended(143, finished=ENDED + 2), **GONE), rank(1, ended(3))), Outcome.USER, 3, "node 1: exit code 3"),
        ((rank(0, ended(4, finished=ENDED + 1)), rank(1, ended(3))), Outcome.USER, 3, "node 1"),
        ((rank(0, ended(4)), rank(1, ended(3))), Outcome.USER, 4, "node 0"),
        ((rank(0, ended(143), **GONE), rank(1, ended(137, "OOMKilled", finished=ENDED + 1))), Outcome.LIMIT, None, "node 1: memory"),
        ((rank(0, ended(143), **GONE), rank(1, ended(143), **GONE)), Outcome.CANCELLED, None, "node 0: its pod was deleted"),
        ((rank(0, ended(2)), rank(1, deleted=ENDED, node="")), Outcome.USER, 2, "node 0"),
    ],
)  # fmt: skip
def test_a_run_ends_as_its_node_that_failed_first(
    pods: tuple[dict[str, Any], ...], outcome: Outcome, exit_code: int | None, words: str
) -> None:
    for order in permutations(pods):
        (run,) = look(*order).runs
        assert (run.outcome, run.exit_code, run.final) == (outcome, exit_code, True)
        assert words in run.detail


def test_what_was_cancelled_before_all_nodes_had_started_did_not_succeed() -> None:
    (run,) = look(rank(0, ended()), rank(1, deleted=ENDED, node=""), of=job(finished="Failed")).runs
    assert (run.outcome, run.exit_code) == (Outcome.CANCELLED, None)
    assert "not all of its nodes" in run.detail


def test_who_suspends_and_resumes_it_gives_it_a_second_run_of_those_that_had_not_succeeded() -> None:
    first = (rank(0, ended()), rank(1, ended(143), **GONE))
    again = rank(1, ended(finished=NOW), uid="pod-1-again", created=ENDED + 5)
    (run,) = look(*first).runs
    assert (run.outcome, run.final) == (Outcome.CANCELLED, True)
    before, after = look(*first, again).runs
    assert before == run
    assert (after.identity, after.outcome) == (f"{OURS.uid}.2", Outcome.SUCCEEDED)


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(1, 9)), max_size=8))
def test_what_nodes_hold_together_is_what_each_holds_second_by_second(pods: list[tuple[int, int]]) -> None:
    spans = [
        Span(start=clock.from_seconds(CREATED + at), end=clock.from_seconds(CREATED + at + length), nodes=1, cpus=3,
             memory_mib=5, accelerators=2, accelerator=H100)
        for at, length in pods
    ]  # fmt: skip
    found = summed(spans)
    assert all(one.end <= other.start for one, other in pairwise(found))
    for second in range(40):
        at = clock.from_seconds(CREATED + second)
        count = sum(span.start <= at < span.end for span in spans)
        now = [(one.nodes, one.cpus, one.memory_mib, one.accelerators) for one in found if one.start <= at < one.end]
        assert now == ([(count, 3 * count, 5 * count, 2 * count)] if count else [])


def test_a_container_of_an_array_with_gaps_waits_until_it_is_told_its_index() -> None:
    body = made(container=IMAGE, indices=(3, 1))
    template = body["spec"]["template"]["spec"]
    assert template["schedulingGates"] == [{"name": OWN_INDEX}]
    told = {one["name"]: one for one in container(body)["env"]}
    assert OWN_INDEX in told["CARAVAN_ARRAY_INDEX"]["valueFrom"]["fieldRef"]["fieldPath"]
    for other in (made(container=IMAGE, indices=(7,)), made(container=IMAGE, indices=(0, 1)), made(indices=(1, 3))):
        assert "schedulingGates" not in other["spec"]["template"]["spec"]


def test_a_pod_is_told_its_index_once() -> None:
    content = pod(place=1, indices="1,3", node="")
    gated = content | {"spec": content["spec"] | {"schedulingGates": [{"name": OWN_INDEX}]}}
    found = Submissions()
    found.take_job(records.job(job()))
    found.take_pod(records.pod(gated))
    (waits,) = found.gated()
    patch = acts.number_pod(waits.uid, waits.index)
    assert patch["metadata"] == {"uid": "pod-1", "annotations": {OWN_INDEX: "3"}}
    found.take_pod(records.pod(pod(place=1, indices="1,3", version=21)))
    assert found.gated() == []


def test_a_strangers_pod_with_our_labels_is_left_alone() -> None:
    """It is taken for ours once somebody has asked for the Job that it names, which is gone then."""
    gated, broken = pod(node=""), pod(waiting("ImagePullBackOff"), uid="pod-2")
    found = Submissions()
    for one in (gated | {"spec": gated["spec"] | {"schedulingGates": [{"name": OWN_INDEX}]}}, broken):
        found.take_pod(records.pod(one))
    assert (found.gated(), found.stuck()) == ([], [])
    found.lose_job(OURS)
    assert [pod.uid for pod in (*found.gated(), *found.stuck())] == ["pod-1", "pod-2"]


def test_what_a_centre_lets_nodes_reach_each_other_by_is_what_they_are_marked_with() -> None:
    documents = [*yaml.safe_load_all(TENANT.read_text())]
    deny, allow = [one["spec"] for one in documents if one["kind"] == "NetworkPolicy"]
    assert deny == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    nodes = {"matchExpressions": [{"key": NODES, "operator": "Exists"}]}
    assert allow["podSelector"] == nodes
    assert [one["from"] for one in allow["ingress"]] == [[{"podSelector": nodes}]]
    assert allow["egress"][0]["to"] == [{"podSelector": nodes}]
