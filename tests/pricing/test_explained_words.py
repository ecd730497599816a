"""The words of an explanation, one function at a time."""

from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any, cast

import pytest

from caravan.contracts.base import Words
from caravan.contracts.explanations import DayReason
from caravan.contracts.prices import WEEK, Component, Day
from caravan.kernel.money import Money
from caravan.pricing import Billed, TopUp
from caravan.pricing.explained_days import Days
from caravan.pricing.explained_words import (
    Unit,
    days,
    decimal,
    exact,
    factor,
    lacking,
    last_second,
    more,
    number,
    rate,
    summed,
    whole,
    written,
)
from tests.pricing.cases import START, price_list, tariff, window

CORES = Unit(Component.CPU_CORE_HOUR)
FRIDAY = Days(
    None, 2, date(2026, 3, 6), date(2026, 3, 6), (Day.FRIDAY,), None, None, DayReason.ALIKE, ((3600, 2 * 3600),)
)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Fraction(0), "0.00"),
        (Fraction(7, 10), "0.70"),
        (Fraction(-1, 2), "-0.50"),
        (Fraction(-5, 2), "-2.50"),
        (Fraction(1234), "1234.00"),
        (Fraction(1, 8), "0.125"),
        (Fraction(12_345_678_901, 10**8), "123.45678901"),
        (Fraction(1, 3), "0.33333333…"),
        (Fraction(100, 3), "33.33333333…"),
        (Fraction(1, 2 * 10**8), "0.00000000…"),
    ],
)
def test_a_fraction_has_two_places_or_as_many_as_it_needs_up_to_eight(value: Fraction, text: str) -> None:
    assert decimal(value) == text


def test_a_price_is_written_as_money_is() -> None:
    prices = ("8", "8.5", "8.50", "0.125", "80.000000")
    assert [written(Decimal(text)) for text in prices] == ["8.00", "8.50", "8.50", "0.125", "80.00"]
    assert exact(Component.CPU_CORE_HOUR, 1800, Decimal("0.35")) == "0.175"


def test_one_is_in_the_singular_and_none_and_two_are_not() -> None:
    assert [CORES.of(count).en for count in (0, 1, 2)] == ["0 cores", "1 core", "2 cores"]
    assert [CORES.together(count).en for count in (-2, -1, 0, 1, 2)] == [
        "-2 core-seconds",
        "-1 core-second",
        "0 core-seconds",
        "1 core-second",
        "2 core-seconds",
    ]
    assert [more(count, 60, 60, CORES).en for count in (1, 2)] == [
        "and 1 more day: 60 s = 60 core-seconds",
        "and 2 more days: 60 s = 60 core-seconds",
    ]
    assert (factor(CORES, 2, 30).en, factor(CORES, 2, 30, 60).en) == (
        "2 cores x 30 s",
        "2 cores x 30 s = 60 core-seconds",
    )
    assert (factor(CORES, 2, 30).zh, factor(CORES, 2, 30, 60).zh) == ("2 核 x 30 秒", "2 核 x 30 秒 = 60 核秒")


def test_four_parts_of_a_sum_are_spelled_out_and_the_others_counted() -> None:
    def said(parts: int, beyond: int = 0) -> tuple[str, str]:
        found = summed(CORES, [number(n) for n in range(parts)], beyond, 3600, Decimal("0.36"))
        assert found.zh.endswith("3600 核秒；3600 x 0.36 / 3600 = 0.36")
        assert found.en.endswith("3600 core-seconds; 3600 x 0.36 / 3600 = 0.36")
        return found.zh.partition("3600")[0], found.en.partition("3600")[0]

    assert said(0) == ("", "")
    assert said(3) == ("0 + 1 + 2 = ", "0 + 1 + 2 = ")
    assert said(4) == ("0 + 1 + 2 + 3 = ", "0 + 1 + 2 + 3 = ")
    assert said(5) == ("0 + 1 + 2 + 3 + 另 1 项 = ", "0 + 1 + 2 + 3 + 1 more = ")
    assert said(2, 7) == ("0 + 1 + 另 7 项 = ", "0 + 1 + 7 more = ")
    assert said(6, 7)[1] == "0 + 1 + 2 + 3 + 9 more = "


def test_what_is_counted_has_no_seconds_and_its_divisor_is_not_shown() -> None:
    job = Unit(Component.JOB)
    assert summed(job, [number(1)], 0, 2, Decimal("0.005")).en == "2 jobs x 0.005 = 0.01"
    assert summed(job, [], 0, 1, Decimal("0.005")).zh == "1 个作业 x 0.005 = 0.005，四舍五入为 0.01"
    twice = replace(FRIDAY, units=1, times=((5, 6), (9, 10)))
    assert days(twice, job, None).en.startswith("2026-03-06 (Friday), 00:00:05: the job's first second")


def short_of(minimum: int, seconds: int, per_job: int) -> TopUp[Any]:
    line = Billed(cast("Any", None), price_list(tariff("t", 0, None, job="1")), "run", START, 1)
    return TopUp(line, minimum, seconds, per_job)


def test_a_minimum_charge_says_its_last_second_and_what_is_lacking_to_it() -> None:
    last = replace(FRIDAY, units=60, times=((57_639, 57_640),))
    assert last_second(last, short_of(100, 40, 0)) == Words(
        zh="2026-03-06（星期五），16:00:39：这次尝试的最后一个计费秒；最低收费 1.00 - 这次尝试各秒的费用 0.40 = 0.60",
        en="2026-03-06 (Friday), 16:00:39: the attempt's last billed second; "
        "minimum charge 1.00 - 0.40 that the attempt's seconds cost = 0.60",
    )
    twice = replace(last, times=((5, 6), (9, 10)))
    assert ", 00:00:05: " in last_second(twice, short_of(100, 40, 0)).en
    assert lacking(short_of(200, 80, 30), 90) == Words(
        zh="最低收费 2.00 - 这次尝试各秒的费用 0.80 - 按作业收取的 0.30 = 0.90",
        en="minimum charge 2.00 - 0.80 that the attempt's seconds cost - 0.30 per job = 0.90",
    )
    part = lacking(short_of(100, 40, 0), 59)
    assert part.zh.endswith(" = 0.60，其中本行 0.59") and part.en.endswith(" = 0.60, of which this line has 0.59")
    assert lacking(short_of(100, 99, 0), 1).en.endswith(" = 0.01")


def test_what_reaches_the_minimum_charge_lacks_nothing() -> None:
    assert lacking(short_of(100, 100, 0), 0) == Words(
        zh="这次尝试各秒的费用 1.00：不低于最低收费 1.00",
        en="the attempt's seconds cost 1.00: no less than the minimum charge 1.00",
    )
    assert lacking(short_of(100, 80, 30), 0) == Words(
        zh="这次尝试各秒的费用 0.80，按作业收取 0.30：不低于最低收费 1.00",
        en="the attempt's seconds cost 0.80, and 0.30 per job: no less than the minimum charge 1.00",
    )


@pytest.mark.parametrize(
    ("start", "end", "en", "zh"),
    [
        (5, 59, "00:00:05 to 00:00:59: 54 s = 54 s", "00:00:05 至 00:00:59：54 秒 = 54 秒"),
        (61, 121, "00:01:01 to 00:02:01: 1 min = 60 s", "00:01:01 至 00:02:01：1 分 = 60 秒"),
        (0, 7199, "00:00 to 01:59:59: 1 h 59 min 59 s = 7199 s", "00:00 至 01:59:59：1 小时 59 分 59 秒 = 7199 秒"),
        (3600, 7200, "01:00 to 02:00: 1 h = 3600 s", "01:00 至 02:00：1 小时 = 3600 秒"),
        (0, 86_400, "00:00 to 24:00: 24 h = 86400 s", "00:00 至 24:00：24 小时 = 86400 秒"),
    ],
)
def test_clocks_and_lengths_have_seconds_where_there_are_some(start: int, end: int, en: str, zh: str) -> None:
    found = days(replace(FRIDAY, times=((start, end),)), CORES, None)
    assert found.en.startswith(f"2026-03-06 (Friday), {en}; 2 cores x ")
    assert found.zh.startswith(f"2026-03-06（星期五），{zh}；2 核 x ")


def test_several_times_are_listed_and_a_run_is_named() -> None:
    found = days(replace(FRIDAY, times=((0, 60), (120, 180), (240, 300))), CORES, "run_1")
    assert found.en.startswith(
        "2026-03-06 (Friday), run run_1, 00:00 to 00:01, 00:02 to 00:03 and 00:04 to 00:05: 3 min"
    )
    assert found.zh.startswith("2026-03-06（星期五），运行 run_1，00:00 至 00:01、00:02 至 00:03、00:04 至 00:05：3 分")


def test_more_than_a_week_is_counted() -> None:
    def why(count: int) -> tuple[str, str]:
        found = days(replace(FRIDAY, last=FRIDAY.first + timedelta(days=count - 1)), CORES, None)
        return found.zh.partition("（")[2].partition("）")[0], found.en.partition("(")[2].partition(")")[0]

    assert why(1) == ("星期五", "Friday")
    assert why(2) == ("星期五至星期六", "Friday to Saturday")
    assert why(7) == ("星期五至星期四", "Friday to Thursday")
    assert why(8) == ("8 天，星期五至星期五", "8 days, Friday to Friday")


def test_a_rate_says_from_when_to_when_on_which_days_and_at_which_times() -> None:
    some = tariff("t", 0, 16 * 3600, job="1")

    def said(*days: Day) -> str:
        part = window("peak", ("18:00", "22:00"), ("08:30", "11:30"), days=days, job="2")
        return rate("Asia/Shanghai", some, part).en.partition("window peak: ")[2]

    begins = "tariff t (from 2026-03-01 08:00 to 2026-03-02, by the clocks of Asia/Shanghai)"
    assert rate("Asia/Shanghai", some, None).en == f"{begins}, at all times alike"
    assert rate("Asia/Shanghai", some, None).zh == (
        "费率 t（2026-03-01 08:00 起，2026-03-02 止，按 Asia/Shanghai 的时间），全部时间同价"
    )
    windowed = some.model_copy(update={"windows": (window("peak", ("08:30", "11:30"), job="2"),)})
    assert rate("UTC", windowed, None).en.endswith(", flat: the time in none of its windows")
    assert rate("UTC", windowed, None).zh.endswith("，平段 flat：各时段以外的时间")
    assert rate("UTC", None, None).zh == "没有费率覆盖这段时间，不收费"
    times = "08:30 to 11:30 and 18:00 to 22:00"
    assert said(*Day) == f"every day, {times}"
    assert said(*WEEK[:5]) == f"Monday to Friday, {times}"
    assert said(*WEEK[:6]) == f"Monday to Friday, Saturday, {times}"
    assert said(*WEEK[:4]) == f"Monday, Tuesday, Wednesday, Thursday, {times}"
    assert said(*WEEK[1:6]) == f"Tuesday, Wednesday, Thursday, Friday, Saturday, {times}"


def test_all_of_a_price_in_one_sentence_says_what_is_not_billed_and_what_is_free() -> None:
    prices = price_list(tariff("t", 0, None, job="1"))
    plain = whole(START, 3661, prices, Money(120), Money(0), [])
    assert plain.zh == "2026-03-01 08:00 起 1 小时 1 分 1 秒（Asia/Shanghai），按价目表第 1 版：共 1.20"
    assert plain.en == "1 h 1 min 1 s from 2026-03-01 08:00 (Asia/Shanghai), by price list revision 1: 1.20"
    more = whole(START + 1, 60, prices, Money(120), Money(5), [Component.JOB, Component.NODE_HOUR])
    assert more.zh == (
        "2026-03-01 08:00:01 起 1 分（Asia/Shanghai），按价目表第 1 版：共 1.20；试行计价、不收费：0.05；不收费：按作业收取、节点时"
    )
    assert more.en.endswith(": 1.20; priced and not billed: 0.05; free: per job, node-hours")
