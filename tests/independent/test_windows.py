"""Windows of a week by a zone's clocks, worked out by hand from docs/prices.md: the checker agrees, to the second."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from bench.independent.check import check
from bench.independent.recharge import Unusable
from tests.independent.cases import FIRST, PRICE_LIST, Json, line, span, usage, write

PERIODS = [{"id": FIRST, "starts_at": "2026-01-01T00:00:00Z", "ends_at": "2027-01-01T00:00:00Z", "state": "open"}]
WEEKDAYS = ["monday", "tuesday", "wednesday", "thursday", "friday"]
Part = tuple[str, int]
"""A window and the seconds that one core is held in it."""


def hours(*times: str) -> list[Json]:
    """From "08:30-11:30"."""
    return [dict(zip(("starts", "ends"), one.split("-"), strict=True)) for one in times]


PEAK: Json = {
    "name": "peak",
    "days": WEEKDAYS,
    "times": hours("08:30-11:30", "18:00-22:00"),
    "prices": {"cpu_core_hour": "144.00", "accelerator_hour": "12.00"},
}
OFF_PEAK: Json = {
    "name": "off-peak",
    "times": hours("23:00-24:00", "00:00-07:00"),
    "prices": {"cpu_core_hour": "36.00", "accelerator_hour": "4.00", "job": "0.10"},
}
PRICES = {"cpu_core_hour": "72.00", "accelerator_hour": "8.00", "job": "0.50"}
FEN = {"peak": 4, "flat": 2, "off-peak": 1}
"""A core-second."""
JOB = {"peak": "0.50", "flat": "0.50", "off-peak": "0.10"}


def tariff(windows: Sequence[Json], name: str = "2026", starts: str = "2026-01-01T00:00:00Z") -> Json:
    return {"name": name, "starts_at": starts, "ends_at": None, "prices": PRICES, "windows": windows}


def sold(*tariffs: Json, zone: str | None = None) -> Json:
    return PRICE_LIST | {"tariffs": tariffs} | ({"zone": zone} if zone else {})


def records(start: str, end: str, hold: str = "100.00") -> list[Json]:
    """A core held in [start, end), hour by hour."""
    at, until = (datetime.fromisoformat(text).astimezone(UTC) for text in (start, end))
    first = said(at)
    found = []
    while at < until:
        after = min(until, at.replace(minute=0, second=0) + timedelta(hours=1))
        held = span("00:00:00", "00:00:01", cpus=1) | {"start": said(at), "end": said(after)}
        found.append(usage("a", held, hold=hold))
        found[-1]["record"]["run_started_at"] = first
        at = after
    return found


def said(at: datetime) -> str:
    return at.isoformat().replace("+00:00", "Z")


def of_core(window: str, seconds: int, reason: str | None = None, tariff: str = "2026") -> list[Json]:
    """The lines of a core and its node."""
    fen = FEN.get(window, 2) * seconds
    core = line("a", tariff, "cpu_core_hour", seconds, f"{fen // 100}.{fen % 100:02}", reason)
    core["unit_price"] = f"{36 * FEN.get(window, 2)}.00"
    return [one | {"window": window} for one in (core, line("a", tariff, "node_hour", seconds, "0.00", reason))]


def of_job(window: str, tariff: str = "2026") -> Json:
    price = JOB.get(window, "0.50")
    return line("a", tariff, "job", 1, price) | {"window": window, "unit_price": price}


def equal(folder: Path, price_list: Json, used: Sequence[Json], lines: Sequence[Json]) -> None:
    assert check(write(folder, used, lines, PERIODS, price_list)).differences == []


def billed(parts: Sequence[Part]) -> list[Json]:
    return [*(one for part in parts for one in of_core(*part)), of_job(parts[0][0])]


@pytest.mark.parametrize(
    ("start", "end", "parts"),
    [
        ("2026-01-09T08:29:50+08:00", "2026-01-09T08:30:05+08:00", [("flat", 10), ("peak", 5)]),
        ("2026-01-09T11:29:50+08:00", "2026-01-09T11:30:05+08:00", [("peak", 10), ("flat", 5)]),
        ("2026-01-09T22:59:50+08:00", "2026-01-09T23:00:05+08:00", [("flat", 10), ("off-peak", 5)]),
        ("2026-01-09T23:59:50+08:00", "2026-01-10T00:00:05+08:00", [("off-peak", 15)]),
        ("2026-01-10T06:59:50+08:00", "2026-01-10T07:00:05+08:00", [("off-peak", 10), ("flat", 5)]),
        ("2026-01-10T08:29:50+08:00", "2026-01-10T08:30:05+08:00", [("flat", 15)]),
        ("2026-01-11T21:59:50+08:00", "2026-01-11T22:00:05+08:00", [("flat", 15)]),
        ("2026-01-12T08:29:50+08:00", "2026-01-12T11:30:05+08:00", [("flat", 15), ("peak", 10_800)]),
        ("2026-01-12T17:00:00+08:00", "2026-01-13T08:00:00+08:00", [("flat", 10_800), ("peak", 14_400), ("off-peak", 28_800)]),
        ("2026-01-09T17:00:00+08:00", "2026-01-12T09:00:00+08:00", [("flat", 127_800), ("peak", 16_200), ("off-peak", 86_400)]),
    ],
    ids=[
        "into peak", "out of peak", "into the night", "over midnight", "into the day", "Saturday", "Sunday",
        "over a peak", "a night", "a weekend",
    ],
)  # fmt: skip
def test_each_second_has_the_window_that_it_lies_in(tmp_path: Path, start: str, end: str, parts: list[Part]) -> None:
    equal(tmp_path, sold(tariff([PEAK, OFF_PEAK])), records(start, end, hold="9999.00"), billed(parts))


def test_eight_accelerators_on_a_friday_night_cost_what_the_docs_say(tmp_path: Path) -> None:
    used = records("2026-01-09T21:00:00+08:00", "2026-01-10T00:00:00+08:00", hold="192.50")
    lines = [of_job("peak")]
    for record, (window, price, amount) in zip(
        used, [("peak", "12.00", "96.00"), ("flat", "8.00", "64.00"), ("off-peak", "4.00", "32.00")], strict=True
    ):
        held = record["record"]["spans"][0]
        held.update(cpus=0, accelerators=8, accelerator="acc_nvidia-h100-80g")
        cards = line("a", "2026", "accelerator_hour", 8 * 3600, amount) | {"unit_price": price}
        lines += [one | {"window": window} for one in (cards, line("a", "2026", "node_hour", 3600, "0.00"))]
    equal(tmp_path, sold(tariff([PEAK, OFF_PEAK])), used, lines)


FRIDAY: Json = {"name": "peak", "days": ["friday"], "prices": PEAK["prices"]}


def window(*times: str) -> Json:
    return {"name": "off-peak", "times": hours(*times), "prices": OFF_PEAK["prices"]}


@pytest.mark.parametrize(
    ("zone", "windows", "start", "end", "parts"),
    [
        (None, [FRIDAY], "2026-01-09T15:59:50Z", "2026-01-09T16:00:05Z", [("peak", 10), ("flat", 5)]),
        ("UTC", [FRIDAY], "2026-01-09T15:59:50Z", "2026-01-09T16:00:05Z", [("peak", 15)]),
        ("Pacific/Auckland", [PEAK], "2026-01-04T19:29:50Z", "2026-01-04T19:30:05Z", [("flat", 10), ("peak", 5)]),
        ("Pacific/Auckland", [PEAK], "2026-01-09T19:29:50Z", "2026-01-09T19:30:05Z", [("flat", 15)]),
        ("America/New_York", [FRIDAY], "2026-01-10T04:59:50Z", "2026-01-10T05:00:05Z", [("peak", 10), ("flat", 5)]),
        ("Asia/Kolkata", [FRIDAY], "2026-01-08T18:29:50Z", "2026-01-08T18:30:05Z", [("flat", 10), ("peak", 5)]),
        # to summer time at 07:00 UTC: 01:59 EST, then 03:00 EDT
        ("America/New_York", [window("01:30-03:30")], "2026-03-08T06:00:00Z", "2026-03-08T08:00:00Z",
         [("flat", 3600), ("off-peak", 3600)]),
        ("America/New_York", [window("02:00-03:00")], "2026-03-08T06:00:00Z", "2026-03-08T08:00:00Z", [("flat", 7200)]),
        ("America/New_York", [window("02:30-24:00")], "2026-03-08T06:59:50Z", "2026-03-08T07:00:05Z",
         [("flat", 10), ("off-peak", 5)]),
        # back at 06:00 UTC: 01:59 EDT, then 01:00 EST
        ("America/New_York", [window("01:00-02:00")], "2026-11-01T04:00:00Z", "2026-11-01T08:00:00Z",
         [("flat", 7200), ("off-peak", 7200)]),
        ("America/New_York", [window("01:30-02:00")], "2026-11-01T05:59:50Z", "2026-11-01T06:30:05Z",
         [("off-peak", 15), ("flat", 1800)]),
        ("America/New_York", [window("00:00-02:00"), FRIDAY], "2026-11-01T03:59:50Z", "2026-11-01T07:00:05Z",
         [("flat", 15), ("off-peak", 10_800)]),
        # half an hour back at 15:00 UTC: 01:59, then 01:30
        ("Australia/Lord_Howe", [window("01:45-02:00")], "2026-04-04T14:30:00Z", "2026-04-04T16:00:00Z",
         [("flat", 3600), ("off-peak", 1800)]),
        # a day that never was
        ("Pacific/Apia", [FRIDAY], "2011-12-30T09:59:50Z", "2011-12-30T10:00:05Z", [("flat", 15)]),
    ],
    ids=[
        "Shanghai", "UTC", "Auckland's Monday", "Auckland's Saturday", "New York's midnight", "half an hour",
        "an hour is left out of a window", "a window is left out", "an edge is left out", "an hour comes twice",
        "an edge comes twice", "midnight before", "half an hour comes twice", "no Friday",
    ],
)  # fmt: skip
def test_the_zones_clocks_decide(
    tmp_path: Path, zone: str | None, windows: list[Json], start: str, end: str, parts: list[Part]
) -> None:
    periods = [PERIODS[0] | {"starts_at": "2011-01-01T00:00:00Z"}]
    price_list = sold(tariff(windows, starts="2011-01-01T00:00:00Z"), zone=zone)
    write(tmp_path, records(start, end, hold="999.00"), billed(parts), periods, price_list)
    assert check(tmp_path).differences == []


@pytest.mark.parametrize(
    ("started", "first", "window"),
    [
        ("2026-01-09T22:59:58+08:00", "2026-01-09T22:59:59+08:00", "flat"),
        ("2026-01-09T22:59:58+08:00", "2026-01-09T23:00:00+08:00", "off-peak"),
        ("2026-01-09T22:59:58+08:00", "2026-01-10T09:00:00+08:00", "flat"),
        ("2026-01-09T07:00:00+08:00", "2026-01-09T09:00:00+08:00", "peak"),
    ],
)
def test_the_price_per_job_is_that_of_the_window_of_the_first_second_held(
    tmp_path: Path, started: str, first: str, window: str
) -> None:
    end = datetime.fromisoformat(first) + timedelta(seconds=1)
    used = records(first, end.isoformat())
    for record in used:
        record["record"]["run_started_at"] = started
    equal(tmp_path, sold(tariff([PEAK, OFF_PEAK])), used, billed([(window, 1)]))


def test_a_hold_is_cut_at_the_prices_of_the_windows(tmp_path: Path) -> None:
    # 50 fen for the job, 2 a second for 4 s of flat time, 4 a second from 08:30 on: three seconds of it are within 70
    used = records("2026-01-09T08:29:56+08:00", "2026-01-09T08:30:10+08:00", hold="0.70")
    lines = [of_job("flat"), *of_core("flat", 4), *of_core("peak", 3), *of_core("peak", 7, "overrun")]
    equal(tmp_path, sold(tariff([PEAK, OFF_PEAK])), used, lines)


@pytest.mark.parametrize(
    ("later", "parts"),
    [
        ([], [("all", 30), ("all", 10)]),
        ([window("08:31-09:00")], [("flat", 30), ("off-peak", 10)]),
        ([PEAK | {"times": hours("08:31-09:00")}], [("flat", 30), ("peak", 10)]),
    ],
    ids=["none", "another name", "the same name"],
)
def test_windows_are_those_of_the_tariff_of_the_second(tmp_path: Path, later: list[Json], parts: list[Part]) -> None:
    """The later tariff starts in the middle of a minute, at 08:30:30."""
    edge = "2026-01-09T00:30:30Z"
    price_list = sold(tariff([PEAK]) | {"ends_at": edge}, tariff(later, "later", edge))
    used = records("2026-01-09T00:29:50Z", "2026-01-09T00:31:10Z")
    lines = [*of_core("flat", 10), *of_core("peak", 30), of_job("flat")]
    if later:
        lines += [one for part in parts for one in of_core(*part, tariff="later")]
    else:
        lines += of_core("all", 40, tariff="later")
    equal(tmp_path, price_list, used, lines)


def test_lines_that_name_another_window_are_red(tmp_path: Path) -> None:
    used = records("2026-01-09T08:30:00+08:00", "2026-01-09T08:30:05+08:00")
    lines = [one | {"window": "all"} for one in billed([("peak", 5)])]
    found = check(write(tmp_path, used, lines, PERIODS, sold(tariff([PEAK]))))
    assert {(one.kind, one.recomputed, one.found) for one in found.differences} >= {
        ("quantity", "0", "5"),
        ("line", "5 for 0.20", "no line"),
        ("line", "1 for 0.50", "no line"),
    }


def test_lines_are_counted_by_where_they_lie(tmp_path: Path) -> None:
    used = records("2026-01-09T08:29:50+08:00", "2026-01-09T08:30:05+08:00")
    counts = check(write(tmp_path, used, [], PERIODS, sold(tariff([PEAK])))).counts
    assert (counts["lines_in_windows"], counts["lines_in_flat_time"]) == (2, 3)


@pytest.mark.parametrize(
    "price_list",
    [sold(tariff([PEAK, PEAK | {"name": "again"}])), sold(tariff([PEAK]), zone="Asia/Nowhere")],
    ids=["two windows", "no zone"],
)
def test_windows_that_it_cannot_judge_are_no_verdict(tmp_path: Path, price_list: Json) -> None:
    used = records("2026-01-09T08:30:00+08:00", "2026-01-09T08:30:05+08:00")
    with pytest.raises(Unusable):
        check(write(tmp_path, used, [], PERIODS, price_list))
