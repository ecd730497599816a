"""`caravan usage …` as far as it needs no platform: what is read, refused and shown."""

import os
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from caravan.cli import app, show
from caravan.cli.asking import console
from caravan.cli.importing import Owners, Summary, WrongMap, runs
from caravan.contracts.imports import ImportedRun, UsageSum, UsageSums
from caravan.contracts.prices import Component
from caravan.kernel import clock
from caravan.sacct import Fault, Times, allocations

SITE, ORGANIZATION, PROJECT = "sit_" + "1" * 32, "org_" + "2" * 32, "prj_" + "3" * 32
OTHER = "prj_" + "4" * 32
HEADER = "jobid|cluster|account|user|submit|start|end|state|alloctres"
LATEST = 2**40
TRES = "cpu=2,gres/gpu:h100=4,gres/gpu=4"


def line(
    job: str = "1", account: str = "alloys", user: str = "li", end: str = "2026-03-10T09:00:00Z", tres: str = TRES
) -> str:
    return f"{job}|qin|{account}|{user}|2026-03-10T08:00:00Z|2026-03-10T08:00:00Z|{end}|COMPLETED|{tres}"


DUMP = [
    HEADER,
    line(),
    line("2", user="wu"),
    line("3", account="glass"),
    line("4", end="Unknown"),
    line("4.0"),
    line("5", tres=""),
]


def caravan(*arguments: str) -> Result:
    clean = {"CARAVAN_TOKEN": "x", "CARAVAN_URL": "http://127.0.0.1:1"}
    return CliRunner().invoke(app, ["usage", *arguments], env=clean)


def written(path: Path, lines: Sequence[str]) -> str:
    path.write_text("".join(f"{one}\n" for one in lines))
    return str(path)


def test_runs_are_mapped_by_account_and_user_and_what_is_set_aside_is_counted() -> None:
    owners = Owners.read(
        [
            "account,user,organization,project\n",
            f"alloys,wu,{ORGANIZATION},{OTHER}\n",
            f"alloys,,{ORGANIZATION},{PROJECT}\n",
        ]
    )
    summary = Summary()
    found = list(runs(allocations([*DUMP, line("6", end="soon")], Times()), owners, summary, LATEST))
    assert [one.project for one in found if isinstance(one, ImportedRun)] == [PROJECT, OTHER, None]
    assert isinstance(found[0], ImportedRun) and found[0].accelerators == {"gpu:h100": 4}
    assert summary == Summary(rows=7, steps=1, never_ran=1, running=1, bad=1, runs=3, unmapped=1)


def test_the_seconds_of_a_suspension_are_not_imported() -> None:
    [found] = runs(allocations([f"{HEADER}|Elapsed", f"{line()}|00:59:00"], Times()), Owners(), Summary(), LATEST)
    assert isinstance(found, ImportedRun) and found.end - found.start == timedelta(minutes=59)


def test_what_ends_in_the_future_is_a_fault_of_its_line() -> None:
    [found] = runs(allocations([HEADER, line()], Times()), Owners(), Summary(), LATEST)
    assert isinstance(found, ImportedRun)
    end = clock.to_seconds(found.end)
    [still] = runs(allocations([HEADER, line()], Times()), Owners(), Summary(), end)
    [fault] = runs(allocations([HEADER, line()], Times()), Owners(), Summary(), end - 1)
    assert still == found and isinstance(fault, Fault) and (fault.line, fault.field) == (2, "End")


def test_what_accounting_would_refuse_is_a_fault_of_its_line() -> None:
    [found] = runs(allocations([HEADER, line(user="u" * 201)], Times()), Owners(), Summary(), LATEST)
    assert isinstance(found, Fault) and (found.line, found.field) == (2, "user")


@pytest.mark.parametrize(
    ("lines", "named"),
    [
        (["account,organization"], "line 1"),
        (["account,user,organization,project", "a,b"], "line 2: 2 cells"),
        (["account,user,organization,project", f"a,,{PROJECT},{ORGANIZATION}"], "line 2: give ids"),
        (["account,user,organization,project", *[f"a,,{ORGANIZATION},{PROJECT}"] * 2], "line 3: a, is there already"),
    ],
)
def test_a_map_that_can_not_be_used_is_refused_by_its_line(lines: list[str], named: str) -> None:
    with pytest.raises(WrongMap, match=named):
        Owners.read(lines)


def test_an_unreadable_line_is_named_and_all_is_refused_unless_it_is_to_be_skipped(tmp_path: Path) -> None:
    dump = written(tmp_path / "dump", [*DUMP, line("6", end="soon")])
    done = caravan("import", "sacct", dump, "--site", SITE)
    assert done.exit_code == 1
    assert done.stderr.startswith("line 8: end: 'soon' is no time")
    assert "Nothing was imported" in done.stderr
    assert "Nothing answers" in caravan("import", "sacct", dump, "--site", SITE, "--skip-bad").stderr


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("--site", "Qinling"), "site: "),
        (("--site", SITE, "--zone", "Mars"), "zone: "),
        (("--site", SITE, "--map", "/nowhere"), "/nowhere: "),
    ],
)
def test_an_import_that_is_none_is_refused_by_name(tmp_path: Path, arguments: tuple[str, ...], named: str) -> None:
    done = caravan("import", "sacct", written(tmp_path / "dump", DUMP), *arguments)
    assert (done.exit_code, done.stderr.startswith(named)) == (2, True), done.stderr


def test_local_times_without_a_zone_say_what_to_do(tmp_path: Path) -> None:
    dump = written(tmp_path / "dump", [one.replace("Z", "") for one in DUMP])
    done = caravan("import", "sacct", dump, "--site", SITE)
    assert done.exit_code == 2 and "--zone" in done.stderr


@pytest.mark.parametrize("lines", [[], [HEADER]])
def test_of_a_dump_without_a_row_is_said_what_sacct_was_not_asked_for(tmp_path: Path, lines: list[str]) -> None:
    told = caravan("import", "sacct", written(tmp_path / "dump", lines), "--site", SITE).stderr
    assert "0 rows" in told and "--starttime" in told and "--allusers" in told
    assert "0 rows" not in caravan("import", "sacct", written(tmp_path / "dump", DUMP), "--site", SITE).stderr


def test_a_pipe_that_can_not_be_read_twice_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "dump")
    done = caravan("import", "sacct", str(tmp_path / "dump"), "--site", SITE)
    assert done.exit_code == 2
    assert "read twice" in done.stderr


@pytest.mark.parametrize("wrong", [("--from", "March"), ("--component", "gold")])
def test_a_report_that_is_none_is_refused(wrong: tuple[str, ...]) -> None:
    done = caravan("report", "--from", "2026-03-01", "--to", "2026-04-01", *wrong)
    assert done.exit_code == 2


def test_a_report_shows_hours_and_their_totals() -> None:
    def one(organization: str | None, account: str | None, component: Component, quantity: int) -> UsageSum:
        return UsageSum(
            span="2026-03",
            site=SITE,
            organization=organization,
            account=account,
            component=component,
            quantity=quantity,
        )

    items = (
        one(ORGANIZATION, None, Component.CPU_CORE_HOUR, 5400),
        one(None, "alloys", Component.CPU_CORE_HOUR, 3600 * 1000),
        one(None, "alloys", Component.MEMORY_GIB_HOUR, 3600 * 512),
    )
    out = console()
    with out.capture() as text:
        out.print(show.usage_sums(UsageSums(items=items)))
    assert ORGANIZATION in text.get() and "alloys (unmapped)" in text.get()
    for hours in ("1.500", "1,000.000", "0.500", "1,001.500"):
        assert hours in text.get()
