"""The pure parts of the Slurm adapter: states, dialects, what is asked for and granted, and what records mean."""

import shlex
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from caravan.contracts.jobs import Outcome
from caravan.contracts.spec import Container, Resources
from caravan.kernel import clock
from services.broker.adapters import slurm
from services.broker.adapters.port import NotSeen, Rejected, Seen, Unavailable
from services.broker.adapters.slurm import apptainer, output, records
from services.broker.adapters.slurm.dialect import Dialect, Exit, exit_of
from services.broker.adapters.slurm.known import ABSENT_SECONDS, Known
from services.broker.adapters.slurm.reasons import plain
from services.broker.adapters.slurm.reference import Reference
from services.broker.adapters.slurm.script import batch_script, command
from services.broker.adapters.slurm.settings import Apptainer, Settings, Tenant
from services.broker.adapters.slurm.states import STATES, Stage, meaning
from services.broker.adapters.slurm.submit import ranges, request
from services.broker.adapters.slurm.tres import Accelerators, from_text
from tests.broker.slurm_answers import (
    ENDED,
    STARTED,
    SUBMITTED,
    TAG,
    exited,
    held,
    in_books,
    job_2205,
    job_2411,
    number,
    requeued,
    submission,
)

SITE: dict[str, Any] = {
    "url": "http://slurm:6820", "cluster": "caravan", "user": "slurm", "token": {"key_file": "key"}, "folder": "/shared",
}  # fmt: skip
H100 = Accelerators({"acc_h100": "gres/gpu:h100", "acc_npu": "npu"}, {})
NOW = ENDED + 100


def known(*seen: dict[str, Any], books: tuple[dict[str, Any], ...] = (), tasks: int = 0, right: bool = True) -> Known:
    """What is known after slurmctld, and then slurmdbd, has said this."""
    found = Known(Reference(7, tasks, TAG, "alice"))
    look(found, *seen)
    if books:
        found.take_books([records.from_books(job) for job in books], 0, codes_are_right=right)
    return found


def look(found: Known, *seen: dict[str, Any]) -> None:
    """What slurmctld says next."""
    told = [records.from_controller(job) for job in seen]
    found.take(told)
    found.stands([record.state for record in told], NOW)


def in_again(state: Any, exit_code: Any) -> dict[str, Any]:
    """The record of a run from a requeue on."""
    times = {"submission": NOW, "start": NOW + 5, "end": 0 if state == ["PENDING"] else NOW + 65, "elapsed": 60}
    return in_books(state, exit_code) | {"time": times}


def seen(found: Known) -> Seen:
    shown = found.seen(0, "caravan", H100)
    assert isinstance(shown, Seen)
    return shown


def test_every_state_stands_for_itself_and_the_base_state_decides_beside_a_flag() -> None:
    assert all(meaning((name,)) == told for name, told in STATES.items())
    assert meaning(("COMPLETED", "COMPLETING")) == STATES["COMPLETED"]
    assert meaning(("COMPLETING", "FAILED")) == STATES["FAILED"]
    assert meaning(("CANCELLED by 1000",)) == STATES["CANCELLED"]
    assert meaning(("RUNNING", "CONFIGURING"))[0] is Stage.RUNNING
    assert [meaning(state)[0] for state in (("HIBERNATING",), ("HIBERNATING", "COMPLETING"), ())] == [Stage.UNKNOWN] * 3


def test_a_state_that_is_new_to_us_keeps_the_submission_open() -> None:
    shown = seen(known(job_2411(["RUNNING"])))
    assert shown.runs
    found = known(job_2411(["HIBERNATING"]))
    assert found.live


@pytest.mark.parametrize(
    ("value", "exit"),
    [
        (0, Exit(0, None)), (1792, Exit(7, None)), (9, Exit(None, 9)), (139, Exit(None, 11)), (4021, None),
        (exited(7), Exit(7, None)), (exited(None, 11), Exit(None, 11)), (exited(0), Exit(0, None)), ({}, None), ("?", None),
        ({"status": "SIGNALED", "return_code": None, "signal": {"signal_id": 9, "name": "KILL"}}, Exit(None, 9)),
    ],
)  # fmt: skip
def test_exit_codes_are_read_in_every_form(value: Any, exit: Exit | None) -> None:
    assert exit_of(value) == exit


@pytest.mark.parametrize("job", [job_2205("FAILED", 1792), job_2411(["FAILED"], exited(7))])
def test_what_ended_is_final_only_when_the_books_have_its_end(job: dict[str, Any]) -> None:
    (before,) = seen(known(job)).runs
    (after,) = seen(known(job, books=(in_books("FAILED", {"return_code": 0}),))).runs
    assert (before.final, after.final) == (False, True)
    assert (before.outcome, before.exit_code) == (after.outcome, after.exit_code) == (Outcome.USER, 7)
    assert before.spans == after.spans
    (span,) = after.spans
    assert (span.nodes, span.cpus, span.memory_mib, span.accelerators, span.accelerator) == (2, 4, 2048, 4, "acc_h100")
    assert (span.end - span.start).total_seconds() == ENDED - STARTED
    assert after.identity == f"caravan:7:{SUBMITTED}"


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        ("None", ""),
        ("Resources", "等待空闲资源 waiting for free resources (Resources)"),
        ("ReqNodeNotAvail, UnavailableNodes:n1",
         "所需节点目前不可用 a node that it needs is not available now (ReqNodeNotAvail, UnavailableNodes:n1)"),
        ("AssocGrpCpuLimit", "已达到账户对总CPU的上限 the account's limit on CPUs in all is reached (AssocGrpCpuLimit)"),
        ("QOSMaxGRESPerUser", "已达到QOS对单个用户加速器的上限 the QOS's limit on accelerators of one user is reached (QOSMaxGRESPerUser)"),
        ("AssocGrpCPURunMinutesLimit",
         "已达到账户对总CPU机时的上限 the account's limit on the time of CPUs in all is reached (AssocGrpCPURunMinutesLimit)"),
        ("QOSMinCpuNotSatisfied", "低于QOS对CPU的下限 it is under the QOS's least of CPUs (QOSMinCpuNotSatisfied)"),
        ("Hibernation", "Hibernation"),
    ],
)  # fmt: skip
def test_why_a_job_waits_is_said_in_both_languages(reason: str, words: str) -> None:
    assert plain(reason) == words
    waits = job_2411(["PENDING"], start_time=number(0), state_reason=reason, tres_alloc_str="")
    assert seen(known(waits)).detail == words


def test_a_failure_never_has_exit_code_0() -> None:
    wrong = in_books("FAILED", {"status": "SUCCESS", "return_code": 0})
    found = known(books=(wrong,), right=False)
    assert [(run.outcome, run.exit_code) for run in seen(found).runs] == [(Outcome.USER, None)]
    found.take_left({(7, SUBMITTED): Exit(7, None)})
    assert [(run.outcome, run.exit_code) for run in seen(found).runs] == [(Outcome.USER, 7)]


@pytest.mark.parametrize("last", ["RUNNING", "COMPLETING", None])
def test_what_slurmctld_forgot_before_it_told_of_its_end_is_asked_of_what_the_script_left(
    last: str | None,
) -> None:
    wrong = in_books("FAILED", {"status": "SUCCESS", "return_code": 0})
    found = known(*([job_2205(last)] if last else []), books=(wrong,), right=False)
    assert found.unexplained == {(7, SUBMITTED): 0}
    found.take_left({(7, SUBMITTED): Exit(3, None)})
    assert [(run.outcome, run.exit_code) for run in seen(found).runs] == [(Outcome.USER, 3)]
    assert found.unexplained == {}


def test_a_job_cancelled_while_it_was_held_has_no_run_and_was_never_released() -> None:
    shown = seen(known(held() | {"job_state": ["CANCELLED"], "start_time": number(ENDED), "end_time": number(ENDED)}))
    assert (shown.released, shown.ended, shown.runs) == (False, True, ())


def test_one_record_stands_for_all_tasks_of_an_array_that_wait() -> None:
    waiting = {"array_job_id": number(7), "array_task_string": "2-5%2", "state_reason": "JobArrayTaskLimit"}
    first = job_2411(["COMPLETED"], job_id=8, array_job_id=number(7), array_task_id=number(1))
    shown = seen(known(held() | waiting, first, tasks=5))
    assert (shown.ended, shown.queued, [run.index for run in shown.runs]) == (False, True, [1])
    cancelled = held() | waiting | {"job_state": ["CANCELLED"]}
    assert seen(known(cancelled, first, tasks=5)).ended
    assert list(records.indices("0x27")) == [0, 1, 2, 5]
    assert list(records.indices("1-9:4,12,14-...")) == [1, 5, 9, 12]


def test_suspended_time_is_in_no_span() -> None:
    def times(found: Known) -> list[tuple[float, float]]:
        (run,) = seen(found).runs
        return [(span.start.timestamp(), span.end.timestamp()) for span in run.spans]

    resumed = {"suspend_time": number(STARTED + 30), "pre_sus_time": number(10)}
    both = [(STARTED, STARTED + 10), (STARTED + 30, ENDED)]
    stopped = {"suspend_time": number(STARTED + 10), "pre_sus_time": number(10)}
    assert times(known(job_2411(["SUSPENDED"], **stopped))) == [(STARTED, STARTED + 10)]
    assert times(known(job_2411(["COMPLETED"], **resumed))) == both
    books = in_books(["COMPLETED"], exited(0), elapsed=40)
    assert times(known(job_2411(["COMPLETED"], **resumed), books=(books,))) == both
    assert times(known(books=(books,))) == [(STARTED, STARTED + 40)]


def test_what_nobody_has_is_gone_only_after_slurmdbd_had_nothing_for_long() -> None:
    found = known()
    assert found.seen(0, "caravan", H100) == NotSeen(False, "slurmctld has no such job, and slurmdbd has nothing of it")
    found.take_books([], 5, codes_are_right=True)
    found.take_books([], 5 + ABSENT_SECONDS, codes_are_right=True)
    early, late = (found.seen(5 + at, "caravan", H100) for at in (ABSENT_SECONDS - 1, ABSENT_SECONDS))
    assert isinstance(early, NotSeen) and not early.provably_gone
    assert isinstance(late, NotSeen) and late.provably_gone


def test_a_run_that_slurmctld_forgot_before_slurmdbd_knew_it_is_metered_no_further() -> None:
    found = known(job_2411(["RUNNING"]))
    found.stands([], NOW + 500)
    (run,) = seen(found).runs
    assert run.spans[-1].end.timestamp() == seen(found).seen_at.timestamp() == NOW


def test_a_requeued_run_ends_where_the_job_waits_again() -> None:
    found = known(job_2411(["RUNNING"]))
    look(found, requeued(["PENDING"], NOW))
    shown = seen(found)
    (run,) = shown.runs
    assert (run.outcome, run.final, run.ended_at) == (Outcome.SITE, False, clock.from_seconds(NOW))
    assert (shown.queued, shown.ended) == (True, False)


def test_each_start_of_a_requeued_job_is_a_run_of_its_own_and_the_last_one_is_its_end() -> None:
    found = known(job_2411(["RUNNING"]))
    look(found, requeued(["PENDING"], NOW))
    look(found, requeued(["COMPLETED"], NOW))
    first, second = seen(found).runs
    assert (first.identity, second.identity) == (f"caravan:7:{SUBMITTED}", f"caravan:7:{NOW}")
    assert (first.outcome, second.outcome, seen(found).ended) == (Outcome.SITE, Outcome.SUCCEEDED, True)
    books = in_books(["REQUEUED"], exited(0)), in_again(["COMPLETED"], exited(0))
    found.take_books([records.from_books(job) for job in books], 0, codes_are_right=True)
    first, second = seen(found).runs
    assert (first.final, first.ended_at, first.outcome) == (True, clock.from_seconds(ENDED), Outcome.SITE)
    assert (second.final, second.outcome) == (True, Outcome.SUCCEEDED)
    assert not found.wants_books


@pytest.mark.parametrize("state", [["PENDING"], ["RUNNING"], ["COMPLETED"]])
def test_runs_that_slurmctld_has_forgotten_at_a_requeue_are_asked_for(state: list[str]) -> None:
    """An agent that was away sees the last one alone, and how often the job was requeued."""
    found = known(requeued(state, NOW))
    assert (found.wants_books, seen(found).ended) == (True, False)
    found.take_books([records.from_books(in_books(["NODE_FAIL"], exited(0)))], 0, codes_are_right=True)
    assert [run.outcome for run in seen(found).runs][:1] == [Outcome.SITE]
    assert seen(found).ended == (state == ["COMPLETED"])
    assert found.wants_books == (state == ["COMPLETED"]), "the end of its last run"


def test_a_requeued_job_that_slurmctld_has_forgotten_has_not_ended_before_the_books_have_its_last_run() -> None:
    def after(*books: dict[str, Any]) -> list[bool]:
        found = known(books=books)
        return [seen(found).ended, found.wants_books]

    assert after(in_books(["REQUEUED"], exited(0))) == [False, True]
    assert after(in_books(["NODE_FAIL"], exited(0)), in_again(["PENDING"], exited(0))) == [False, True]
    assert after(in_books(["NODE_FAIL"], exited(0)), in_again(["COMPLETED"], exited(0))) == [True, False]


def test_what_the_centre_took_back_is_the_sites_whatever_it_came_to() -> None:
    found = known(books=(in_books("FAILED", 0), in_again("COMPLETED", 0)), right=False)
    found.left = {(7, SUBMITTED): Exit(7, None)}
    first, _ = seen(found).runs
    assert (first.outcome, first.exit_code, first.detail) == (Outcome.SITE, None, STATES["REQUEUED RUN"][2])
    preempted, _ = seen(known(books=(in_books(["PREEMPTED"], exited(0)), in_again(["COMPLETED"], exited(0))))).runs
    assert (preempted.outcome, preempted.detail) == (Outcome.PREEMPTED, STATES["PREEMPTED"][2])


def test_times_that_are_expected_of_the_next_run_change_nothing_of_the_last() -> None:
    """22.05, between a requeue and the end of the epilog."""
    expected = {"submit_time": SUBMITTED, "start_time": NOW, "end_time": NOW + 300, "restart_cnt": 1}
    found = known(job_2205("RUNNING"))
    (before,) = seen(found).runs
    look(found, job_2205("COMPLETING", **expected))
    assert seen(found).runs == (before,)
    assert seen(known(job_2205("COMPLETING", **expected))).runs == ()


def test_a_requeued_job_that_is_cancelled_while_it_waits_has_no_second_run() -> None:
    """After a node failed its record holds what it was allocated before: in the books, too, without a start (24.11)."""
    times = {"start_time": number(NOW + 2), "end_time": number(NOW + 2)}
    cancelled = requeued(["CANCELLED"], NOW) | times
    never = {"submission": NOW, "start": 2**32 - 2, "end": NOW + 2, "elapsed": 0}
    books = in_books(["NODE_FAIL"], exited(0)), in_books(["CANCELLED"], exited(0)) | {"time": never}
    found = known(job_2411(["RUNNING"]))
    look(found, cancelled)
    assert (len(seen(found).runs), seen(found).ended) == (1, True)
    found.take_books([records.from_books(job) for job in books], 0, codes_are_right=True)
    away = known(books=books)
    assert seen(found).runs == seen(away).runs
    assert [(run.outcome, run.final) for run in seen(away).runs] == [(Outcome.SITE, True)]
    assert (seen(away).ended, away.wants_books) == (True, False)


def test_a_run_that_is_cancelled_in_the_second_of_its_start_still_ends() -> None:
    at_once = {"end_time": number(STARTED)}
    found = known(job_2411(["RUNNING"]))
    look(found, job_2411(["CANCELLED"], **at_once))
    assert [run.outcome for run in seen(found).runs] == [Outcome.CANCELLED]
    time = {"submission": SUBMITTED, "start": STARTED, "end": STARTED, "elapsed": 0}
    found.take_books([records.from_books(in_books(["CANCELLED"], exited(0)) | {"time": time})], 0, codes_are_right=True)
    (run,) = seen(found).runs
    assert (run.outcome, run.final, run.spans) == (Outcome.CANCELLED, True, ())


@pytest.mark.parametrize("elapsed", [0, 30])
def test_a_run_whose_end_is_before_its_start_says_so_and_is_not_taken_for_one_of_no_length(elapsed: int) -> None:
    """A clock was set back. What slurmdbd says all the same of how long it ran is passed on with that."""
    early = STARTED - 3600
    told = known(job_2411(["FAILED"], exited(3), end_time=number(early)))
    assert [(run.ended_at, run.spans, run.final) for run in seen(told).runs] == [(clock.from_seconds(early), (), False)]
    books = in_books(["FAILED"], exited(3))
    books["time"] |= {"end": early, "elapsed": elapsed}
    (run,) = seen(known(books=(books,))).runs
    assert (run.ended_at, run.final) == (clock.from_seconds(early), True)
    assert (
        run.detail
        == "exit code 3; by Slurm's books it ended before it started: a clock was set back, and how long it ran isn't known"
    )
    assert sum((span.end - span.start).total_seconds() for span in run.spans) == elapsed
    well = in_books(["COMPLETED"], exited(0))
    well["time"] |= {"end": STARTED, "elapsed": 0}
    assert [run.detail for run in seen(known(books=(well,))).runs] == [""]


@pytest.mark.parametrize("start", [0, 2**32 - 2])
def test_the_books_of_a_run_whose_start_they_lack_are_waited_for_while_slurmctld_knows_it(start: int) -> None:
    lacking = in_books(["COMPLETED"], exited(0)) | {
        "time": {"submission": SUBMITTED, "start": start, "end": ENDED, "elapsed": 0},
        "tres": {"requested": [], "allocated": []},
    }
    found = known(job_2411(["COMPLETED"]), books=(lacking,))
    (run,) = seen(found).runs
    assert (run.final, run.started_at, found.wants_books) == (False, clock.from_seconds(STARTED), True)
    found.take_books([records.from_books(in_books(["COMPLETED"], exited(0)))], 0, codes_are_right=True)
    (whole,) = seen(found).runs
    assert (whole.final, whole.spans, found.wants_books) == (True, run.spans, False)
    forgotten = known(job_2411(["COMPLETED"]), books=(lacking,))
    forgotten.stands([], NOW + 400)
    forgotten.take_books([records.from_books(lacking)], 0, codes_are_right=True)
    assert seen(forgotten).runs == (whole,) and not forgotten.wants_books


@pytest.mark.parametrize(("used_mib", "outcome", "signal"), [(101, Outcome.LIMIT, None), (100, Outcome.USER, 9)])
def test_only_the_books_tell_a_kill_for_memory_from_another(
    used_mib: int, outcome: Outcome, signal: int | None
) -> None:
    found = known(job_2205("FAILED", 9))
    assert not seen(found).ended
    assert [(run.ended_at, run.outcome) for run in seen(found).runs] == [(None, None)]
    mem = {"type": "mem", "name": None, "id": 2}
    steps = [
        {"tres": {"requested": {"total": [mem | {"count": used_mib * 2**20}]}, "allocated": [mem | {"count": 100}]}}
    ]
    killed = {"status": "SIGNALED", "return_code": None, "signal": {"signal_id": 9, "name": "Killed"}}
    books = in_books("FAILED", killed, steps=steps)
    found.take_books([records.from_books(books)], 0, codes_are_right=False)
    assert [(run.outcome, run.signal) for run in seen(found).runs] == [(outcome, signal)]
    assert seen(found).ended
    assert seen(known(books=(books,), right=False)).runs == seen(found).runs, "slurmctld may have forgotten it"


@pytest.mark.parametrize(
    ("controller", "books", "outcome"),
    [
        (job_2205("CANCELLED", 15), in_books("CANCELLED", {"status": "SUCCESS", "return_code": 0}), Outcome.CANCELLED),
        (
            job_2205("CANCELLED", 1024),
            in_books("CANCELLED", {"status": "SUCCESS", "return_code": 0}),
            Outcome.CANCELLED,
        ),
        (job_2411(["CANCELLED"], exited(None, 15)), in_books(["CANCELLED"], exited(0)), Outcome.CANCELLED),
        (job_2411(["NODE_FAIL"], exited(None, 1)), in_books(["NODE_FAIL"], exited(1)), Outcome.SITE),
    ],
)
def test_what_did_not_end_by_itself_has_no_exit_code_whoever_saw_it(
    controller: dict[str, Any], books: dict[str, Any], outcome: Outcome
) -> None:
    """The exit code or signal is another one in slurmctld and in slurmdbd, and slurmctld forgets it."""
    right = isinstance(books["state"]["current"], list)
    for found in (
        known(controller),
        known(controller, books=(books,), right=right),
        known(books=(books,), right=right),
    ):
        assert [(run.outcome, run.exit_code, run.signal) for run in seen(found).runs] == [(outcome, None, None)]


@pytest.mark.parametrize(
    ("controller", "state"),
    [
        (job_2205("FAILED", 4021, state_reason="JobLaunchFailure"), "FAILED"),
        (job_2411(["FAILED"], exited(None, 53), state_reason="RaisedSignal"), ["FAILED"]),
    ],
)
def test_a_script_whose_output_cannot_be_written_ends_the_same_whoever_saw_it(
    controller: dict[str, Any], state: Any
) -> None:
    """slurmctld of 22.05 has slurmd's error 4021, all others the signal 53: its low bits."""
    signalled = {"status": "SIGNALED", "return_code": None, "signal": {"signal_id": 53, "name": "Real-time signal 19"}}
    books, right = in_books(state, signalled if state == "FAILED" else exited(None, 53)), state != "FAILED"
    assert [run.outcome for run in seen(known(controller)).runs] in ([None], [Outcome.USER])
    (there,), (away,) = (seen(known(*jobs, books=(books,), right=right)).runs for jobs in ((controller,), ()))
    assert there == away
    assert (away.outcome, away.exit_code, away.signal) == (Outcome.USER, None, 53)
    assert "never started" in away.detail


def test_a_job_that_is_held_after_a_requeue_was_released() -> None:
    assert seen(known(requeued(["PENDING"], NOW, state_reason="JobHeldUser"))).released
    assert not seen(known(held())).released


@pytest.mark.parametrize("version", range(38, 46))
def test_a_job_is_asked_for_held_in_every_dialect(version: int) -> None:
    asked = submission(
        resources=Resources(
            nodes=2, tasks_per_node=3, cpus_per_task=4, memory_mib_per_node=2048, accelerators_per_node=2, accelerator="acc_h100",
            walltime_seconds=61,
        ),
        grant={"nodes": 2, "cpus": 24, "memory_mib": 4096, "accelerators": 4, "accelerator": "acc_h100", "max_seconds": 300},
        indices=(0, 1, 2, 7), max_parallel=3, environment={"A": "1\n2"}, target={"partition": "gpu", "qos": "high"},
        tenant_settings={"user": "alice", "account": "proj1"},
    )  # fmt: skip
    tenant = Tenant.model_validate(asked.tenant_settings)
    job = request(asked, "sit_1", Settings.model_validate(SITE), tenant, H100, Dialect(version))["job"]
    assert (job["name"], job["hold"], job["array"], job["tasks"]) == (asked.tag, True, "0-2,7%3", 6)
    assert (job["partition"], job["qos"], job["account"]) == ("gpu", "high", "proj1")
    assert job["standard_output"] == f"/shared/alice/caravan-{asked.tag}-%A.%a.out"
    assert asked.name in job["comment"]
    if version == 38:
        assert (job["time_limit"], job["nodes"], job["gres"]) == (2, [2, 2], "gpu:h100:2")
        assert job["environment"]["A"] == "1\n2"
    else:
        assert (job["time_limit"], job["minimum_nodes"], job["maximum_nodes"]) == (number(2), 2, 2)
        assert job["tres_per_node"] == "gres/gpu:h100:2"
        assert "A=1\n2" in job["environment"]


@pytest.mark.parametrize("version", [38, 42, 45])
def test_a_job_is_requeued_by_slurm_only_where_the_offering_says_so(version: int) -> None:
    def asked(target: dict[str, Any]) -> dict[str, Any]:
        body = request(submission(target=target), "sit_1", site, Tenant(user="alice"), H100, Dialect(version))
        return {name: value for name, value in body["job"].items() if "requeue" in name}

    site = Settings.model_validate(SITE)
    assert asked({}) == asked({"requeue": False}) == ({"no_requeue": True} if version == 38 else {"requeue": False})
    assert asked({"requeue": True}) == {"requeue": True}


WORDS = ("sh", "-c", "echo \"$HOME\" 'a' `id`\n二", "", "--help")


def container_job(**other: Any) -> dict[str, Any]:
    """What is asked for a job in alice's image at a site that runs such."""
    own = {
        "runtime": "apptainer", "program": "/opt/app tainer", "options": ["--bind", "/data dir"], "images": ["/shared/alice"],
        "accelerator_options": {"acc_h100": ["--nv"]},
    }  # fmt: skip
    site = Settings.model_validate({**SITE, "containers": own})
    image = Container(image="/shared/alice/a.sif", command=WORDS, args=("one more",))
    asked = submission(script=None, container=image, environment={"A": "1\n2", "PATH": "/own"}, **other)
    return request(asked, "sit_1", site, Tenant(user="alice"), H100, Dialect(38))


def test_a_container_is_run_word_by_word_in_the_tenants_folder() -> None:
    batch = container_job()["script"]
    begin, end = batch.index("(exec ") + len("(exec "), batch.index(" 2>&3 3>&-)")
    kept = ["--contain", "--no-eval", "--home", "/shared/alice", "--bind", "/shared/alice", "--pwd", "/shared/alice"]
    given = ["--workdir", "$folder", "--bind", "/data dir", "/shared/alice/a.sif", *WORDS, "one more"]
    assert shlex.split(batch[begin:end]) == ["/opt/app tainer", "exec", *kept, *given]
    assert ' --workdir "$folder" ' in batch[begin:end]
    assert batch.endswith('exit "$code"\n')


def test_a_container_without_a_command_runs_what_its_image_names() -> None:
    line = apptainer.command(Container(image="docker://a", args=("x",)), Apptainer(runtime="apptainer"), None, "/h")
    assert line.startswith("apptainer run --contain ")
    assert line.endswith(" docker://a x")


def test_only_a_job_with_that_accelerator_gets_its_options() -> None:
    granted = {
        "nodes": 1,
        "cpus": 1,
        "memory_mib": 1024,
        "accelerators": 1,
        "accelerator": "acc_h100",
        "max_seconds": 150,
    }
    assert " --nv " not in container_job()["script"]
    assert " --nv /shared/alice/a.sif " in container_job(grant=granted)["script"]


def test_the_variables_of_a_container_are_for_its_inside_alone() -> None:
    told = container_job()["job"]["environment"]
    assert (told["APPTAINERENV_A"], told["APPTAINERENV_PATH"], told["PATH"]) == (
        "1\n2",
        "/own",
        "/usr/local/bin:/usr/bin:/bin",
    )
    assert "A" not in told
    assert (told["APPTAINERENV_TMPDIR"], told["HOME"]) == ("/tmp", "/shared/alice")
    assert "CARAVAN_JOB" in told


def bundle_job(container: Container, **other: Any) -> dict[str, Any]:
    site = Settings.model_validate({**SITE, "containers": {"runtime": "slurm", "images": ["/shared/bundles"]}})
    asked = submission(script=None, container=container, environment={"A": "1", "PATH": "/own"}, **other)
    return request(asked, "sit_1", site, Tenant(user="alice"), H100, Dialect(42))


def test_a_bundle_is_a_step_on_the_first_node_with_all_that_the_job_has_there() -> None:
    wanted = Resources(nodes=2, tasks_per_node=2, cpus_per_task=3, walltime_seconds=60)
    asked = bundle_job(Container(image="/shared/bundles/a", command=WORDS, args=("one more",)), resources=wanted)
    batch = asked["script"]
    begin, end = batch.index("(exec ") + len("(exec "), batch.index(" 2>&3 3>&-)")
    one = [
        "--quiet",
        "--nodes=1",
        "--ntasks=1",
        "--ntasks-per-node=1",
        "--cpus-per-task=6",
        "--nodelist=$SLURMD_NODENAME",
    ]
    assert shlex.split(batch[begin:end]) == ["srun", *one, "--container=/shared/bundles/a", "--", *WORDS, "one more"]
    told = dict(entry.split("=", 1) for entry in asked["job"]["environment"])
    assert (told["A"], told["PATH"]) == ("1", "/usr/local/bin:/usr/bin:/bin")


def test_a_bundle_that_is_not_the_sites_or_has_no_command_is_rejected() -> None:
    for container, words in (
        (Container(image="/shared/bundles/a", args=("x",)), "command"),
        (Container(image="docker://a", command=("x",)), "image"),
        (Container(image="/shared/alice/a", command=("x",)), "image"),
    ):
        with pytest.raises(Rejected, match=words):
            bundle_job(container)


@pytest.mark.parametrize("containers", [None, {"runtime": "apptainer", "images": ["/shared/images"]}])
def test_a_container_that_the_site_does_not_run_is_rejected(containers: Any) -> None:
    asked = submission(script=None, container=Container(image="/shared/alice/a.sif"))
    site = Settings.model_validate({**SITE, "containers": containers})
    with pytest.raises(Rejected, match="image"):
        request(asked, "sit_1", site, Tenant(user="alice"), H100, Dialect(42))


def test_an_accelerator_without_a_name_at_the_site_is_rejected() -> None:
    asked = submission(
        resources=Resources(accelerators_per_node=1, accelerator="acc_dcu", walltime_seconds=60),
        grant={"nodes": 1, "cpus": 1, "memory_mib": 1024, "accelerators": 1, "accelerator": "acc_dcu", "max_seconds": 150},
    )  # fmt: skip
    with pytest.raises(Rejected, match="acc_dcu"):
        request(asked, "sit_1", Settings.model_validate(SITE), Tenant(user="alice"), H100, Dialect(42))


def test_grant_counts_whole_minutes_cores_nodes_and_what_memory_adds() -> None:
    partitions = {
        "big": {"whole_nodes": {"cpus": 64, "memory_mib": 256_000, "accelerators": 8}, "accelerator": "acc_h100"},
        "thin": {"threads_per_core": 2, "max_memory_mib_per_cpu": 1000},
    }
    site = SITE | {"partitions": partitions, "over_time_limit_minutes": 1, "kill_wait_seconds": 30}
    asked = Resources(nodes=2, cpus_per_task=3, memory_mib_per_node=4500, walltime_seconds=61)
    plain = slurm.adapter.grant(asked, {}, site)
    assert (plain.nodes, plain.cpus, plain.memory_mib, plain.max_seconds) == (2, 6, 9000, 3 * 60 + 60 + 30)
    whole = slurm.adapter.grant(asked, {"partition": "big"}, site)
    assert (whole.cpus, whole.memory_mib, whole.accelerators, whole.accelerator) == (128, 512_000, 16, "acc_h100")
    assert slurm.adapter.grant(asked, {"partition": "thin"}, site).cpus == 12
    with pytest.raises(Rejected, match="64 CPUs"):
        slurm.adapter.grant(asked.model_copy(update={"cpus_per_task": 65}), {"partition": "big"}, site)


@pytest.mark.parametrize("token", [{}, {"key_file": "a", "file": "b"}])
def test_a_site_without_one_source_of_tokens_is_refused_by_the_schema(token: dict[str, str]) -> None:
    schema = slurm.adapter.descriptor.site_settings
    (fault,) = jsonschema.Draft202012Validator(schema).iter_errors({**SITE, "token": token})
    assert [*fault.absolute_path] == ["token"]
    assert not [*jsonschema.Draft202012Validator(schema).iter_errors(SITE)]


def test_settings_that_only_the_adapter_sees_are_wrong_refuse_the_job_and_nothing_else() -> None:
    two = {**SITE, "token": {"key_file": "a", "file": "b"}, "containers": {"runtime": "apptainer"}}
    with pytest.raises(Rejected, match="token: Give exactly one"):
        slurm.adapter.grant(Resources(walltime_seconds=60), {}, two)
    assert slurm.adapter.images(two) is None


def test_a_gres_is_known_by_its_model_else_by_the_partition_else_if_it_is_the_only_one() -> None:
    two = Accelerators({"acc_h100": "gpu:h100", "acc_a100": "gpu:a100", "acc_npu": "gres/npu"}, {"old": "acc_a100"})
    assert two.held(from_text("cpu=1,gres/gpu=4,gres/gpu:h100=4"), "old") == ("acc_h100", 4)
    assert two.held({"gres/gpu": 4}, "old") == ("acc_a100", 4)
    assert two.held({"gres/gpu": 4}, "new") == (None, 4)
    assert two.held({"gres/npu": 2}, "new") == ("acc_npu", 2)
    assert from_text("cpu=8,mem=62.50G,node=1") == {"cpu": 8, "mem": 64_000, "node": 1}


@pytest.mark.parametrize(
    "text", ["", "../nothing", "7-0-tag", "0-0-tag-alice", "7-0-tag-../x", "7-0-t/g-alice", "x" * 300]
)
def test_what_is_no_reference_is_none(text: str) -> None:
    assert Reference.parse(text) is None
    assert Reference.parse("7-0-tag-hpc.al-ice") == Reference(7, 0, "tag", "hpc.al-ice")
    assert ranges([7, 1, 2, 3]) == "1-3,7"


@pytest.mark.parametrize("shell", ["dash", "bash"])
@pytest.mark.parametrize(
    ("script", "code", "left"),
    [
        ("#!/bin/sh\nexit 7\n", 7, "7"), ("exit 139", 139, "139"), ("#!/bin/sh\nkill -SEGV $$\n", -11, "-11"),
        ("#!/bin/sh -e\nfalse\necho no\n", 1, "1"), ("#!/no/such\n", 127, "127"), ("#!/usr/bin/env sh\ncat \"$0\" | wc -c\n", 0, "0"),
    ],
)  # fmt: skip
def test_the_wrapped_script_ends_as_the_script_and_leaves_its_exit_code(
    script: str, code: int, left: str, shell: str, tmp_path: Path
) -> None:
    wrapped = batch_script(command(script), script, folder=str(tmp_path), tag=TAG, user="alice", index=0, tasks=0)
    (tmp_path / "job").write_text(wrapped)
    environment = {"PATH": "/usr/bin:/bin", "SLURM_JOB_ID": "7", "TMPDIR": str(tmp_path)}
    ended = subprocess.run(
        [shell, tmp_path / "job"], env=environment, cwd=tmp_path, capture_output=True, check=False, text=True
    )
    assert ended.returncode == code
    name = Reference(7, 0, TAG, "alice").output(0, "exit")
    assert (tmp_path / name).read_text() == f"{left}\n"
    assert output.exit_left(tmp_path, name) == (Exit(None, 11) if code < 0 else Exit(code, None))
    assert sorted(entry.name for entry in tmp_path.iterdir()) == sorted([name, "job"])
    if "wc" in script:
        assert int(ended.stdout) == len(script)


def test_a_requeued_script_finds_no_exit_code_of_the_run_before(tmp_path: Path) -> None:
    name = Reference(7, 0, TAG, "alice").output(0, "exit")
    (tmp_path / name).write_text("9\n")
    script = f"#!/bin/sh\ntest -e '{tmp_path / name}' && exit 3\nexit 0\n"
    wrapped = batch_script(command(script), script, folder=str(tmp_path), tag=TAG, user="alice", index=0, tasks=0)
    environment = {"PATH": "/usr/bin:/bin", "SLURM_JOB_ID": "7", "TMPDIR": str(tmp_path)}
    (tmp_path / "job").write_text(wrapped)
    ended = subprocess.run(["/bin/sh", tmp_path / "job"], env=environment, cwd=tmp_path, check=False)
    assert ended.returncode == 0


def test_a_script_is_given_to_its_interpreter_as_the_kernel_would() -> None:
    assert command("#! /usr/bin/env  python3 -u \nx") == "/usr/bin/env 'python3 -u' \"$folder/script\""
    assert command("echo") == command("#!\n") == '/bin/sh "$folder/script"'


def test_output_is_read_only_from_a_regular_file_in_the_tenants_folder(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    folder = tmp_path / "alice"
    folder.mkdir()
    (folder / "link").symlink_to(tmp_path / "secret")
    (tmp_path / "bob").symlink_to(folder)
    subprocess.run(["mkfifo", folder / "pipe"], check=True)
    (folder / "fine").write_text("0123456789")
    for name in ("link", "pipe"):
        with pytest.raises(Unavailable):
            output.read(folder, name, 0, 100, ended=True)
    with pytest.raises(Unavailable):
        output.read(tmp_path / "bob", "fine", 0, 100, ended=True)
    with pytest.raises(FileNotFoundError):
        output.read(folder, "none", 0, 100, ended=True)
    tail = output.read(folder, "fine", -3, 100, ended=True)
    assert (tail.data, tail.offset, tail.size, tail.complete) == (b"789", 7, 10, True)
    assert not output.read(folder, "fine", 0, 5, ended=True).complete
