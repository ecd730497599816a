"""`caravan reconcile site …` against a platform that answers two pages of runs: what is read, shown, and its exit code."""

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import parse_qs, urlsplit

import pytest
from pydantic import BaseModel
from typer.testing import CliRunner, Result

from caravan.cli import app
from caravan.cli.books import FORMAT
from caravan.contracts.jobs import Outcome
from caravan.contracts.offerings import Site
from caravan.contracts.prices import Component
from caravan.contracts.runs import Priced, SiteRun, SiteRuns
from caravan.contracts.statements import BearerKind, UsageLine
from caravan.contracts.usage import Span
from caravan.kernel import ids
from caravan.kernel.clock import to_seconds
from caravan.kernel.money import Money
from caravan.pricing import amount

SITE = "sit_" + "1" * 32
PERIOD, PRICE_LIST = ids.new("per"), ids.new("prl")
SUBMITTED = datetime.fromisoformat("2026-11-03T08:00:00+08:00")
DAYS = ("--from", "2026-11-01", "--to", "2026-12-01")
AT = Site(
    id=SITE,
    provider="prv_" + "1" * 32,
    name="qin",
    region="西安",
    adapter="slurm",
    accelerators={"acc_nvidia-h100-80g": "gres/gpu:h100"},
    version=1,
    created_at=SUBMITTED,
)
HEADER = FORMAT.replace("ReqMem,", "").replace(",", "|")


def line(job: int, seconds: int = 60, name: str = "", zone: str = "+0800") -> str:
    start, end = SUBMITTED, SUBMITTED + timedelta(seconds=seconds)
    times = "|".join(f"{one:%Y-%m-%dT%H:%M:%S}{zone}" for one in (SUBMITTED, start, end))
    tres = "cpu=4,mem=1G,node=1,gres/gpu:h100=2"
    name = name or f"{job:012x}70008{'0' * 15}"
    return f"{job}|qin|alloys|li|{times}|00:{seconds // 60:02}:{seconds % 60:02}|COMPLETED|1|4|{tres}||{name}"


def run(job: int, seconds: int = 60) -> SiteRun:
    held = Span(
        start=SUBMITTED,
        end=SUBMITTED + timedelta(seconds=seconds),
        nodes=1,
        cpus=4,
        memory_mib=1024,
        accelerators=2,
        accelerator="acc_nvidia-h100-80g",
    )
    units = {
        Component.CPU_CORE_HOUR: 4,
        Component.NODE_HOUR: 1,
        Component.MEMORY_GIB_HOUR: 1024,
        Component.ACCELERATOR_HOUR: 2,
    }
    return SiteRun(
        run=ids.new("run"),
        attempt=ids.new("att"),
        job=ids.new("job"),
        organization=ids.new("org"),
        project=ids.new("prj"),
        identity=f"qin:{job}:{to_seconds(SUBMITTED)}",
        outcome=Outcome.SUCCEEDED,
        spans=(held,),
        priced=tuple(
            Priced(
                period=PERIOD,
                price_list=PRICE_LIST,
                component=one,
                accelerator="acc_nvidia-h100-80g" if one is Component.ACCELERATOR_HOUR else None,
                tariff="day",
                window="all",
                unit_price=Decimal(60),
                quantity=count * seconds,
            )
            for one, count in units.items()
        ),
    )


def lines_of(one: SiteRun) -> tuple[UsageLine, ...]:
    return tuple(
        UsageLine(
            id=ids.new("lin"),
            organization=one.organization,
            provider=AT.provider,
            seller=AT.provider,
            project=one.project,
            job=one.job,
            price_list_revision=1,
            bearer=BearerKind.ORGANIZATION,
            amount=Money(amount(part.component, part.quantity, part.unit_price)),
            **part.model_dump(exclude={"unit_price"}),
            unit_price=part.unit_price,
        )
        for part in one.priced
    )


def longer(one: UsageLine, times: int) -> UsageLine:
    """By 3 core-seconds that cost 5 fen each time."""
    if one.component is not Component.CPU_CORE_HOUR:
        return one
    return one.model_copy(update={"quantity": one.quantity + 3 * times, "amount": one.amount + Money(5 * times)})


@contextmanager
def platform(
    *runs: SiteRun, lines: Sequence[UsageLine] = (), moving: bool = False, there_is: Site = AT
) -> Iterator[tuple[str, list[str]]]:
    """Where accounting answers a run a page, and what it was asked. Without `lines`, they are what the runs come to.

    `moving`: jobs have more core-seconds with each page.
    """
    billed = lines or [line for one in runs for line in lines_of(one)]
    asked: list[str] = []

    class Services(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path == f"/catalog/v1/sites/{SITE}":
                self.answer(there_is)
                return
            asked.append(self.path)
            query = parse_qs(urlsplit(self.path).query)
            start, end = (datetime.fromisoformat(query[name][0]) for name in ("from", "to"))
            there = [one for one in runs if any(span.start < end and span.end > start for span in one.spans)]
            there = [one for one in there if query.get("job", [one.job]) == [one.job]]
            at = int(query.get("cursor", ["0"])[0])
            page = SiteRuns(
                items=there[at : at + 1],
                next=str(at + 1) if at + 1 < len(there) else None,
                lines=tuple(
                    longer(line, len(asked) if moving else 0)
                    for line in billed
                    if line.job in {one.job for one in there[at : at + 1]}
                ),
                complete_through=SUBMITTED + timedelta(days=30),
            )
            self.answer(page)

        def answer(self, page: BaseModel) -> None:
            content = page.model_dump_json().encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:
            return

    with ThreadingHTTPServer(("127.0.0.1", 0), Services) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}", asked
        finally:
            server.shutdown()
            thread.join()


def caravan(url: str, *arguments: str, path: str | None = None, stdin: str | None = None) -> Result:
    env = {"CARAVAN_TOKEN": "x", "CARAVAN_URL": url} | ({"PATH": path} if path is not None else {})
    return CliRunner().invoke(app, ["reconcile", "site", SITE, *DAYS, *arguments], env=env, input=stdin)


def dump(*lines: str) -> str:
    return "".join(f"{one}\n" for one in (HEADER, *lines))


def test_no_difference_is_exit_code_0() -> None:
    with platform(run(1), run(2)) as (url, asked):
        done = caravan(url, "--sacct", "-", stdin=dump(line(1), line(2), line(3, name="melt"), line(1)))
    assert done.exit_code == 0, done.output
    assert "differences 差异       0" in done.stdout
    assert "charged                16.00" in done.stdout
    assert len(asked) == 2
    assert parse_qs(urlsplit(asked[0]).query)["from"] == ["2026-11-01T00:00:00+08:00"]


def test_each_difference_is_named_with_both_figures_and_the_exit_code_is_1(tmp_path: Path) -> None:
    file = tmp_path / "dump"
    file.write_text(dump(line(1, 61), line(3)))
    with platform(run(1), run(2)) as (url, _):
        done = caravan(url, "--sacct", str(file))
        found = json.loads(caravan(url, "--sacct", str(file), "--json").stdout)
    assert done.exit_code == 1, done.output
    submitted = to_seconds(SUBMITTED)
    for job, said in (
        (1, ["秒数不同", "61 s", "60 s"]),
        (2, ["站点账目中没有", "60 s, 4 cores, 1 nodes, 2 acc_nvidia-h100-80g"]),
        (3, ["未计费", "60 s, 4 cores, 1 nodes, 2 gpu:h100"]),
    ):
        (shown,) = [one for one in done.stdout.splitlines() if f"qin:{job}:{submitted}" in one]
        assert all(words in shown for words in said), shown
    assert [(one["kind"], one["identity"]) for one in found["differences"]] == [
        ("seconds", f"qin:1:{submitted}"),
        ("not_in_books", f"qin:2:{submitted}"),
        ("not_billed", f"qin:3:{submitted}"),
    ]
    assert found["differences"][0]["books"]["seconds"] == 61


def test_what_started_after_the_file_was_written_is_no_difference(tmp_path: Path) -> None:
    file = tmp_path / "dump"
    file.write_text(dump())
    with platform(run(1)) as (url, _):
        copied = caravan(url, "--sacct", str(file))
        told = caravan(url, "--sacct", str(file), "--as-of", "2026-11-03T08:00:00")
        os.utime(file, (to_seconds(SUBMITTED), to_seconds(SUBMITTED)))
        kept = caravan(url, "--sacct", str(file))
        wrong = caravan(url, "--sacct", str(file), "--as-of", "soon")
    assert (copied.exit_code, told.exit_code, kept.exit_code, wrong.exit_code) == (1, 0, 0, 2), copied.output
    assert "站点账目中没有" in copied.stdout
    assert "newer than the books 1" in " ".join(told.stdout.split())


def test_what_the_catalog_does_not_call_an_accelerator_of_the_site_is_none() -> None:
    with platform(run(1), run(2)) as (url, _):
        done = caravan(url, "--sacct", "-", stdin=dump(line(1).replace("gres/", "gres/nic=1,gres/"), line(2)))
        other = caravan(url, "--sacct", "-", stdin=dump(line(1).replace("gres/gpu", "gres/npu"), line(2)))
    assert done.exit_code == 0, done.output
    assert (other.exit_code, "加速卡数不同" in other.stdout) == (1, True), other.output


def test_a_line_that_does_not_follow_from_what_slurm_says_is_named_with_what_it_should_be() -> None:
    one = run(1)
    core, node, *others = lines_of(one)
    wrong = [
        core.model_copy(update={"amount": Money(399)}),
        node.model_copy(update={"quantity": 61, "amount": Money(102)}),
    ]
    with platform(one, lines=[*wrong, *others]) as (url, asked):
        done = caravan(url, "--sacct", "-", stdin=dump(line(1)))
    assert done.exit_code == 1, done.output
    rows = [" ".join(row.replace("│", " ").split()) for row in done.stdout.splitlines() if one.job in row]
    amounts, lines = sorted(rows, key=lambda row: "计费与计量不符" in row)
    assert "金额与单价不符" in amounts and "240 core-seconds at 60 (day) = 4.00 240 core-seconds, 3.99" in amounts
    assert "计费与计量不符" in lines and "60 node-seconds at 60 (day) = 1.00 61 node-seconds, 1.02" in lines
    assert [parse_qs(urlsplit(one).query).get("job") for one in asked] == [None, [one.job]]


def test_a_jobs_other_runs_are_read_where_its_lines_come_to_more(tmp_path: Path) -> None:
    one, before = run(1), SUBMITTED - timedelta(days=40)
    other = run(2).model_copy(update={"job": one.job})
    (held,) = other.spans
    other = other.model_copy(
        update={"spans": (held.model_copy(update={"start": before, "end": before + timedelta(minutes=1)}),)}
    )
    with platform(one, other) as (url, asked):
        done = caravan(url, "--sacct", "-", stdin=dump(line(1)))
    assert done.exit_code == 0, done.output
    assert [parse_qs(urlsplit(one).query).get("job") for one in asked] == [None, [one.job], [one.job]]


def test_lines_that_move_while_the_runs_of_their_job_are_read_are_open() -> None:
    one = run(1)
    other = run(2).model_copy(update={"job": one.job})
    with platform(one, other, moving=True) as (url, asked):
        done = caravan(url, "--sacct", "-", stdin=dump(line(1), line(2)))
    assert done.exit_code == 0, done.output
    assert "(open 未结束)" in done.stdout and len(asked) == 4
    alone = run(3)
    with platform(alone, moving=True) as (url, _):
        assert caravan(url, "--sacct", "-", stdin=dump(line(3))).exit_code == 1


def test_a_line_that_can_not_be_read_is_named_and_none_can_be_said(tmp_path: Path) -> None:
    with platform(run(1)) as (url, _):
        done = caravan(url, "--sacct", "-", stdin=dump(line(1), line(2).replace("|COMPLETED|", "|all well|")))
    assert (done.exit_code, "line 3: state: 'all well' is no state" in done.stderr) == (1, True), done.output


def test_a_run_that_was_suspended_all_the_time_is_looked_for_where_it_was_metered() -> None:
    """By sacct it reaches into what was asked for; what was metered of it lies before and behind."""
    one, later = run(1), SUBMITTED + timedelta(days=40)
    before = one.spans[0].model_copy(update={"end": SUBMITTED + timedelta(seconds=20)})
    behind = one.spans[0].model_copy(update={"start": later, "end": later + timedelta(seconds=40)})
    gone = one.model_copy(update={"spans": (before, behind)})
    with platform(gone) as (url, asked):
        done = caravan(url, "--sacct", "-", "--from", "2026-11-03T08:00:30", stdin=dump(line(1)))
    assert done.exit_code == 0, done.output
    assert [parse_qs(urlsplit(one).query)["from"] for one in asked] == [
        ["2026-11-03T08:00:30+08:00"],
        ["2026-11-03T00:00:00+00:00"],
    ]


def sacct(folder: Path, script: str) -> str:
    """A PATH on which that is all that `sacct` does."""
    made = folder / "sacct"
    made.write_text(f"#!/bin/sh\n{script}\n")
    made.chmod(0o755)
    return f"{folder}{os.pathsep}{os.environ['PATH']}"


def test_without_a_file_sacct_is_asked_for_the_same_time_in_utc(tmp_path: Path) -> None:
    text = dump(line(1))
    path = sacct(tmp_path, f'echo "$TZ $SLURM_TIME_FORMAT $*" > {tmp_path}/told\ncat <<"EOF"\n{text}EOF')
    with platform(run(1)) as (url, _):
        done = caravan(url, path=path)
    assert done.exit_code == 0, done.output
    assert (tmp_path / "told").read_text().split() == [
        "UTC",
        "%s",
        "--allusers",
        "--duplicates",
        "--allocations",
        "--parsable2",
        "--starttime=2026-10-31T16:00:00",
        "--endtime=2026-11-30T16:00:00",
        f"--format={FORMAT}",
    ]


def test_where_there_is_no_sacct_one_is_told_how_to_give_its_words(tmp_path: Path) -> None:
    with platform(run(1)) as (url, _):
        none = caravan(url, path=str(tmp_path))
        failed = caravan(url, path=sacct(tmp_path, "exit 3"))
    assert none.exit_code == failed.exit_code == 2
    assert "There is no `sacct` here" in none.stderr and "--starttime=2026-10-31T16:00:00" in none.stderr
    assert "sacct: exit code 3" in failed.stderr


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("--from", "November"), "from: "),
        (("--to", "2026-11-01"), "to: "),
        (("--zone", "Mars"), "zone: "),
        (("--sacct", "/nowhere"), "/nowhere: "),
    ],
)
def test_what_can_not_be_asked_is_refused_by_name(arguments: tuple[str, ...], named: str) -> None:
    with platform() as (url, _):
        done = caravan(url, *arguments)
    assert (done.exit_code, done.stderr.startswith(named)) == (2, True), done.output


@pytest.mark.parametrize("field", ["JobName", "AllocTRES", "Elapsed"])
def test_a_dump_that_can_not_tell_is_refused_by_the_field_that_it_lacks(field: str) -> None:
    with platform() as (url, _):
        done = caravan(url, "--sacct", "-", stdin=HEADER.replace(field, "Reason") + "\n")
    assert (done.exit_code, f"lacks {field.lower()}" in done.stderr) == (2, True), done.output


def test_times_without_an_offset_need_a_zone() -> None:
    with platform(run(1)) as (url, _):
        local = dump(line(1, zone=""))
        assert caravan(url, "--sacct", "-", stdin=local).exit_code == 2
        assert caravan(url, "--sacct", "-", "--zone", "Asia/Shanghai", stdin=local).exit_code == 0


def test_nobody_there_is_exit_code_1() -> None:
    done = caravan("http://127.0.0.1:1", "--sacct", "-", stdin=dump())
    assert (done.exit_code, "Nothing answers" in done.stderr) == (1, True)
