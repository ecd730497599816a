"""The checker of how jobs end on Slurm sees each thing that is planted in sacct's rows or in what the API tells."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from bench.independent.slurm_runs import Row
from bench.independent.slurm_runs import rows as read
from bench.slurm_ends.asked import COMPLETED, KILLED_FOR_MEMORY, NEVER, Asked, End
from bench.slurm_ends.compare import Difference, Seconds, Task, Told, bill, compare

SAID = """\
2|2|a|1000|1001|1011|10|billing=2,cpu=2,mem=256M,node=1|COMPLETED|0:0
3|3|b|1000|1002|1022|20|billing=2,cpu=2,mem=256M,node=1|FAILED|7:0
4|4|c|1000|1002|1008|6|billing=4,cpu=4,gres/gpu:h100=6,gres/gpu=6,mem=512M,node=2|FAILED|0:11
5|5|d|1000|1003|1073|70|cpu=2,mem=256M,node=1|TIMEOUT|0:0
6|6|e|1000|None|1005|0||CANCELLED by 0|0:0
7|7|f|1000|1004|1012|8|cpu=2,mem=256M,node=1|CANCELLED by 47001|0:15
8|8|g|1000|1004|1010|6|cpu=2,mem=256M,node=1|FAILED|0:9
9|9|h|1000|1004|1009|5|cpu=2,mem=256M,node=1|REQUEUED|0:0
9|9|h|1010|1020|1023|3|cpu=2,mem=256M,node=1|COMPLETED|0:0
"""
ASKED = (
    Asked("success", ""),
    Asked("exit-7", "", {0: End("FAILED", code=7)}),
    Asked("signal", "", {0: End("FAILED", signal=11)}, nodes=2, accelerators_per_node=3),
    Asked("timeout", "", {0: End("TIMEOUT")}),
    Asked("never", "", {0: NEVER}),
    Asked("cancelled", "", {0: End("CANCELLED")}),
    Asked("memory", "", {0: KILLED_FOR_MEMORY}),
    Asked("requeued", "", requeues=1),
)


def told_of(
    asked: Asked,
    row: Row | None,
    state: str,
    outcome: str | None = None,
    code: int | None = None,
    signal: int | None = None,
) -> Told:
    """As the API should tell it."""
    if row is None:
        never = Task(0, state, None, None, None, None, None, None, None)
        return Told(asked.name, state, [never], {}, {}, frozenset())
    task = Task(
        index=0,
        state=state,
        identity=identity(row),
        outcome=outcome,
        exit_code=code,
        signal=signal,
        log=f"{asked.name} 0\n",
        started=row.start,
        ended=row.end,
    )
    models = frozenset({"acc_h100"} if row.accelerators else ())
    return Told(asked.name, state, [task], {identity(row): seconds(row)}, {"organization": bill([row])}, models)


def identity(row: Row) -> str:
    return f"caravan:{row.job}:{row.submitted}"


def seconds(row: Row) -> Seconds:
    held = row.seconds
    return Seconds(held * row.cpus, held * row.nodes, held * row.accelerators.get("gres/gpu:h100", 0))


def rows() -> list[Row]:
    return read(SAID)


def told() -> dict[str, Told]:
    two, three, four, five, _, seven, eight, first, nine = rows()
    of = dict(zip((one.name for one in ASKED), ASKED, strict=True))
    requeued = told_of(of["requeued"], nine, "succeeded", "succeeded", 0)
    return {
        "success": told_of(of["success"], two, "succeeded", "succeeded", 0),
        "exit-7": told_of(of["exit-7"], three, "failed", "user", 7),
        "signal": told_of(of["signal"], four, "failed", "user", None, 11),
        "timeout": told_of(of["timeout"], five, "failed", "limit"),
        "never": told_of(of["never"], None, "cancelled"),
        "cancelled": told_of(of["cancelled"], seven, "cancelled", "cancelled"),
        "memory": told_of(of["memory"], eight, "failed", "limit"),
        "requeued": replace(
            requeued,
            usage={**requeued.usage, identity(first): seconds(first)},
            billed={**requeued.billed, "provider": bill([first], once=0)},
        ),
    }


def found(told: dict[str, Told], rows: Sequence[Row]) -> list[Difference]:
    return compare(ASKED, told, rows, "acc_h100").differences


def test_nothing_differs_where_both_say_the_same() -> None:
    assert found(told(), rows()) == []


@pytest.mark.parametrize(
    ("line", "change", "where", "fields"),
    [
        (3, {"code": 8}, "exit-7", {"sacct's exit", "exit code"}),
        (4, {"signal": 9}, "signal", {"sacct's exit", "signal"}),
        (2, {"state": "TIMEOUT"}, "success", {"sacct's state", "task's state", "outcome", "exit code"}),
        (
            7,
            {"state": "COMPLETED"},
            "cancelled",
            {"sacct's state", "task's state", "outcome", "sacct's exit", "signal"},
        ),
        (8, {"code": 1}, "memory", {"sacct's exit"}),
        (2, {"start": 1000}, "success", {"start", "whether it was suspended"}),
        (2, {"end": 1012}, "success", {"end", "whether it was suspended"}),
        (2, {"cpus": 4}, "success", {"usage", "cpu_core_hour billed to the organization"}),
        (4, {"nodes": 1}, "signal", {"usage", "node_hour billed to the organization", "nodes that sacct has"}),
        (
            4,
            {"accelerators": {"gres/gpu": 6}},
            "signal",
            {"usage", "accelerators that sacct has"},
        ),
        (
            4,
            {"accelerators": {}},
            "signal",
            {
                "usage",
                "accelerator_hour billed to the organization",
                "accelerators' model",
                "accelerators that sacct has",
            },
        ),
    ],
)
def test_one_altered_row_of_sacct_is_named(line: int, change: dict[str, object], where: str, fields: set[str]) -> None:
    altered = [replace(row, **change) if row.job == line else row for row in rows()]  # type: ignore[arg-type]
    differences = found(told(), altered)
    assert {one.field for one in differences} == fields
    assert {one.where for one in differences} == {where}


def test_one_more_second_in_sacct_is_seen_in_each_kind_of_seconds() -> None:
    altered = [replace(row, seconds=row.seconds + 1) if row.job == 4 else row for row in rows()]
    right, wrong = Seconds(28, 14, 42), Seconds(24, 12, 36)
    assert [(one.field, one.expected, one.found) for one in found(told(), altered)] == [
        ("usage", {"caravan:4:1000": right}, {"caravan:4:1000": wrong}),
        ("accelerator_hour billed to the organization", (42, 29), (36, 25)),
        ("cpu_core_hour billed to the organization", (28, 11), (24, 9)),
        ("memory_gib_hour billed to the organization", (3584, 0), (3072, 0)),
        ("node_hour billed to the organization", (14, 0), (12, 0)),
    ]


@pytest.mark.parametrize("component", ["cpu_core_hour", "job"])
def test_one_more_fen_is_named_with_its_component(component: str) -> None:
    wrong = told()
    quantity, fen = wrong["success"].billed["organization"][component]
    billed = {**wrong["success"].billed["organization"], component: (quantity, fen + 1)}
    wrong["success"] = replace(wrong["success"], billed={"organization": billed})
    (difference,) = found(wrong, rows())
    assert (difference.where, difference.field) == ("success", f"{component} billed to the organization")


def test_a_bill_to_whom_nothing_should_go_is_named() -> None:
    wrong = told()
    wrong["success"] = replace(wrong["success"], billed={**wrong["success"].billed, "platform": {"job": (1, 3)}})
    assert [one.field for one in found(wrong, rows())] == ["job billed to the platform"]


def test_an_allocation_that_the_api_has_no_run_of_is_named() -> None:
    more = replace(rows()[0], job=10)
    (difference,) = found(told(), [*rows(), more])
    assert (difference.where, difference.expected, difference.found) == ("sacct", [], [10])


def test_a_run_that_was_taken_back_and_nobody_asked_to_is_named() -> None:
    again = replace(rows()[0], submitted=900, start=901, end=902, seconds=1, state="REQUEUED")
    assert [(one.where, one.field) for one in found(told(), [again, *rows()])] == [
        ("success", "runs that were taken back"), ("success", "usage"),
        *(("success", f"{one} billed to the provider") for one in ("cpu_core_hour", "memory_gib_hour", "node_hour")),
    ]  # fmt: skip


def test_a_requeue_that_did_not_happen_is_named() -> None:
    *others, _, last = rows()
    assert "runs that were taken back" in {one.field for one in found(told(), [*others, last])}


@pytest.mark.parametrize(
    ("change", "field"),
    [
        (lambda one: replace(one, log="exit-7"), "log"),
        (lambda one: replace(one, state="succeeded"), "task's state"),
        (lambda one: replace(one, exit_code=None), "exit code"),
        (lambda one: replace(one, signal=7), "signal"),
        (lambda one: replace(one, identity=None), "sacct's state"),
    ],
)
def test_what_the_api_tells_wrongly_of_a_task_is_named(change: Callable[[Task], Task], field: str) -> None:
    wrong = told()
    wrong["exit-7"] = replace(wrong["exit-7"], tasks=[change(wrong["exit-7"].tasks[0])])
    assert ("exit-7", field) in {(one.where, one.field) for one in found(wrong, rows())}


@pytest.mark.parametrize("name", ["timeout", "requeued"])
def test_seconds_at_the_wrong_bearer_are_named(name: str) -> None:
    wrong = told()
    billed = wrong[name].billed
    swapped = {"provider": billed["organization"], "organization": billed.get("provider", {})}
    wrong[name] = replace(wrong[name], billed=swapped)
    differences = found(wrong, rows())
    assert {one.where for one in differences} == {name}
    assert {one.field.rpartition(" ")[2] for one in differences} == {"organization", "provider"}


def test_an_end_that_is_not_told_as_the_limit_it_was_is_named() -> None:
    wrong = told()
    wrong["memory"] = replace(wrong["memory"], tasks=[replace(wrong["memory"].tasks[0], outcome="user", signal=9)])
    assert [(one.where, one.field) for one in found(wrong, rows())] == [("memory", "outcome"), ("memory", "signal")]


@pytest.mark.parametrize(
    ("said", "right"),
    [
        ("被管理员暂停 held by an administrator (JobHeldAdmin)", True),
        ("分区已停用 the partition is down (PartitionDown)", False),
        ("held by an administrator (JobHeldAdmin)", False),
        ("被管理员暂停", False),
        ("", False),
        (None, False),
    ],
)
def test_a_job_that_waits_gives_slurm_s_reason_in_both_languages(said: str | None, right: bool) -> None:
    asked = (replace(ASKED[0], waits="JobHeldAdmin"),)
    one = replace(told()["success"], waited=said)
    differences = compare(asked, {"success": one}, rows()[:1], "acc_h100").differences
    assert [one.field for one in differences] == ([] if right else ["why it waits"])


@pytest.mark.parametrize(
    ("suspended", "longer", "right"), [(0, 0, True), (0, 1, False), (5, 5, True), (5, 4, False), (5, 0, False)]
)
def test_a_suspension_that_was_not_or_that_nobody_asked_for_is_named(suspended: int, longer: int, right: bool) -> None:
    asked = (replace(ASKED[0], suspended_seconds=suspended),)
    (row,) = (replace(row, end=1011 + longer) for row in rows()[:1])
    one = told_of(asked[0], row, "succeeded", "succeeded", 0)
    differences = compare(asked, {"success": one}, [row], "acc_h100").differences
    assert [one.field for one in differences] == ([] if right else ["whether it was suspended"])


def test_two_runs_of_one_allocation_are_named() -> None:
    twice = (*ASKED, replace(ASKED[0], name="again"))
    same = told()["success"]
    again = replace(same, name="again", tasks=[replace(same.tasks[0], log="again 0\n")])
    (difference,) = compare(twice, told() | {"again": again}, rows(), "acc_h100").differences
    assert (difference.where, difference.field) == ("sacct", "allocations of several runs")


def test_an_index_that_the_api_does_not_have_is_named() -> None:
    job = replace(ASKED[4], ends={0: NEVER, 1: NEVER})
    (difference,) = compare((job,), {"never": told()["never"]}, [], "acc_h100").differences
    assert (difference.field, difference.expected, difference.found) == ("indexes", [0, 1], [0])


@pytest.mark.parametrize(
    ("name", "change", "field"),
    [
        ("timeout", lambda one: replace(one, state="cancelled"), "state"),
        ("never", lambda one: replace(one, tasks=[replace(one.tasks[0], state="failed")]), "task's state"),
        ("never", lambda one: replace(one, tasks=[replace(one.tasks[0], outcome="lost")]), "outcome"),
    ],
)
def test_a_state_that_is_not_the_jobs_or_the_tasks_is_named(
    name: str, change: Callable[[Told], Told], field: str
) -> None:
    wrong = told()
    wrong[name] = change(wrong[name])
    assert [(one.where, one.field) for one in found(wrong, rows())] == [(name, field)]


def test_an_array_that_runs_more_at_once_than_it_may_is_named() -> None:
    job = Asked("array", "", {1: COMPLETED, 2: COMPLETED}, max_parallel=1)
    both = read(
        "8|8_1|a|1000|1001|1011|10|cpu=2,node=1|COMPLETED|0:0\n9|8_2|a|1000|1010|1020|10|cpu=2,node=1|COMPLETED|0:0\n"
    )
    of = [told_of(job, row, "succeeded", "succeeded", 0) for row in both]
    tasks = [replace(one.tasks[0], index=at, log=f"array {at}\n") for at, one in enumerate(of, start=1)]
    usage = {identity(row): seconds(row) for row in both}
    one = replace(of[0], tasks=tasks, usage=usage, billed={"organization": bill(both)})
    (difference,) = compare((job,), {"array": one}, both, "acc_h100").differences
    assert difference.field == "at most 1 at once"
    after = [both[0], replace(both[1], start=1011, end=1021)]
    later = replace(one, tasks=[tasks[0], replace(tasks[1], started=1011, ended=1021)])
    assert compare((job,), {"array": later}, after, "acc_h100").differences == []
