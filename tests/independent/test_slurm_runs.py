"""What sacct says of numbered jobs, read and held against the platform's word: each kind of difference is named."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from bench.independent.slurm_runs import Row, fen, quantities, rows
from bench.slurm_jobs import billed_otherwise, not_once, otherwise

SACCT = """\
12|12|01a2|1795923000|1795923001|1795923003|2|billing=2,cpu=2,mem=64M,node=1|COMPLETED|0:0
14|13_7|01a3|1795923000|1795923001|1795923004|3|billing=1,cpu=1,gres/gpu:h100=2,gres/gpu=2,mem=1.50G,node=1|FAILED|3:0
15|13_[8-9%2]|01a3|1795923000|None|1795923002|0||CANCELLED by 0|0:0
"""
ROW = Row(
    job=12, array=12, index=0, name="01a2", submitted=1795923000, start=1795923001, end=1795923003, seconds=2, cpus=2,
    memory_mib=64, nodes=1, accelerators={}, state="COMPLETED", code=0, signal=0,
)  # fmt: skip
LINES = {"cpu_core_hour": (4, 4), "memory_gib_hour": (128, 0), "node_hour": (2, 0), "job": (1, 1)}
"""Of that row: quantity and fen."""


def task(**changed: Any) -> Any:
    told = {"index": 0, "state": "succeeded", "exit_code": 0, "backend_identity": "caravan:12:1795923000"}
    return SimpleNamespace(**(told | changed))


def lines(bearer: str = "organization", **changed: tuple[int, int]) -> list[Any]:
    return [
        SimpleNamespace(component=component, quantity=quantity, bearer=bearer, amount=SimpleNamespace(fen=amount))
        for component, (quantity, amount) in (LINES | changed).items()
    ]


def test_rows_of_sacct_are_read_whether_they_ran_or_not() -> None:
    job, ran, never = rows(SACCT)
    assert job == ROW
    assert (ran.job, ran.array, ran.index, ran.memory_mib, ran.code, ran.started) == (14, 13, 7, 1536, 3, True)
    assert ran.accelerators == {"gres/gpu:h100": 2, "gres/gpu": 2}
    assert (never.array, never.started, never.cpus, never.state) == (13, False, 0, "CANCELLED")


def test_quantities_are_sums_over_runs_and_amounts_are_rounded_once() -> None:
    assert quantities([ROW, replace(ROW, seconds=3, accelerators={"gres/gpu": 4}), replace(ROW, seconds=0)]) == {
        "cpu_core_hour": 10, "memory_gib_hour": 320, "node_hour": 5, "accelerator_hour": 12, "job": 1,
    }  # fmt: skip
    assert [fen(quantity, "0.18", "cpu_core_hour") for quantity in (99, 100, 300)] == [0, 1, 2]


def test_each_task_leaves_one_line() -> None:
    ran = {"ran-1.0": "ran\n", "ran-0.1": "ran\n", "ran-0.2": "ran\n", "ran-0.7": "ran\n"}
    assert not_once(ran, 2) == []
    assert not_once(ran | {"ran-1.0": "ran\nran\n"}, 2) == ["ran-1.0: 'ran\\nran\\n'"]
    assert not_once(ran | {"ran-3.0": "ran\n"}, 2) == ["ran-3.0: 'ran\\n'"]
    del ran["ran-0.2"]
    assert not_once(ran, 2) == ["ran-0.2: 'never'"]


@pytest.mark.parametrize(
    ("by_slurm", "by_platform"),
    [
        ([], [task()]),
        ([ROW, replace(ROW, job=13)], [task()]),
        ([ROW], [task(backend_identity="caravan:13:1795923000")]),
        ([ROW], [task(state="failed", exit_code=1)]),
        ([replace(ROW, state="FAILED", code=1)], [task(state="failed", exit_code=1)]),
        ([replace(ROW, index=1)], [task(index=1)]),
    ],
    ids=["none", "twice", "another one", "another end", "a wrong end", "another index"],
)
def test_another_run_than_the_platform_tells_of_is_a_difference(by_slurm: list[Row], by_platform: list[Any]) -> None:
    assert otherwise(1, [ROW], [task()]) == []
    assert len(otherwise(1, by_slurm, by_platform)) == 1


@pytest.mark.parametrize(
    ("billed", "paid"),
    [
        (lines(cpu_core_hour=(5, 5)), 6),
        (lines(), 10),
        (lines(bearer="provider"), 5),
        (lines()[1:], 1),
        (lines() * 2, 10),
        (lines(cpu_core_hour=(4, 5)), 6),
    ],
    ids=["more seconds", "twice in the ledger", "by another", "too little", "twice", "another amount"],
)
def test_another_bill_than_sacct_has_seconds_for_is_a_difference(billed: list[Any], paid: int) -> None:
    assert billed_otherwise("1", [ROW], lines(), 5) == []
    assert len(billed_otherwise("1", [ROW], billed, paid)) == 1
