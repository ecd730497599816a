"""The words of an explanation, in Chinese and English: sums that can be checked by head. Pure; nothing is decided here."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final, NamedTuple
from zoneinfo import ZoneInfo

from caravan.contracts.base import Words
from caravan.contracts.explanations import Arithmetic, DayReason
from caravan.contracts.modes import SiteMode
from caravan.contracts.offerings import AcceleratorUnit
from caravan.contracts.prices import FLAT, WEEK, WHOLE_TARIFF, Component, Day, PriceList, PriceWindow, Tariff
from caravan.kernel.clock import from_seconds
from caravan.kernel.money import Money
from caravan.pricing.amounts import DIVISOR, amount
from caravan.pricing.charge import LineKey
from caravan.pricing.explained_days import Days
from caravan.pricing.minimum import TopUp

COUNTED: Final = (Component.JOB, Component.MINIMUM_CHARGE)
"""What isn't units times seconds."""
SHOWN: Final = 4
"""How many parts are spelled out in one sum."""


class Kind(NamedTuple):
    """What an accelerator is called, and the unit it is sold by."""

    name: str
    unit: AcceleratorUnit


class Unit(NamedTuple):
    """What is counted: a component, and of accelerators the unit they are sold by. None: it isn't known."""

    component: Component
    accelerator: AcceleratorUnit | None = None

    def of(self, count: int) -> Words:
        """`8 cards`."""
        zh, one, many, _, _ = self._names
        return Words(zh=f"{count} {zh}", en=f"{count} {one if count == 1 else many}")

    def together(self, quantity: int) -> Words:
        """`28800 card-seconds`."""
        *_, zh, en = self._names
        return Words(zh=f"{quantity} {zh}", en=f"{quantity} {en.removesuffix('s') if quantity in (1, -1) else en}")

    @property
    def _names(self) -> tuple[str, str, str, str, str]:
        return (
            _ACCELERATORS[self.accelerator] if self.component is Component.ACCELERATOR_HOUR else _UNITS[self.component]
        )


_UNITS: Final = {
    Component.CPU_CORE_HOUR: ("核", "core", "cores", "核秒", "core-seconds"),
    Component.NODE_HOUR: ("节点", "node", "nodes", "节点秒", "node-seconds"),
    Component.MEMORY_GIB_HOUR: ("MiB", "MiB", "MiB", "MiB秒", "MiB-seconds"),
    Component.JOB: ("个作业", "job", "jobs", "个作业", "jobs"),
    Component.MINIMUM_CHARGE: ("分", "fen", "fen", "分", "fen"),
}
_ACCELERATORS: Final = {
    AcceleratorUnit.CARD: ("卡", "card", "cards", "卡秒", "card-seconds"),
    AcceleratorUnit.DIE: ("die", "die", "dies", "die秒", "die-seconds"),
    AcceleratorUnit.SLICE: ("切片", "slice", "slices", "切片秒", "slice-seconds"),
    None: ("加速器", "accelerator", "accelerators", "加速器秒", "accelerator-seconds"),
}
COMPONENTS: Final = {
    Component.CPU_CORE_HOUR: Words(zh="核时", en="core-hours"),
    Component.ACCELERATOR_HOUR: Words(zh="卡时", en="accelerator-hours"),
    Component.NODE_HOUR: Words(zh="节点时", en="node-hours"),
    Component.MEMORY_GIB_HOUR: Words(zh="内存 GiB 时", en="memory GiB-hours"),
    Component.JOB: Words(zh="按作业收取", en="per job"),
    Component.MINIMUM_CHARGE: Words(zh="补足最低收费", en="up to the minimum charge"),
}
_MODES: Final = {
    SiteMode.NOTIONAL: Words(zh="试行计价、不收费", en="priced and not billed"),
    SiteMode.TRACKED: Words(zh="仅记录用量", en="counted only"),
}
_DAYS: Final = {
    Day.MONDAY: ("星期一", "Monday"),
    Day.TUESDAY: ("星期二", "Tuesday"),
    Day.WEDNESDAY: ("星期三", "Wednesday"),
    Day.THURSDAY: ("星期四", "Thursday"),
    Day.FRIDAY: ("星期五", "Friday"),
    Day.SATURDAY: ("星期六", "Saturday"),
    Day.SUNDAY: ("星期日", "Sunday"),
    Day.HOLIDAY: ("法定节假日", "holidays"),
    Day.WORKING_WEEKEND: ("调休上班的周末", "weekends worked in return"),
}


def days(some: Days, unit: Unit, run: str | None) -> Words:
    """Which days, why, at which times, and what they come to. `run` is named where it isn't clear."""
    head = _head(some, run)
    zh, en = head.zh, head.en
    if unit.component is Component.JOB:
        at, counted = _clock(some.times[0][0]), unit.of(some.units)
        return Words(
            zh=f"{zh}，{at}：作业的第一秒（由算力中心承担的运行不计），{counted.zh}",
            en=f"{en}, {at}: the job's first second, but for runs that the centre bears; {counted.en}",
        )
    zh_times = "、".join(f"{_clock(start)} 至 {_clock(end)}" for start, end in some.times)
    en_times = _listed([f"{_clock(start)} to {_clock(end)}" for start, end in some.times])
    zh_long, en_long, each = _length(some.seconds_of_each), _length_en(some.seconds_of_each), some.seconds_of_each
    if some.days > 1:
        zh = f"{zh}，每天 {zh_times}：每天 {zh_long} = {each} 秒，{some.days} 天 = {some.seconds} 秒"
        en = f"{en}, each day {en_times}: {en_long} = {each} s a day, {some.days} days = {some.seconds} s"
    else:
        zh, en = f"{zh}，{zh_times}：{zh_long} = {each} 秒", f"{en}, {en_times}: {en_long} = {each} s"
    product = factor(unit, some.units, some.seconds, some.quantity)
    return Words(zh=f"{zh}；{product.zh}", en=f"{en}; {product.en}")


def last_second(some: Days, top_up: TopUp[Any]) -> Words:
    """Where what tops an attempt up falls, and what it lacks. `some` is one second, with the fen of a line: all of it, or a part."""
    head, sums, at = _head(some, None), lacking(top_up, some.units), _clock(some.times[0][0])
    return Words(
        zh=f"{head.zh}，{at}：这次尝试的最后一个计费秒；{sums.zh}",
        en=f"{head.en}, {at}: the attempt's last billed second; {sums.en}",
    )


def lacking(top_up: TopUp[Any], fen: int) -> Words:
    """`minimum charge 1.00 - 0.40 that the attempt's seconds cost = 0.60`, and how much of it a line has that has only `fen`."""
    least, seconds, per_job = Money(top_up.minimum), Money(top_up.seconds), Money(top_up.per_job)
    if not top_up.lacking:
        job_zh, job_en = (f"，按作业收取 {per_job}", f", and {per_job} per job") if per_job else ("", "")
        return Words(
            zh=f"这次尝试各秒的费用 {seconds}{job_zh}：不低于最低收费 {least}",
            en=f"the attempt's seconds cost {seconds}{job_en}: no less than the minimum charge {least}",
        )
    zh = f"最低收费 {least} - 这次尝试各秒的费用 {seconds}"
    en = f"minimum charge {least} - {seconds} that the attempt's seconds cost"
    if per_job:
        zh, en = f"{zh} - 按作业收取的 {per_job}", f"{en} - {per_job} per job"
    zh, en = f"{zh} = {Money(top_up.lacking)}", f"{en} = {Money(top_up.lacking)}"
    if fen != top_up.lacking:
        zh, en = f"{zh}，其中本行 {Money(fen)}", f"{en}, of which this line has {Money(fen)}"
    return Words(zh=zh, en=en)


def more(count: int, seconds: int, quantity: int, unit: Unit) -> Words:
    """What is left of a long list."""
    together = unit.together(quantity)
    return Words(
        zh=f"另有 {count} 天，共 {seconds} 秒 = {together.zh}",
        en=f"and {count} more {'day' if count == 1 else 'days'}: {seconds} s = {together.en}",
    )


def factor(unit: Unit, units: int, seconds: int, quantity: int | None = None) -> Words:
    """`8 cards x 3600 s`, and what that is."""
    counted = unit.of(units)
    if quantity is None:
        return Words(zh=f"{counted.zh} x {seconds} 秒", en=f"{counted.en} x {seconds} s")
    together = unit.together(quantity)
    return Words(zh=f"{counted.zh} x {seconds} 秒 = {together.zh}", en=f"{counted.en} x {seconds} s = {together.en}")


def number(value: int) -> Words:
    return Words(zh=str(value), en=str(value))


def summed(unit: Unit, parts: Sequence[Words], more: int, quantity: int, unit_price: Decimal) -> Words:
    """`2 cores x 40 s = 80 core-seconds; 80 x 36.00 / 3600 = 0.80`. Without parts it begins at the quantity.

    `more`: parts beyond those given.
    """
    price = _priced(unit, quantity, unit_price)
    if unit.component in COUNTED:
        return price
    together = unit.together(quantity)
    if parts:
        more += max(len(parts) - SHOWN, 0)
        zh = " + ".join([*(part.zh for part in parts[:SHOWN]), *([f"另 {more} 项"] if more else [])])
        en = " + ".join([*(part.en for part in parts[:SHOWN]), *([f"{more} more"] if more else [])])
        together = Words(zh=f"{zh} = {together.zh}", en=f"{en} = {together.en}")
    return Words(zh=f"{together.zh}；{price.zh}", en=f"{together.en}; {price.en}")


def _priced(unit: Unit, quantity: int, unit_price: Decimal) -> Words:
    divisor, price = DIVISOR[unit.component], written(unit_price)
    rounded, value = Money(amount(unit.component, quantity, unit_price)), exact(unit.component, quantity, unit_price)
    counted = unit.of(quantity) if unit.component in COUNTED else number(quantity)
    rest = f" x {price}" + (f" / {divisor}" if divisor != 1 else "")
    zh, en = f"{counted.zh}{rest}", f"{counted.en}{rest}"
    if value == str(rounded):
        return Words(zh=f"{zh} = {rounded}", en=f"{en} = {rounded}")
    return Words(zh=f"{zh} = {value}，四舍五入为 {rounded}", en=f"{en} = {value}, rounded {rounded}")


def exact(component: Component, quantity: int, unit_price: Decimal) -> str:
    """`quantity x unit_price / divisor` in CNY, of at least two places; cut after eight, with `…` where there are more."""
    return decimal(Fraction(unit_price) * quantity / DIVISOR[component])


def decimal(value: Fraction) -> str:
    """Of at least two places; cut after eight, with `…` where there are more."""
    scaled = abs(value) * 10**8
    digits = str(int(scaled)).rjust(9, "0")
    places = digits[-8:].rstrip("0").ljust(2, "0") if scaled.denominator == 1 else f"{digits[-8:]}…"
    return f"{'-' if value < 0 else ''}{digits[:-8]}.{places}"


def written(unit_price: Decimal) -> str:
    """With at least two places, as money is written."""
    whole, _, places = format(unit_price, "f").partition(".")
    return f"{whole}.{places.rstrip('0').ljust(2, '0')}"


def price(key: LineKey, kind: Kind | None, costs: Arithmetic) -> Words:
    """In one sentence: what, at which rate, and what it comes to."""
    what, unit = COMPONENTS[key.component], Unit(key.component, kind and kind.unit)
    of = (f"（{kind.name}）", f" ({kind.name})") if kind else ("", "")
    zh, en = f"{what.zh}{of[0]}，费率 {key.tariff}", f"{what.en}{of[1]}, tariff {key.tariff}"
    if key.window != WHOLE_TARIFF:
        zh, en = f"{zh}，时段 {key.window}", f"{en}, window {key.window}"
    if key.mode is not SiteMode.BILLED:
        zh, en = f"{zh}，{_MODES[key.mode].zh}", f"{en}, {_MODES[key.mode].en}"
    priced = _priced(unit, costs.quantity, costs.unit_price)
    return Words(zh=f"{zh}：{priced.zh}", en=f"{en}: {priced.en}")


RETAIL: Final = Words(
    zh="零售：该企业购买的部分，由转售方或由算力中心直接卖给它",
    en="retail: what the organization bought, of its reseller or of the provider itself",
)
WHOLESALE: Final = Words(
    zh="批发：转售方为转售而向算力中心购买的部分",
    en="wholesale: what the reseller bought of the provider to sell it on",
)


def rate(zone: str, tariff: Tariff | None, window: PriceWindow | None) -> Words:
    """Which tariff, and which part of it. All its own time, or all that is in no window, where `window` is None."""
    if tariff is None:
        return Words(zh="没有费率覆盖这段时间，不收费", en="no tariff covers this time: it is free")
    since, until = _date(tariff.starts_at, zone), tariff.ends_at and _date(tariff.ends_at, zone)
    zh = f"费率 {tariff.name}（{since} 起" + (f"，{until} 止" if until else "") + f"，按 {zone} 的时间）"
    en = f"tariff {tariff.name} (from {since}" + (f" to {until}" if until else "") + f", by the clocks of {zone})"
    if tariff.buyers is not None:
        zh, en = f"{zh}，仅限特定用户", f"{en}, for some buyers only"
    for field, values in sorted(tariff.options.items()):
        zh, en = f"{zh}，{field} 为 {'、'.join(values)}", f"{en}, for {field} {' or '.join(values)}"
    if window is not None:
        zh_days, en_days = _kinds(window.days)
        times = sorted((span.starts, span.ends) for span in window.times)
        zh_times = "、".join(f"{starts} 至 {ends}" for starts, ends in times)
        en_times = _listed([f"{starts} to {ends}" for starts, ends in times])
        return Words(
            zh=f"{zh}，时段 {window.name}：{zh_days}，{zh_times}",
            en=f"{en}, window {window.name}: {en_days}, {en_times}",
        )
    if tariff.windows:
        return Words(zh=f"{zh}，平段 {FLAT}：各时段以外的时间", en=f"{en}, {FLAT}: the time in none of its windows")
    return Words(zh=f"{zh}，全部时间同价", en=f"{en}, at all times alike")


def whole(
    start: int, seconds: int, price_list: PriceList, total: Money, notional: Money, free: Sequence[Component]
) -> Words:
    """What all of an asked price comes to, in one sentence."""
    since = _date(from_seconds(start), price_list.zone)
    zh = f"{since} 起 {_length(seconds)}（{price_list.zone}），按价目表第 {price_list.revision} 版：共 {total}"
    en = (
        f"{_length_en(seconds)} from {since} ({price_list.zone}), by price list revision {price_list.revision}: {total}"
    )
    if notional:
        zh, en = f"{zh}；试行计价、不收费：{notional}", f"{en}; priced and not billed: {notional}"
    if free:
        zh += f"；不收费：{'、'.join(COMPONENTS[one].zh for one in free)}"
        en += f"; free: {', '.join(COMPONENTS[one].en for one in free)}"
    return Words(zh=zh, en=en)


def _head(some: Days, run: str | None) -> Words:
    """Which days and why, and the run where it is to be named."""
    zh, en = f"{some.first}", f"{some.first}"
    if some.days > 1:
        zh, en = f"{zh} 至 {some.last}", f"{en} to {some.last}"
    why = _why(some)
    zh, en = f"{zh}（{why.zh}）", f"{en} ({why.en})"
    if run is not None:
        zh, en = f"{zh}，运行 {run}", f"{en}, run {run}"
    return Words(zh=zh, en=en)


def _why(some: Days) -> Words:
    """The weekday, or what else the days are; and why, where windows depend on it."""
    first, last = (WEEK[day.weekday()] for day in (some.first, some.last))
    zh, en = _DAYS[first]
    if some.days > 1:
        zh, en = f"{zh}至{_DAYS[last][0]}", f"{en} to {_DAYS[last][1]}"
        if some.days > len(WEEK):
            zh, en = f"{some.days} 天，{zh}", f"{some.days} days, {en}"
    if some.special is Day.HOLIDAY:
        zh, en = f"{zh}，{some.holiday}放假", f"{en}, holiday {some.holiday}"
    elif some.special is Day.WORKING_WEEKEND:
        zh, en = f"{zh}，{some.holiday}调休上班", f"{en}, worked in return for {some.holiday}"
    if some.reason is DayReason.UNPUBLISHED:
        year = some.first.year
        zh += f"；价目表发布时 {year} 年的节假日安排尚未公布，只按星期几计价"
        en += f"; by weekday alone, since {year} was not published when the price list was made"
    return Words(zh=zh, en=en)


def _kinds(kinds: Iterable[Day]) -> tuple[str, str]:
    chosen = [day for day in Day if day in set(kinds)]
    if len(chosen) == len(Day):
        return "每天", "every day"
    five = list(WEEK[:5])
    zh, en = [], []
    if chosen[:5] == five:
        zh, en, chosen = ["星期一至星期五"], ["Monday to Friday"], chosen[5:]
    zh += [_DAYS[day][0] for day in chosen]
    en += [_DAYS[day][1] for day in chosen]
    return "、".join(zh), ", ".join(en)


def _listed(texts: Sequence[str]) -> str:
    *first, last = texts
    return f"{', '.join(first)} and {last}" if first else last


def clock_time(second: int) -> str:
    """A second of a day: `08:30:00`, up to `24:00:00`."""
    return f"{second // 3600:02}:{second // 60 % 60:02}:{second % 60:02}"


def _clock(second: int) -> str:
    """`08:30`, with seconds where there are some."""
    return clock_time(second).removesuffix(":00")


def _date(instant: datetime, zone: str) -> str:
    local = instant.astimezone(ZoneInfo(zone))
    return local.strftime("%Y-%m-%d %H:%M:%S").removesuffix(":00").removesuffix(" 00:00")


def _length(seconds: int) -> str:
    return _parts((seconds // 3600, "小时"), (seconds // 60 % 60, "分"), (seconds % 60, "秒"))


def _length_en(seconds: int) -> str:
    return _parts((seconds // 3600, "h"), (seconds // 60 % 60, "min"), (seconds % 60, "s"))


def _parts(*counted: tuple[int, str]) -> str:
    return " ".join(f"{count} {name}" for count, name in counted if count)
