"""Days and clocks of what was priced: all its seconds, each once; and the words that a clerk reads."""

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st

from caravan.contracts.base import Words
from caravan.contracts.dispatch import Grant
from caravan.contracts.explanations import DayReason, ExplainedPrice
from caravan.contracts.modes import SiteMode
from caravan.contracts.offerings import AcceleratorUnit
from caravan.contracts.prices import FLAT, WEEK, Buyer, Buyers, CalendarYear, Component, Day, PriceList, Tariff
from caravan.kernel.clock import to_seconds
from caravan.pricing import LineKey, prices_for, quantities, unit_price
from caravan.pricing.explained import SHOWN, explained, explained_span
from caravan.pricing.explained_days import Days, Stretch, days_of
from caravan.pricing.explained_words import Kind
from tests.pricing.cases import ACCELERATOR, START, grants, mode, price_list, price_lists, span, tariff, window
from tests.pricing.special import ACME, BETA, buyers, special_lists

DAY = 86_400
SHANGHAI = ZoneInfo("Asia/Shanghai")
CARDS = Kind("NVIDIA H100 80G", AcceleratorUnit.CARD)
WORKDAYS = (*WEEK[:5], Day.WORKING_WEEKEND)
Y2026 = CalendarYear.model_validate(
    {
        "year": 2026,
        "holidays": {f"2026-10-0{day}": "国庆节" for day in range(1, 8)},
        "working_weekends": {"2026-09-20": "国庆节", "2026-10-10": "国庆节"},
    }
)


def second(text: str, zone: ZoneInfo = SHANGHAI) -> int:
    return to_seconds(datetime.fromisoformat(text).replace(tzinfo=zone))


def by_key(grant: Grant, prices: PriceList, start: int, seconds: int) -> dict[LineKey, list[Stretch]]:
    found: dict[LineKey, list[Stretch]] = {}
    held = span(grant, start - START, start - START + seconds)
    for piece in quantities([held], prices, start, []):
        found.setdefault(piece.key, []).append(Stretch(None, piece.start, piece.end, piece.units))
    return found


def seconds_of(days: Days, zone: ZoneInfo) -> Iterator[int]:
    """Each second as the clocks show it: not where they are changed that day."""
    for number in range(days.days):
        midnight = datetime.combine(days.first + timedelta(days=number), datetime.min.time(), zone)
        for start, end in days.times:
            yield from range(to_seconds(midnight) + start, to_seconds(midnight) + end)


@given(price_lists(), grants(), st.integers(-30, 90), st.integers(1, 90))
def test_steps_have_each_second_once_and_sum_to_the_quantity(
    prices: PriceList, grant: Grant, start: int, seconds: int
) -> None:
    for key, stretches in by_key(grant, prices, START + start, seconds).items():
        own = next((one for one in prices.tariffs if one.name == key.tariff), None)
        found = list(days_of(stretches, prices, own))
        told = Counter(second for days in found for second in seconds_of(days, SHANGHAI))
        assert told == Counter(second for one in stretches for second in range(one.start, one.end))
        price = explained(key, stretches, prices, unit_price(prices, key.tariff, key.window, key.component), None)
        assert sum(step.quantity for step in price.steps) == price.arithmetic.quantity
        assert sum(one.quantity for one in stretches) == price.arithmetic.quantity


RUNS = st.lists(
    st.tuples(st.sampled_from(["run_a", "run_b"]), st.integers(1, 9), st.integers(0, 9 * DAY), st.integers(1, 3 * DAY)),
    min_size=1,
    max_size=4,
)
CLOCKS_CHANGE = {"Europe/Berlin": "2026-03-27T12:00:00", "America/New_York": "2026-10-30T12:00:00"}


@given(RUNS, st.sampled_from(sorted(CLOCKS_CHANGE)), st.booleans())
def test_no_second_is_lost_or_doubled_where_clocks_are_changed(
    runs: Sequence[tuple[str, int, int, int]], zone: str, windowed: bool
) -> None:
    begins = second(CLOCKS_CHANGE[zone], ZoneInfo(zone))
    prices = price_list(peaked("2026") if windowed else tariff("2026", 0, None, node_hour="1"))
    prices = prices.model_copy(update={"zone": zone})
    at: dict[str, int] = {}
    stretches = []
    for run, units, gap, length in runs:
        start = at.get(run, begins) + gap
        at[run] = start + length
        stretches.append(Stretch(run, start, start + length, units))
    found = list(days_of(stretches, prices, prices.tariffs[0]))
    for run in at:
        assert sum(d.quantity for d in found if d.run == run) == sum(s.quantity for s in stretches if s.run == run)
    for days in found:
        assert all(0 <= start < end <= DAY for start, end in days.times)


def peaked(name: str) -> Tariff:
    peak = window("peak", ("18:00", "22:00"), ("08:30", "11:30"), days=WORKDAYS, accelerator_hour="12.00")
    return tariff(name, -400 * DAY, None, accelerator_hour="8.00").model_copy(update={"windows": (peak,)})


def eight_cards(start: str, seconds: int, *calendar: CalendarYear) -> dict[str, ExplainedPrice]:
    """Of the windows by name."""
    prices = price_list(peaked("2026"), calendar=calendar)
    grant = Grant(nodes=1, cpus=1, memory_mib=1, accelerators=8, accelerator=ACCELERATOR, max_seconds=1)
    return {
        key.window: explained(key, stretches, prices, unit_price(prices, key.tariff, key.window, key.component), CARDS)
        for key, stretches in by_key(grant, prices, second(start), seconds).items()
        if key.component is Component.ACCELERATOR_HOUR
    }


def test_three_days_over_a_holiday_are_told_as_a_clerk_counts_them() -> None:
    found = eight_cards("2026-09-30T20:00:00", 3 * DAY, Y2026)
    assert [step.words for step in found["peak"].steps] == [
        Words(
            zh="2026-09-30（星期三），20:00 至 22:00：2 小时 = 7200 秒；8 卡 x 7200 秒 = 57600 卡秒",
            en="2026-09-30 (Wednesday), 20:00 to 22:00: 2 h = 7200 s; 8 cards x 7200 s = 57600 card-seconds",
        )
    ]
    assert [step.words.en for step in found[FLAT].steps] == [
        "2026-09-30 (Wednesday), 22:00 to 24:00: 2 h = 7200 s; 8 cards x 7200 s = 57600 card-seconds",
        "2026-10-01 to 2026-10-02 (Thursday to Friday, holiday 国庆节), each day 00:00 to 24:00: "
        "24 h = 86400 s a day, 2 days = 172800 s; 8 cards x 172800 s = 1382400 card-seconds",
        "2026-10-03 (Saturday, holiday 国庆节), 00:00 to 20:00: 20 h = 72000 s; 8 cards x 72000 s = 576000 card-seconds",
    ]
    assert found[FLAT].steps[1].words.zh == (
        "2026-10-01 至 2026-10-02（星期四至星期五，国庆节放假），每天 00:00 至 24:00："
        "每天 24 小时 = 86400 秒，2 天 = 172800 秒；8 卡 x 172800 秒 = 1382400 卡秒"
    )
    assert (found[FLAT].steps[1].kinds, found[FLAT].steps[1].holiday) == ((Day.HOLIDAY,), "国庆节")
    assert found[FLAT].arithmetic.words.zh == (
        "57600 + 1382400 + 576000 = 2016000 卡秒；2016000 x 8.00 / 3600 = 4480.00"
    )
    assert found["peak"].words == Words(
        zh="卡时（NVIDIA H100 80G），费率 2026，时段 peak：57600 x 12.00 / 3600 = 192.00",
        en="accelerator-hours (NVIDIA H100 80G), tariff 2026, window peak: 57600 x 12.00 / 3600 = 192.00",
    )
    assert found["peak"].rate.words == Words(
        zh="费率 2026（2025-01-25 08:00 起，按 Asia/Shanghai 的时间），时段 peak：星期一至星期五、调休上班的周末，"
        "08:30 至 11:30、18:00 至 22:00",
        en="tariff 2026 (from 2025-01-25 08:00, by the clocks of Asia/Shanghai), window peak: "
        "Monday to Friday, weekends worked in return, 08:30 to 11:30 and 18:00 to 22:00",
    )


def test_workdays_in_a_row_are_one_step_and_a_weekend_that_is_worked_says_for_what() -> None:
    found = eight_cards("2026-10-08T00:00:00", 3 * DAY, Y2026)["peak"]
    assert [(str(step.first), str(step.last), step.kinds, step.seconds) for step in found.steps] == [
        ("2026-10-08", "2026-10-09", (Day.THURSDAY, Day.FRIDAY), 2 * 7 * 3600),
        ("2026-10-10", "2026-10-10", (Day.WORKING_WEEKEND,), 7 * 3600),
    ]
    assert found.steps[1].words.zh.startswith(
        "2026-10-10（星期六，国庆节调休上班），08:30 至 11:30、18:00 至 22:00：7 小时"
    )
    assert found.steps[1].words.en.startswith("2026-10-10 (Saturday, worked in return for 国庆节), 08:30 to 11:30 and")


def test_a_year_that_nobody_has_published_is_said_to_be_priced_by_weekday_alone() -> None:
    found = eight_cards("2026-12-31T00:00:00", 2 * DAY, Y2026)["peak"]
    assert [step.reason for step in found.steps] == [DayReason.CALENDAR, DayReason.UNPUBLISHED]
    assert "2027-01-01（星期五；价目表发布时 2027 年的节假日安排尚未公布，只按星期几计价）" in found.steps[1].words.zh
    assert "by weekday alone, since 2027 was not published when the price list was made" in found.steps[1].words.en


def test_where_all_days_are_priced_alike_no_calendar_is_spoken_of() -> None:
    prices = price_list(tariff("2026", -400 * DAY, None, cpu_core_hour="1"))
    held = [Stretch(None, second("2026-09-30T22:00:00"), second("2026-10-09T01:00:00"), 2)]
    key = LineKey(Component.CPU_CORE_HOUR, None, "2026", "all")
    found = explained(key, held, prices, Decimal("1"), None)
    assert {step.reason for step in found.steps} == {DayReason.ALIKE}
    assert [step.words.en.partition(", ")[0] for step in found.steps] == [
        "2026-09-30 (Wednesday)",
        "2026-10-01 to 2026-10-08 (8 days",
        "2026-10-09 (Friday)",
    ]


def test_a_long_run_is_told_in_so_many_steps_and_its_sums_are_exact() -> None:
    found = eight_cards("2026-01-01T00:00:00", 365 * DAY, Y2026)["peak"]
    assert len(found.steps) == SHOWN and found.more is not None
    assert sum(step.seconds for step in found.steps) + found.more.seconds == found.seconds
    assert sum(step.quantity for step in found.steps) + found.more.quantity == found.arithmetic.quantity
    assert found.more.days > 0
    assert found.more.words.zh.startswith(f"另有 {found.more.days} 天，共 {found.more.seconds} 秒 = ")
    assert " more = " in found.arithmetic.words.en


def test_a_price_per_job_has_the_second_in_which_the_job_first_held_anything() -> None:
    prices = price_list(tariff("2026", -400 * DAY, None, job="5.5"))
    start = second("2026-03-06T21:00:05")
    key = LineKey(Component.JOB, None, "2026", "all")
    found = explained(key, [Stretch("run_" + "a" * 32, start, start + 1, 1)], prices, Decimal("5.5"), None)
    assert [step.words.zh for step in found.steps] == [
        "2026-03-06（星期五），21:00:05：作业的第一秒（由算力中心承担的运行不计），1 个作业"
    ]
    assert found.arithmetic.words.en == "1 job x 5.50 = 5.50"


def test_days_with_other_units_are_no_more_of_the_same() -> None:
    prices = price_list(tariff("2026", -400 * DAY, None, node_hour="1"))
    midnight = second("2026-03-06T00:00:00")
    held = [Stretch(None, midnight + n * DAY, midnight + (n + 1) * DAY, units) for n, units in enumerate((1, 1, 2))]
    assert [(one.days, one.units) for one in days_of(held, prices, prices.tariffs[0])] == [(2, 1), (1, 2)]


@given(special_lists(), buyers, grants(), st.integers(1, 90))
def test_a_price_to_come_is_what_the_buyers_own_list_makes_of_each_second(
    prices: PriceList, buyer: Buyer, grant: Grant, seconds: int
) -> None:
    held = span(grant, 0, seconds)
    own: Counter[LineKey] = Counter()
    for piece in quantities([held], prices_for(prices, buyer), START, []):
        own[piece.key] += piece.quantity
    found = explained_span(held, prices, buyer, None)
    assert {
        LineKey(p.component, p.accelerator, p.rate.tariff, p.rate.window): p.arithmetic.quantity for p in found
    } == own
    for price in found:
        whole = next((one for one in prices.tariffs if one.name == price.rate.tariff), None)
        assert (price.rate.starts_at, price.rate.ends_at) == (
            (whole.starts_at, whole.ends_at) if whole else (None, None)
        )


def test_a_tariff_for_some_says_so_and_names_no_other_buyer() -> None:
    special = tariff("kind", -400 * DAY, None, node_hour="1").model_copy(
        update={"buyers": Buyers(organizations=(ACME, BETA)), "options": {"qos": ("high", "normal")}}
    )
    held = span(Grant(nodes=1, cpus=1, memory_mib=1, max_seconds=1), 0, 60)
    buyer = Buyer(organization=ACME, options={"qos": "high"})
    rate = explained_span(held, price_list(special), buyer, None)[0].rate
    assert rate.words.zh.endswith("，仅限特定用户，qos 为 high、normal，全部时间同价")
    assert rate.words.en.endswith(", for some buyers only, for qos high or normal, at all times alike")
    assert BETA not in rate.model_dump_json()


def test_time_that_a_site_does_not_bill_is_told_apart() -> None:
    prices = price_list(
        tariff("2026", -400 * DAY, None, node_hour="3600"),
        modes=(mode("notional", 0), mode("tracked", 20), mode("billed", 30)),
    )
    held = span(Grant(nodes=1, cpus=1, memory_mib=1, max_seconds=1), 0, 60)
    nodes = [p for p in explained_span(held, prices, Buyer(), None) if p.component is Component.NODE_HOUR]
    assert [(p.mode, p.arithmetic.amount.fen, p.seconds) for p in nodes] == [
        (SiteMode.NOTIONAL, 2000, 20),
        (SiteMode.TRACKED, 0, 10),
        (SiteMode.BILLED, 3000, 30),
    ]
    assert [p.words.zh.partition("：")[0] for p in nodes] == [
        "节点时，费率 2026，试行计价、不收费",
        "节点时，费率 2026，仅记录用量",
        "节点时，费率 2026",
    ]


def test_runs_are_named_where_there_are_several() -> None:
    prices = price_list(tariff("2026", -400 * DAY, None, node_hour="1"))
    start, key = second("2026-03-06T21:00:00"), LineKey(Component.NODE_HOUR, None, "2026", "all")
    one, two = ("run_" + letter * 32 for letter in "ab")
    both = [Stretch(one, start, start + 60, 1), Stretch(two, start, start + 60, 1)]
    assert [one in s.words.en for s in explained(key, both, prices, Decimal(1), None).steps] == [True, False]
    assert one not in explained(key, both[:1], prices, Decimal(1), None).steps[0].words.en


def test_each_unit_that_an_accelerator_is_sold_by_has_its_own_words() -> None:
    prices = price_list(tariff("2026", -400 * DAY, None, accelerator_hour="1"))
    start = second("2026-03-06T21:00:00")
    key = LineKey(Component.ACCELERATOR_HOUR, ACCELERATOR, "2026", "all")
    held = [Stretch(None, start, start + 3600, 8)]
    said = {}
    for unit in (*AcceleratorUnit, None):
        found = explained(key, held, prices, Decimal(1), Kind("a kind", unit) if unit else None)
        said[unit] = found.steps[0].words.zh.partition("；")[2], found.steps[0].words.en.partition("; ")[2]
    assert said == {
        AcceleratorUnit.CARD: ("8 卡 x 3600 秒 = 28800 卡秒", "8 cards x 3600 s = 28800 card-seconds"),
        AcceleratorUnit.DIE: ("8 die x 3600 秒 = 28800 die秒", "8 dies x 3600 s = 28800 die-seconds"),
        AcceleratorUnit.SLICE: ("8 切片 x 3600 秒 = 28800 切片秒", "8 slices x 3600 s = 28800 slice-seconds"),
        None: ("8 加速器 x 3600 秒 = 28800 加速器秒", "8 accelerators x 3600 s = 28800 accelerator-seconds"),
    }
