"""The pure parts of the Kubernetes adapter: what is asked for and granted, and what Jobs and pods mean."""

import json
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from caravan.contracts.jobs import Outcome
from caravan.contracts.spec import Container, Resources
from caravan.kernel import clock
from services.broker.adapters.kubernetes import acts, adapter, clocks, health, inventory, manifest, records
from services.broker.adapters.kubernetes.devices import Devices
from services.broker.adapters.kubernetes.failures import failure
from services.broker.adapters.kubernetes.grant import limit_seconds
from services.broker.adapters.kubernetes.reasons import CANCELLED
from services.broker.adapters.kubernetes.reference import HELD, Reference, index_at, ranges
from services.broker.adapters.kubernetes.script import FOLDER, WORK, wrapper
from services.broker.adapters.kubernetes.settings import MODEL_LABELS, SECONDS_MOST, Settings, Slice, Target, Tenant
from services.broker.adapters.kubernetes.submissions import Submissions
from services.broker.adapters.port import BackendError, NotSeen, OutcomeUnknown, Rejected, RunSeen, Seen, Unavailable
from tests.broker.kubernetes_answers import (
    CREATED,
    ENDED,
    H100,
    MARK,
    OURS,
    SITE_SETTINGS,
    STARTED,
    at,
    ended,
    job,
    meshed,
    node,
    pod,
    running,
    submission,
    unknown,
    waiting,
)

NOW = ENDED + 100
GRACE = 30
DEVICES = Devices(
    {H100: "nvidia.com/gpu:NVIDIA-H100-80GB-HBM3", "acc_910b": "huawei.com/Ascend910:910B3",
        "acc_dcu": "hygon.com/dcu", "acc_slice": "nvidia.com/gpu:A10"},
    MODEL_LABELS,
    {"acc_slice": Slice(resource="nvidia.com/gpumem", amount=8000)},
)  # fmt: skip


def look(*pods: dict[str, Any], of: dict[str, Any] | None = None, gone: bool = False) -> Seen:
    """How it stands once the watches have told of the Job (released by default) and these pods."""
    found = Submissions()
    found.take_job(records.job(of or job()), gone=gone)
    for one in pods:
        found.take_pod(records.pod(one))
    return seen(found)


def seen(found: Submissions) -> Seen:
    known = found.get(OURS)
    shown = known.seen(OURS, NOW, DEVICES, GRACE) if known else NotSeen(True)
    assert isinstance(shown, Seen)
    return shown


def run(one: dict[str, Any]) -> RunSeen:
    (found,) = look(one).runs
    return found


def made(*, site: dict[str, Any] | None = None, **how: Any) -> dict[str, Any]:
    """`site`: settings of its own."""
    asked = submission(**how)
    return manifest.job(
        asked,
        "0a1b2c3d",
        MARK,
        Settings.model_validate(SITE_SETTINGS | (site or {})),
        Tenant.model_validate(asked.tenant_settings),
        DEVICES,
    )


def container(body: dict[str, Any]) -> dict[str, Any]:
    (found,) = body["spec"]["template"]["spec"]["containers"]
    assert isinstance(found, dict)
    return found


def own(body: dict[str, Any], **how: Any) -> dict[str, str]:
    """The variables that are from a ConfigMap."""
    (source,) = container(body)["envFrom"]
    (data,) = [
        one["data"]
        for one in manifest.files(submission(**how), OURS)
        if one["metadata"]["name"] == source["configMapRef"]["name"]
    ]
    assert isinstance(data, dict)
    return data


def variables(body: dict[str, Any]) -> dict[str, str]:
    return {one["name"]: one.get("value", "") for one in container(body)["env"]}


def test_a_job_is_staged_suspended_and_a_failing_task_ends_no_other() -> None:
    body = made(indices=(3, 1, 2))
    assert body["metadata"]["name"] == OURS.name
    spec = body["spec"]
    assert (spec["suspend"], spec["completionMode"], spec["completions"], spec["parallelism"]) == (
        True,
        "Indexed",
        3,
        3,
    )
    assert (spec["backoffLimitPerIndex"], spec["podReplacementPolicy"]) == (0, "Failed")
    template = spec["template"]["spec"]
    assert (template["restartPolicy"], template["automountServiceAccountToken"]) == ("Never", False)
    assert "activeDeadlineSeconds" not in spec
    assert template["activeDeadlineSeconds"] == 60 + 120
    assert (
        container(body)["resources"]["requests"]
        == container(body)["resources"]["limits"]
        == {"cpu": "1", "memory": "256Mi"}
    )


def test_a_site_that_limits_what_a_pod_writes_keeps_so_much_for_it() -> None:
    resources = container(made(site={"disk_mib": 20_480}))["resources"]
    assert resources["requests"] == resources["limits"]
    assert resources["limits"] == {"cpu": "1", "memory": "256Mi", "ephemeral-storage": "20480Mi"}


def test_without_another_word_a_pod_is_of_the_profile_restricted() -> None:
    template = made()["spec"]["template"]["spec"]
    pods, inside = template["securityContext"], template["containers"][0]["securityContext"]
    assert pods["runAsNonRoot"] and pods["runAsUser"] and pods["seccompProfile"] == {"type": "RuntimeDefault"}
    assert inside == {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    asked = made(target={"pod_security": {"runAsUser": 7}, "container_security": {"privileged": True}})
    assert asked["spec"]["template"]["spec"]["securityContext"] == {"runAsUser": 7}
    assert container(asked)["securityContext"] == {"privileged": True}


def test_what_the_offering_fixes_is_in_the_pod() -> None:
    target = {
        "image": "registry.test/lab:2", "tolerations": [{"key": "gpu", "operator": "Exists", "effect": "NoSchedule"}],
        "priority_class": "low", "runtime_class": "kata", "service_account": "jobs", "image_pull_secrets": ["pull"],
        "node_selector": {"zone": "a"},
    }  # fmt: skip
    body = made(target=target, tenant={"namespace": "acme", "claim": "data"}, accelerators_per_node=2, accelerator=H100)
    template = body["spec"]["template"]["spec"]
    assert container(body)["image"] == "registry.test/lab:2"
    assert template["tolerations"] == target["tolerations"]
    assert (template["priorityClassName"], template["runtimeClassName"], template["serviceAccountName"]) == (
        "low",
        "kata",
        "jobs",
    )
    assert template["imagePullSecrets"] == [{"name": "pull"}]
    assert template["nodeSelector"] == {"zone": "a", "nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3"}
    assert container(body)["resources"]["limits"]["nvidia.com/gpu"] == "2"
    assert {"name": "work", "persistentVolumeClaim": {"claimName": "data"}} in template["volumes"]


def test_a_share_of_a_card_asks_for_its_memory_too() -> None:
    limits = container(made(accelerators_per_node=2, accelerator="acc_slice"))["resources"]["limits"]
    assert (limits["nvidia.com/gpu"], limits["nvidia.com/gpumem"]) == ("2", "16000")
    with pytest.raises(Rejected, match="acc_unknown"):
        made(accelerators_per_node=1, accelerator="acc_unknown")


@pytest.mark.parametrize("text", ["$(HOME)", "$$", "a$b", "${X}", "$((1+1))", 'it\'s "so"\n核时 🚀', ""])
def test_words_and_values_arrive_as_they_are_given(text: str) -> None:
    """Kubernetes makes `$` of `$$`, and leaves a single one only where nothing it knows follows."""
    program = Container(image="docker://registry.test/a:1", command=("run", text), args=(text,))
    body = made(environment={"X": text}, container=program)
    assert container(body)["command"][1].replace("$$", "$") == text
    assert container(body)["args"][0].count("$") == 2 * text.count("$")
    assert container(body)["image"] == "registry.test/a:1"
    assert own(body, environment={"X": text}, container=program) == {"X": text}


def test_no_variable_of_the_jobs_own_says_which_task_it_is() -> None:
    environment = {"JOB_COMPLETION_INDEX": "7", "CARAVAN_SUBMISSION": "x", "HOME": "/there", "CARAVAN_JOB": "y"}
    body = made(environment=environment)
    assert own(body, environment=environment) == {"HOME": "/there", "CARAVAN_JOB": "y"}
    names = [one["name"] for one in container(body)["env"]]
    # what stands there goes before what is from a ConfigMap
    assert {"CARAVAN_SUBMISSION", "CARAVAN_JOB"} <= set(names) and len(names) == len(set(names))
    assert not {"HOME", "JOB_COMPLETION_INDEX"} & set(names)
    assert variables(made())["HOME"] == WORK
    assert container(made())["envFrom"] == []


def test_what_all_tasks_of_an_array_are_told_is_kept_once_and_what_each_pod_bears_is_bounded() -> None:
    many, much = tuple(range(1000)), {f"X{n}": "x" * 60_000 for n in range(16)}
    body = made(indices=many, environment=much)
    assert len(json.dumps(body)) < 10_000
    assert own(body, environment=much) == much
    words = Container(image="docker://registry.test/a:1", command=("x" * 50_000, "x" * 50_000))
    made(container=words, indices=many[:600])
    with pytest.raises(
        Rejected, match="98 MiB of the 1000 pods of this job, and may keep 64 MiB: give an array of fewer"
    ):
        made(container=words, indices=many)


def test_a_container_knows_its_index_where_kubernetes_can_tell_it() -> None:
    image = Container(image="docker://registry.test/a:1")
    assert variables(made(container=image, indices=(7,)))["CARAVAN_ARRAY_INDEX"] == "7"
    whole = {one["name"]: one for one in container(made(container=image, indices=(2, 0, 1)))["env"]}
    assert "job-completion-index" in whole["CARAVAN_ARRAY_INDEX"]["valueFrom"]["fieldRef"]["fieldPath"]


def test_an_image_that_the_site_does_not_name_is_rejected() -> None:
    with pytest.raises(Rejected, match="this image"):
        made(container=Container(image="docker://elsewhere.test/a:1"))
    assert adapter.images(SITE_SETTINGS) == ("docker://registry.test",)
    assert adapter.images({"api": 1}) is None


@pytest.mark.parametrize(("site", "policy"), [({}, "Always"), ({"pull_images": "if_missing"}, "IfNotPresent")])
def test_nobody_runs_an_image_only_because_a_node_has_it_unless_the_site_says_so(
    site: dict[str, Any], policy: str
) -> None:
    own = made(container=Container(image="docker://registry.test/a:1"), site=site)
    assert container(own)["imagePullPolicy"] == policy
    assert "imagePullPolicy" not in container(made(site=site))


@given(st.sets(st.integers(0, 60), min_size=1))
def test_every_task_of_an_array_has_its_own_index(indices: set[int]) -> None:
    text = ranges(tuple(indices))
    assert [index_at(place, text) for place in range(len(indices))] == sorted(indices)
    with pytest.raises(ValueError, match="no task"):
        index_at(len(indices), text)


@pytest.mark.parametrize(
    "text",
    ["", "../../etc", "nothing-1", f"{OURS}.x", "a.b.c", f"acme.{OURS.name}/../x", f"Acme.{OURS.name}.{OURS.uid}"],
)
def test_nothing_but_a_reference_is_taken_for_one(text: str) -> None:
    assert Reference.parse(text) is None
    assert Reference.parse(str(OURS)) == OURS


@pytest.mark.parametrize("shell", ["dash", "bash"])
@pytest.mark.parametrize(
    ("script", "code", "said"),
    [
        ("exit 0\n", 0, False), ("#!/bin/sh\nexit 7\n", 7, False), ("#!/no/such/interpreter\n", 127, False), ("exit 139\n", 139, False),
        ("kill -SEGV $$\n", 139, True), ("#!/bin/bash -e\nfalse\nexit 0\n", 1, False), ("kill -KILL $$\n", 137, True),
        ('test "$CARAVAN_ARRAY_INDEX" = 12 || exit 9\n', 0, False),
    ],
)  # fmt: skip
def test_the_wrapper_ends_as_the_script_does(tmp_path: Path, shell: str, script: str, code: int, said: bool) -> None:
    """By each shell, with its message in the place of the container's."""
    message = tmp_path / "message"
    text = wrapper(script, "3,7-9,12").replace(FOLDER, str(tmp_path)).replace("/dev/termination-log", str(message))
    (tmp_path / "run").write_text(text)
    (tmp_path / "script").write_text(script)
    done = subprocess.run(
        [shell, tmp_path / "run"],
        env={"JOB_COMPLETION_INDEX": "9", "CARAVAN_NODES": "2", "PATH": "/usr/bin:/bin"},
        check=False,
    )
    assert (done.returncode, bool(message.read_text().strip())) == (code, said)


def test_the_grant_is_what_the_pod_asks_for_and_the_limit_that_it_gets() -> None:
    grant = submission(tasks_per_node=2, cpus_per_task=3).grant
    assert (grant.nodes, grant.cpus, grant.memory_mib, grant.max_seconds) == (1, 6, 256, 60 + 120 + 10 + 30)
    with pytest.raises(Rejected, match="settings"):
        adapter.grant(submission().resources, {}, {"api": {"by": "server", "server": "https://a", "ca": "ca"}})


@pytest.mark.parametrize(
    "api",
    [
        {"by": "server", "server": "http://a", "ca": "ca", "token": "t"}, {"by": "server", "server": "https://a", "token": "t"},
        {"by": "server", "server": "https://a", "ca": "ca", "certificate": "c"}, {"by": "kubeconfig", "file": "../kubeconfig"},
        {"by": "server", "server": "https://a", "ca": "ca", "certificate": "c", "key": "k", "token": "t"},
    ],
)  # fmt: skip
def test_a_way_to_the_server_without_checked_tls_or_with_two_credentials_is_refused(api: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="api"):
        Settings.model_validate({"api": api})


ENDS = [
    (pod(ended()), Outcome.SUCCEEDED, 0, None, ""),
    (pod(ended(3)), Outcome.USER, 3, None, "exit code 3"),
    (pod(ended(127)), Outcome.USER, 127, None, "can't be executed"),
    (pod(ended(139)), Outcome.USER, 139, None, "exit code 139"),
    (pod(ended(139, message="Segmentation fault\n")), Outcome.USER, None, 11, "signal 11"),
    (pod(ended(139, message="my own\n"), script=False), Outcome.USER, 139, None, "exit code 139"),
    (pod(ended(137, "OOMKilled")), Outcome.LIMIT, None, None, "memory"),
    (pod(ended(137), reason="Evicted", message="Pod ephemeral local storage usage exceeds"), Outcome.LIMIT, None, None, "disk"),
    (pod(ended(137), reason="DeadlineExceeded"), Outcome.LIMIT, None, None, "walltime"),
    (pod(ended(0), "Failed", reason="DeadlineExceeded"), Outcome.LIMIT, None, None, "walltime"),
    (pod(ended(0), "Failed", reason="DeadlineExceeded", given_up=CANCELLED), Outcome.CANCELLED, None, None, "cancelled"),
    (pod(ended(3), given_up=CANCELLED), Outcome.USER, 3, None, "exit code 3"),
    (pod(ended(128, "StartError", "no /bin/sh", "1970-01-01T00:00:00Z")), Outcome.SITE, None, None, "no /bin/sh"),
    (pod(ended(128, "StartError", "no run", "1970-01-01T00:00:00Z"), script=False), Outcome.USER, 128, None, "no run"),
    (pod(ended(143), deleted=ENDED + 2), Outcome.CANCELLED, None, None, "deleted"),
    (pod(ended(9), deleted=ENDED + 300), Outcome.USER, 9, None, "exit code 9"),
    (pod(ended(0), deleted=ENDED + 2), Outcome.SUCCEEDED, 0, None, ""),
    (pod(ended(137), reason="Evicted", conditions={"DisruptionTarget": {"status": "True", "reason": "TerminationByKubelet"}}),
     Outcome.SITE, None, None, "short of resources"),
    (pod(running(), "Failed", deleted=ENDED), Outcome.CANCELLED, None, None, "deleted"),
    (pod(unknown(), "Failed", script=False), Outcome.SITE, None, None, "lost it"),
    (pod(ended(255, "Unknown")), Outcome.SITE, None, None, "lost it"),
    (pod(unknown(), "Failed", reason="DeadlineExceeded"), Outcome.SITE, None, None, "didn't start within"),
    (pod(running(), "Failed", reason="UnexpectedAdmissionError", message="no device"), Outcome.SITE, None, None, "no device"),
    *(
        (pod(ended(137), conditions={"DisruptionTarget": {"status": "True", "reason": reason, "lastTransitionTime": at(ENDED)}}),
         Outcome.PREEMPTED if words == "preempted" else Outcome.SITE, None, None, words)
        for reason, words in {
            "PreemptionByScheduler": "preempted", "EvictionByEvictionAPI": "evicted", "DeletionByTaintManager": "lost",
            "DeletionByPodGC": "node is gone", "TerminationByKubelet": "short of resources", "New": "New",
        }.items()
    ),
]  # fmt: skip


@pytest.mark.parametrize(("one", "outcome", "exit_code", "signal", "words"), ENDS)
def test_each_end_that_the_cluster_tells_means_one_thing(
    one: dict[str, Any], outcome: Outcome, exit_code: int | None, signal: int | None, words: str
) -> None:
    found = run(one)
    assert (found.outcome, found.exit_code, found.signal) == (outcome, exit_code, signal)
    assert words in found.detail
    assert found.final


@pytest.mark.parametrize(("script", "outcome"), [(True, Outcome.SITE), (False, Outcome.USER)])
def test_an_image_that_never_came_is_the_fault_of_who_named_it(script: bool, outcome: Outcome) -> None:
    why = "its image can't be pulled: no such image"
    found = run(pod(unknown(), "Failed", reason="DeadlineExceeded", script=script, given_up=why))
    assert (found.outcome, found.spans, found.started_at) == (outcome, (), found.ended_at)
    assert "no such image" in found.detail


def test_usage_is_what_the_pod_asked_for_from_the_start_to_the_end_of_its_container() -> None:
    asked = {"cpu": "1500m", "memory": "1Gi", "nvidia.com/gpu": "4"}
    model = {"nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3"}
    (span,) = run(pod(ended(), requests=asked, selector=model)).spans
    assert (clock.to_seconds(span.start), clock.to_seconds(span.end)) == (STARTED, ENDED)
    assert (span.nodes, span.cpus, span.memory_mib, span.accelerators, span.accelerator) == (1, 2, 1024, 4, H100)
    (span,) = run(pod(running())).spans
    assert clock.to_seconds(span.end) == NOW
    (span,) = run(
        pod(ended(), requests=asked | {"nvidia.com/gpumem": "32000"}, selector={"nvidia.com/gpu.product": "A10"})
    ).spans
    assert (span.accelerators, span.accelerator) == (4, "acc_slice")


def test_what_a_pod_holds_stays_as_it_was_staged_whatever_the_site_calls_its_accelerators_later() -> None:
    body = made(nodes=2, accelerators_per_node=4, accelerator=H100)["spec"]["template"]
    held, asked = body["metadata"]["annotations"][HELD], body["spec"]["containers"][0]["resources"]["requests"]
    one = pod(running(), requests=asked, selector=body["spec"]["nodeSelector"], held=held)
    before = look(one)
    assert [(span.accelerators, span.accelerator) for span in before.runs[0].spans] == [(4, H100)]
    renamed = Devices({H100: "nvidia.com/gpu:NVIDIA-H100-SXM5-80GB"}, MODEL_LABELS, {})
    found = Submissions()
    found.take_job(records.job(job()))
    found.take_pod(records.pod(one))
    assert found.of(OURS).seen(OURS, NOW, renamed, GRACE) == before
    assert HELD not in made()["spec"]["template"]["metadata"]["annotations"]


def test_of_several_containers_the_jobs_own_tells_the_end_the_times_and_what_is_billed() -> None:
    found = run(meshed(pod(ended(7), "Failed"), ended(0, started=at(STARTED - 4), finished=ENDED + 40)))
    assert (found.outcome, found.exit_code) == (Outcome.USER, 7)
    (span,) = found.spans
    assert (clock.to_seconds(span.start), clock.to_seconds(span.end), span.cpus) == (STARTED, ENDED, 2)
    still = run(meshed(pod(ended(7), "Running"), running(STARTED - 4)))
    assert (still.outcome, still.spans) == (Outcome.USER, (span,))
    assert look(meshed(pod(waiting("ContainerCreating")), running())).runs == ()


def test_a_task_that_succeeded_did_so_whatever_becomes_of_what_is_beside_it() -> None:
    found = run(meshed(pod(ended(0), "Failed"), ended(1)))
    assert (found.outcome, found.exit_code) == (Outcome.SUCCEEDED, 0)


@pytest.mark.parametrize(("code", "outcome"), [(0, Outcome.SUCCEEDED), (7, Outcome.USER)])
def test_what_is_beside_a_task_that_has_ended_cannot_have_it_reach_a_time_limit(code: int, outcome: Outcome) -> None:
    def cut(seconds: int) -> RunSeen:
        late = pod(ended(code), "Failed", reason="DeadlineExceeded", startTime=at(CREATED), deadline=seconds)
        return run(meshed(late, ended(137, finished=CREATED + seconds)))

    in_time, just_then = cut(ENDED - CREATED + 1), cut(ENDED - CREATED)
    assert (in_time.outcome, in_time.exit_code, just_then.outcome) == (outcome, code, Outcome.LIMIT)


def test_of_a_lost_node_the_run_ends_when_its_silence_was_noticed() -> None:
    silence = {
        "Ready": {"status": "False", "lastTransitionTime": at(STARTED + 50)},
        "DisruptionTarget": {
            "status": "True",
            "reason": "DeletionByTaintManager",
            "lastTransitionTime": at(STARTED + 350),
        },
    }
    still = pod(running(), conditions=silence, deleted=STARTED + 380)
    assert not look(still, gone=True).ended
    found = run(pod(running(), "Failed", conditions=silence, deleted=STARTED + 380))
    assert (found.outcome, clock.to_seconds(found.ended_at or clock.now())) == (Outcome.SITE, STARTED + 50)
    # a container beside the job's own was never ready, by the kubelet's word: that is no silence
    unready = silence | {
        "Ready": {"status": "False", "reason": "ContainersNotReady", "lastTransitionTime": at(STARTED)}
    }
    found = run(pod(running(), "Failed", conditions=unready, deleted=STARTED + 380))
    assert (found.outcome, clock.to_seconds(found.ended_at or clock.now())) == (Outcome.SITE, STARTED + 350)


def test_what_a_node_does_not_speak_of_any_more_is_billed_up_to_its_silence_and_not_ended() -> None:
    found = Submissions()
    found.take_job(records.job(job()))

    def held(version: int, **how: Any) -> tuple[int, set[str]]:
        found.take_pod(records.pod(pod(running(), version=version, **how)))
        (told,) = seen(found).runs
        assert (told.ended_at, told.final) == (None, False)
        return clock.to_seconds(told.spans[-1].end), found.silent_nodes()

    # the node controller gives no reason, the kubelet does: its word may be about another container of the pod's
    silent = {"Ready": {"status": "False", "lastTransitionTime": at(STARTED + 50)}}
    unready = {"Ready": silent["Ready"] | {"reason": "ContainersNotReady"}}
    preempted = {
        "DisruptionTarget": {
            "status": "True",
            "reason": "PreemptionByScheduler",
            "lastTransitionTime": at(STARTED + 50),
        }
    }
    assert held(21, conditions=unready, deleted=NOW + 30) == (NOW, set())
    assert held(22, conditions=preempted, deleted=NOW + 30) == (NOW, set())
    assert held(23, conditions=silent) == (STARTED + 50, {"n0"})
    assert held(24, conditions=silent, deleted=STARTED + 380) == (STARTED + 50, {"n0"})
    assert held(25, deleted=STARTED + 380) == (NOW, set())
    found.take_pod(records.pod(pod(ended(137), version=26, deleted=STARTED + 380)))
    (told,) = seen(found).runs
    assert (told.final, clock.to_seconds(told.spans[-1].end), found.silent_nodes()) == (True, ENDED, set())


BOUND = {"PodScheduled": {"status": "True", "lastTransitionTime": at(STARTED - 2)}}


def by_clock(ahead: int) -> dict[str, Any]:
    """As the kubelet of a node tells of it whose clock is so far ahead."""
    state = ended(7, started=at(STARTED + ahead), finished=ENDED + ahead)
    return pod(state, version=21, conditions=BOUND, written=ENDED + 1)


@pytest.mark.parametrize("ahead", [-8 * 3600, -130, 130, 8 * 3600])
def test_a_nodes_clock_that_must_be_wrong_is_put_right_by_the_clusters_and_the_node_is_named(ahead: int) -> None:
    found = Submissions()
    found.take_job(records.job(job()))
    found.take_pod(records.pod(pod(running(STARTED + ahead), conditions=BOUND, written=STARTED + 1)))
    (told,) = seen(found).runs
    assert abs(clock.to_seconds(told.started_at) - STARTED) <= 2
    assert clock.to_seconds(told.spans[0].end) == NOW
    found.take_pod(records.pod(by_clock(ahead)))
    (told,) = seen(found).runs
    (span,) = told.spans
    assert abs(clock.to_seconds(span.start) - STARTED) <= 2
    assert (span.end - span.start).total_seconds() == ENDED - STARTED
    assert (told.outcome, told.exit_code, found.wrong_nodes()) == (Outcome.USER, 7, {"n0"})


@pytest.mark.parametrize("ahead", [-120, -3, 0, 3, 119])
def test_what_a_nodes_clock_says_within_the_lag_of_the_books_stays(ahead: int) -> None:
    found = Submissions()
    found.take_job(records.job(job()))
    found.take_pod(records.pod(by_clock(ahead)))
    ((span,),) = (told.spans for told in seen(found).runs)
    assert (clock.to_seconds(span.start), clock.to_seconds(span.end)) == (STARTED + ahead, ENDED + ahead)
    assert found.wrong_nodes() == set()


@pytest.mark.parametrize("note", ["", CANCELLED])
@pytest.mark.parametrize("ahead", [-8 * 3600, 8 * 3600])
def test_a_time_limit_is_reached_also_where_a_nodes_clock_must_be_wrong(ahead: int, note: str) -> None:
    """The pod's deadline is by the same clock as its container's times."""
    late = pod(
        ended(137, started=at(STARTED + ahead), finished=ENDED + ahead), "Failed", reason="DeadlineExceeded", given_up=note,
        conditions=BOUND, written=ENDED + 1, startTime=at(STARTED + ahead - 1), deadline=ENDED - STARTED,
    )  # fmt: skip
    assert run(late).outcome is (Outcome.CANCELLED if note else Outcome.LIMIT)


def test_a_clock_that_was_set_while_the_container_ran_makes_its_run_no_longer() -> None:
    found = run(pod(ended(started=at(STARTED - 8 * 3600)), conditions=BOUND, written=ENDED + 1))
    (span,) = found.spans
    assert (clock.to_seconds(span.start), clock.to_seconds(span.end)) == (STARTED - 2, ENDED + 1)


SECOND = st.integers(CREATED - 10**5, CREATED + 10**5)


@given(SECOND, st.integers(0, 10**5), st.none() | SECOND, st.none() | SECOND)
def test_no_clock_has_a_run_outside_of_what_can_be(bound: int, later: int, start: int | None, end: int | None) -> None:
    one = replace(records.pod(pod(running())), bound=bound, told=bound + later, started=start, finished=end)
    there = clocks.righted(one)
    assert (there.started is None, there.finished is None) == (start is None, end is None)
    assert all(bound - 120 <= second <= bound + later + 120 for second in (there.started, there.finished) if second)


def test_nodes_that_are_silent_are_named_a_few_of_them() -> None:
    (told,) = health.faults(0.1, 0, [inventory.node(node(), DEVICES)], (), {f"n{number}" for number in range(9)}, ())
    assert "n0, n1, n2, n3, n4, …" in told
    (told,) = health.faults(0.1, 0, [inventory.node(node(), DEVICES)], (), (), {"n7"})
    assert "clocks of nodes" in told and "n7" in told
    assert health.faults(0.1, 0, [inventory.node(node(), DEVICES)], (), (), ()) == ()


def test_a_second_pod_of_an_index_is_a_second_run() -> None:
    first = pod(
        ended(137),
        conditions={
            "DisruptionTarget": {"status": "True", "reason": "PreemptionByScheduler", "lastTransitionTime": at(ENDED)}
        },
    )
    shown = look(first, pod(running(), uid="pod-2"))
    assert [(run.index, run.identity, run.outcome) for run in shown.runs] == [
        (0, "pod-1", Outcome.PREEMPTED),
        (0, "pod-2", None),
    ]
    assert not shown.ended


def test_a_pod_tells_the_arrays_index_and_not_its_place() -> None:
    assert run(pod(running(), place=2, indices="1,3,7-9")).index == 7


def test_what_was_deleted_before_it_had_a_node_never_ran() -> None:
    shown = look(pod(deleted=ENDED, node=""), gone=True)
    assert (shown.runs, shown.released) == ((), True)


def test_a_job_has_ended_only_by_its_last_word_and_that_of_its_pods() -> None:
    assert not look(pod(ended(1))).ended
    assert not look(pod(running()), of=job(finished="Failed", status={"failed": 1})).ended
    assert look(pod(ended(1)), of=job(finished="Failed", status={"failed": 1})).ended


def test_pods_that_a_finished_job_speaks_of_and_nobody_has_seen_are_looked_for() -> None:
    found = Submissions()
    found.take_job(records.job(job(finished="Complete", status={"succeeded": 2})))
    found.take_pod(records.pod(pod(ended())))
    known = found.of(OURS)
    assert known.wants_pods
    assert not seen(found).ended
    known.pods_read = True
    assert seen(found).ended


def test_what_was_cancelled_before_it_was_released_has_ended_without_a_run() -> None:
    shown = look(of=job(suspended=True, released=False), gone=True)
    assert (shown.released, shown.ended, shown.runs) == (False, True, ())


def test_who_suspends_what_was_released_does_not_make_it_staged_again() -> None:
    found = Submissions()
    found.take_job(records.job(job(suspended=True)))
    assert found.staged() == []
    assert "suspended by the centre" in seen(found).detail
    found.take_job(
        records.job(job(suspended=True, released=False) | {"metadata": job(released=False, version=11)["metadata"]})
    )
    assert [staged.reference for staged in found.staged()] == [str(OURS)]


@pytest.mark.parametrize(
    ("one", "words"),
    [
        (pod(node="", conditions={"PodScheduled": {"status": "False", "reason": "Unschedulable", "message": "0/1 nodes are available"}}),
         "等待空闲资源 waiting for free resources (0/1 nodes are available)"),
        (pod(waiting("ErrImagePull", "no such host")), "无法拉取镜像 its image can't be pulled (no such host)"),
        (pod(waiting("ContainerCreating")), "正在启动 starting"),
        (pod({"waiting": {}}, made=True), "容器未能启动 its container was made, and isn't started"),
    ],
)  # fmt: skip
def test_why_a_job_waits_is_said_in_both_languages(one: dict[str, Any], words: str) -> None:
    shown = look(one)
    assert shown.queued
    assert words in shown.detail


def test_a_quota_that_is_reached_is_heard_of_in_events() -> None:
    found = Submissions()
    said = {
        "involvedObject": {"namespace": OURS.namespace, "name": OURS.name, "uid": OURS.uid},
        "message": 'pods "x" is forbidden: exceeded quota: q, requested: cpu=2',
    }
    found.take_complaint(records.complaint(said))
    found.take_job(records.job(job()))
    found.take_complaint(records.complaint(said))
    assert "quota is reached (pods" in seen(found).detail
    found.take_complaint(records.complaint(said | {"message": "violates PodSecurity"}))
    assert "takes no pods of this job for now (violates" in seen(found).detail


def test_old_news_and_doubled_news_change_nothing() -> None:
    found = Submissions()
    found.take_job(records.job(job(version=12, finished="Complete", status={"succeeded": 1})))
    found.take_pod(records.pod(pod(ended(), version=22)))
    before = seen(found)
    assert found.changed() == [str(OURS)]
    found.take_job(records.job(job(version=11)))
    found.take_job(records.job(job(version=13, finished="Complete", status={"succeeded": 1})))
    found.take_pod(records.pod(pod(running(), version=21)))
    found.take_pod(records.pod(pod(ended(), version=23, conditions={"PodReadyToStartContainers": {"status": "False"}})))
    assert found.changed() == []
    assert seen(found) == before


def test_what_had_ended_by_itself_was_not_ended_by_its_deletion() -> None:
    found = Submissions()
    found.take_job(records.job(job()))
    found.take_pod(records.pod(pod(ended(5), version=21)))
    found.take_pod(records.pod(pod(ended(5), version=22, deleted=ENDED + 1)), gone=True)
    (told,) = seen(found).runs
    assert (told.outcome, told.exit_code) == (Outcome.USER, 5)


def test_a_start_that_was_seen_is_not_forgotten_with_the_kubelets_memory() -> None:
    found = Submissions()
    found.take_job(records.job(job()))
    found.take_pod(records.pod(pod(running(), version=21)))
    silence = {"Ready": {"status": "False", "lastTransitionTime": at(ENDED)}}
    found.take_pod(records.pod(pod(unknown(), "Failed", version=22, conditions=silence)))
    (told,) = seen(found).runs
    assert (told.outcome, clock.to_seconds(told.started_at)) == (Outcome.SITE, STARTED)


def test_a_list_tells_what_is_gone_but_not_of_what_is_newer() -> None:
    found = Submissions()
    found.take_job(records.job(job(version=12)))
    found.take_pod(records.pod(pod(running(), version=22)))
    found.keep_jobs((), 11)
    found.keep_pods((), 21, NOW)
    assert not found.of(OURS).gone
    assert seen(found).runs[0].ended_at is None
    found.keep_jobs((), 12)
    found.keep_pods((), 22, NOW)
    (told,) = seen(found).runs
    assert (told.outcome, clock.to_seconds(told.ended_at or clock.now())) == (Outcome.CANCELLED, NOW)


@given(st.permutations(["job", "ours", "theirs"]), st.booleans())
def test_a_pod_elsewhere_that_bears_a_jobs_uid_is_not_the_jobs(order: list[str], gone: bool) -> None:
    """Whatever is heard of first, also where the Job was gone before."""
    theirs = pod(running(), uid="pod-2", version=21, requests={"cpu": "64", "memory": "1Gi"})
    theirs["metadata"]["namespace"] = "stranger"
    found = Submissions()
    tell = {
        "job": lambda: found.lose_job(OURS) if gone else found.take_job(records.job(job())),
        "ours": lambda: found.take_pod(records.pod(pod(running()))),
        "theirs": lambda: found.take_pod(records.pod(theirs)),
    }
    for one in order:
        tell[one]()
    (told,) = seen(found).runs
    assert (told.identity, told.spans[0].cpus) == ("pod-1", 2)
    found.keep_jobs((), 100)
    assert found.of(OURS).gone


def test_what_was_forgotten_elsewhere_is_dropped_here_and_stays_so() -> None:
    found = Submissions()
    found.take_job(records.job(job()))
    found.take_job(records.job(job(version=11, labels={"caravan/site": None})))
    found.take_pod(records.pod(pod(ended())))
    assert found.get(OURS) is None
    assert found.changed() == []


def test_each_change_names_the_uid_of_what_it_means() -> None:
    patches = (acts.release(OURS, ""), acts.release(OURS, "here"), acts.forget(OURS, 60))
    assert {patch["metadata"]["uid"] for patch in patches} == {OURS.uid}
    assert acts.delete(OURS)["preconditions"] == {"uid": OURS.uid}
    assert acts.delete(OURS, 12)["preconditions"] == {"uid": OURS.uid, "resourceVersion": "12"}
    assert acts.delete(OURS)["propagationPolicy"] == "Background"


@pytest.mark.parametrize(
    ("status", "message", "error"),
    [
        (403, 'jobs.batch "x" is forbidden: exceeded quota: q', Unavailable),
        (403, 'jobs.batch is forbidden: User "alice" cannot create resource "jobs"', Unavailable),
        (403, 'admission webhook "policy" denied the request: no', Rejected), (422, "Invalid", Rejected),
        (400, "strict decoding", Rejected),
        (413, "too large", Rejected), (429, "too many", Unavailable), (401, "", Unavailable), (500, "etcdserver", OutcomeUnknown),
        (503, "", OutcomeUnknown), (504, "Timeout", OutcomeUnknown),
    ],
)  # fmt: skip
def test_what_the_server_refuses_means_what_its_words_and_number_say(
    status: int, message: str, error: type[BackendError]
) -> None:
    found = failure(status, {"kind": "Status", "message": message, "code": status})
    assert type(found.of_act()) is error
    assert type(found.of_read()) is Unavailable
    assert type(failure(502, None).of_act()) is OutcomeUnknown


def test_nodes_of_one_shape_are_a_part_and_an_offering_on_it_tolerates_their_taints() -> None:
    taint = {"key": "gpu", "value": "yes", "effect": "NoSchedule"}
    model = {"nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3"}
    seen = [
        node("n0"), node("n1", cordoned=True),
        node("n2", labels=model, taints=[taint], extra={"nvidia.com/gpu": "8"}),
        node("n3", labels=model, taints=[taint, {"key": "node.kubernetes.io/not-ready", "effect": "NoExecute"}], ready="Unknown",
             extra={"nvidia.com/gpu": "8"}),
        node("n4", labels={"node.kubernetes.io/npu.chip.name": "910B3"}, extra={"huawei.com/Ascend910": "16"}),
        node("n5", extra={"hygon.com/dcu": "4"}),
    ]  # fmt: skip
    nodes = [inventory.node(one, DEVICES) for one in seen]
    parts = {item.name: item for item in inventory.items(nodes, {}, ())}
    assert parts.keys() == {
        "cpu",
        "nvidia.com/gpu:NVIDIA-H100-80GB-HBM3",
        "huawei.com/Ascend910:910B3",
        "hygon.com/dcu",
    }
    cpu, gpu = parts["cpu"], parts["nvidia.com/gpu:NVIDIA-H100-80GB-HBM3"]
    assert (cpu.nodes, cpu.nodes_out, cpu.cpus_per_node, cpu.memory_mib_per_node) == (2, 1, 7, 15899)
    assert (gpu.nodes, gpu.nodes_out, gpu.accelerators_per_node) == (2, 1, 8)
    assert gpu.target == {"tolerations": [{"key": "gpu", "operator": "Equal", "value": "yes", "effect": "NoSchedule"}]}
    big, some = submission(cpus_per_task=8).grant, submission(accelerators_per_node=8, accelerator=H100).grant
    assert inventory.why_not(submission().grant, None, {}, nodes) is None
    assert "8 CPUs" in (inventory.why_not(big, None, {}, nodes) or "")
    assert inventory.why_not(some, "nvidia.com/gpu:NVIDIA-H100-80GB-HBM3", {}, nodes) is None
    assert inventory.why_not(some, "nvidia.com/gpu:A100", {}, nodes)
    assert inventory.why_not(submission().grant, None, {"zone": "a"}, nodes)


def test_what_a_real_cluster_said_is_read_as_it_was_meant() -> None:
    """An array of the indexes 7 and 9 of which each task exited with 3, and the node that it ran on: 1.34.4, all fields."""
    told = json.loads((Path(__file__).parent / "kubernetes_seen.json").read_text())
    reference, found = Reference.parse(told["reference"]), Submissions()
    assert reference is not None
    found.take_job(records.job(told["job"]))
    for one in told["pods"]:
        found.take_pod(records.pod(one))
    shown = found.of(reference).seen(reference, NOW, DEVICES, GRACE)
    assert isinstance(shown, Seen) and shown.ended and shown.released
    assert [(run.index, run.outcome, run.exit_code) for run in shown.runs] == [
        (7, Outcome.USER, 3),
        (9, Outcome.USER, 3),
    ]
    assert all(run.started_at <= (run.ended_at or run.started_at) for run in shown.runs)
    (part,) = inventory.items([inventory.node(told["node"], DEVICES)], {}, ())
    assert (part.accelerator_backend_name, part.accelerators_per_node, part.nodes_out) == (
        "nvidia.com/gpu:NVIDIA-H100-80GB-HBM3", 8, 0,
    )  # fmt: skip


def test_a_job_may_have_all_nodes_of_a_part() -> None:
    (part,) = inventory.items([inventory.node(node(str(number)), DEVICES) for number in range(3)], {}, ())
    assert part.nodes == part.limits.nodes == 3


def test_what_the_adapter_announces_is_a_schema() -> None:
    assert json.dumps(adapter.descriptor.site_settings)
    assert "api" in adapter.descriptor.site_settings["required"]
    assert CREATED < STARTED < ENDED


@pytest.mark.parametrize("image", ["docker://a:1", "https://a/b", "a//b", "a:", "a/", "a:/b"])
def test_an_image_with_another_form_than_kubernetes_has_is_no_offerings(image: str) -> None:
    with pytest.raises(ValidationError, match="image"):
        Target.model_validate({"image": image})


def test_images_of_a_registry_with_a_port_a_tag_and_a_digest_are_an_offerings() -> None:
    for image in (
        "a",
        "a:1",
        "registry.test:5000/lab/a:1",
        f"registry.test/a@sha256:{'0' * 64}",
        f"a:1@sha256:{'0' * 64}",
    ):
        assert Target.model_validate({"image": image}).image == image


@pytest.mark.parametrize("name", ["start_seconds", "keep_jobs_seconds", "keep_output_seconds"])
def test_a_job_never_gets_more_seconds_than_kubernetes_takes(name: str) -> None:
    most = Settings.model_validate(SITE_SETTINGS | {name: SECONDS_MOST})
    assert limit_seconds(Resources(walltime_seconds=366 * 86_400), most) < 2**31
    assert most.stays_seconds < 2**31
    with pytest.raises(ValidationError, match=name):
        Settings.model_validate(SITE_SETTINGS | {name: SECONDS_MOST + 1})
