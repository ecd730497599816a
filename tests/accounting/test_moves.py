"""Adjustments say where what they take away stands now, and what moved it."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import update

from caravan.contracts.jobs import Outcome
from caravan.contracts.prices import Component
from caravan.kernel import ids
from caravan.kernel.database import affected
from services.accounting.charging.explanation import Decided
from services.accounting.charging.lines import PeriodSpan
from services.accounting.charging.moves import Priced, counterparts, holding, in_period
from services.accounting.contests.models import ContestRow
from services.accounting.periods import service as periods
from tests.accounting.test_charging import close, finish_now, job_with_hold
from tests.accounting.test_contests import contested, decided
from tests.accounting.test_corrections import REASON, Desk
from tests.accounting.test_explaining import explained
from tests.accounting.test_line_edges import core
from tests.accounting.test_line_edges import run as a_run
from tests.accounting.world import Job, World, tariff
from tests.pricing.cases import START
from tests.support import Json


async def adjustments(job: Job, period: str) -> dict[tuple[str, str | None], Json]:
    """Of the core lines of a closed period, explained, by tariff and reason."""
    late = [one for one in await job.lines() if one["corrects"] == period and one["component"] == "cpu_core_hour"]
    return {(line["tariff"], line["reason"]): await explained(job.world, line) for line in late}


def other_lines(found: Mapping[Any, Json]) -> dict[Any, set[Any]]:
    """Which each names as the other side."""
    names = {one["line"]["id"]: name for name, one in found.items()}
    return {name: {names[other["line"]] for other in one["moved"]} for name, one in found.items()}


async def test_a_run_that_ends_by_the_sites_fault_says_on_both_lines_where_its_seconds_went(world: World) -> None:
    job, first, second = await job_with_hold(world), ids.new("run"), ids.new("run")
    job.use(first, 0, 40)
    job.use(second, 0, 30)
    await world.deliver()
    march = await close(world, 0)
    job.end(first, Outcome.SITE)
    await world.deliver()
    found = await adjustments(job, march)
    ours, theirs = ("day", None), ("day", "site_fault")
    assert other_lines(found) == {ours: {theirs}, theirs: {ours}}
    (there,) = found[ours]["moved"]
    names = ("quantity", "unit_price", "amount", "bearer", "reason", "contests", "price_corrections")
    assert [there[name] for name in names] == [40, "36.00", "0.40", "provider", "site_fault", [], []]
    assert there["price_list"] == world.price_list
    line, back = (found[name]["line"]["id"] for name in (theirs, ours))
    assert found[ours]["words"] == {
        "zh": "核时，费率 day：30 x 36.00 / 3600 = 0.30；更正账期 2026-03：现为 0.30，此前已计 0.70，差额 -0.40；由企业承担；"
        f"改记在 {line}：增加 40 核秒，单价 36.00，金额 0.40；由算力中心承担：这次运行因算力中心的故障而结束或失联，企业不为此付费",
        "en": "core-hours, tariff day: 30 x 36.00 / 3600 = 0.30; "
        "corrects the period 2026-03: now 0.30, billed before 0.70, difference -0.40; the organization bears it; "
        f"instead, {line} has 40 core-seconds more at 36.00: 0.40; "
        "the centre bears it: the run ended by the site's fault or was lost there, which no organization pays for",
    }
    assert found[theirs]["words"]["en"].endswith(
        f"; it comes from {back}, which has 40 core-seconds less at 36.00: -0.40; the organization bore it"
    )
    job.end(second, Outcome.SITE)
    await world.deliver()
    gone = (await adjustments(job, march))[ours]
    assert "now 0.00, billed before 0.70, difference -0.70; the organization bore it; instead, " in gone["words"]["en"]
    assert "差额 -0.70；此前由企业承担；改记在 " in gone["words"]["zh"]
    assert gone["bearer"]["words"]["en"] == "the organization bears it"


async def test_an_upheld_contest_is_named_by_all_lines_that_it_moves(world: World) -> None:
    job, lost, other = await job_with_hold(world, "0.30"), ids.new("run"), ids.new("run")
    job.use(lost, 0, 40)
    job.end(lost, Outcome.LOST)
    job.use(other, 0, 20, cpus=0)
    job.end(other, Outcome.DUPLICATE)
    await world.deliver()
    march = await close(world, 0)
    contest = await contested(world, lost)
    assert (await adjustments(job, march)) == {}
    await decided(world, contest, "uphold")
    found = await adjustments(job, march)
    ours, theirs, beyond = ("day", None), ("day", "site_fault"), ("day", "overrun")
    assert other_lines(found) == {ours: {theirs}, theirs: {ours, beyond}, beyond: {theirs}}
    assert {tuple(other["contests"]) for one in found.values() for other in one["moved"]} == {(contest["id"],)}
    said = found[theirs]["words"]
    assert "；此前由算力中心承担；" in said["zh"] and "; the centre bore it; instead, " in said["en"]
    assert (
        said["en"].count(f"; finance upheld the contest {contest['id']}: the centre doesn't bear the run for how it")
        == 2
    )
    assert f"；算力中心的申诉 {contest['id']} 成立，这次运行不再因其结局而由算力中心承担" in found[ours]["words"]["zh"]


async def test_a_contest_that_was_dismissed_or_is_of_another_reason_is_not_named(world: World) -> None:
    job, lost, twice = await job_with_hold(world), ids.new("run"), ids.new("run")
    job.use(lost, 0, 40, index=0)
    job.end(lost, Outcome.LOST)
    job.use(twice, 100, 130, index=1)
    job.end(twice, Outcome.DUPLICATE)
    await world.deliver()
    march = await close(world, 0)
    await decided(world, await contested(world, lost), "dismiss")
    upheld = await contested(world, twice)
    await decided(world, upheld, "uphold")
    job.end(lost, Outcome.SUCCEEDED)
    await world.deliver()
    moved = (await adjustments(job, march))["day", None]["moved"]
    assert {one["reason"]: one["contests"] for one in moved} == {"site_fault": [], "duplicate": [upheld["id"]]}


async def test_a_contest_that_another_centre_won_is_not_named(world: World) -> None:
    other_centre = ids.new("prv")
    world.know_provider(other_centre)
    job, here, there = await job_with_hold(world), ids.new("run"), ids.new("run")
    job.use(here, 0, 40)
    job.end(here, Outcome.LOST)
    job.attempt = ids.new("att")
    job.place(provider=other_centre)
    job.use(there, 100, 130)
    job.end(there, Outcome.LOST)
    await world.deliver()
    march = await close(world, 0)
    upheld = await contested(world, here)
    await decided(world, upheld, "uphold")
    job.end(there, Outcome.SUCCEEDED)
    await world.deliver()
    late = [one for one in await job.lines() if one["corrects"] == march and one["component"] == "cpu_core_hour"]
    named = {
        one["provider"]: {tuple(other["contests"]) for other in (await explained(world, one))["moved"]} for one in late
    }
    assert named == {world.provider: {(upheld["id"],)}, other_centre: {()}}


async def test_a_contest_is_named_by_adjustments_of_its_time_alone(world: World) -> None:
    job, run = await job_with_hold(world), ids.new("run")
    job.use(run, 0, 40)
    job.end(run, Outcome.LOST)
    await world.deliver()
    march = await close(world, 0)
    await decided(world, await contested(world, run), "uphold")
    assert [one["contests"] for one in (await adjustments(job, march))["day", None]["moved"]] != [[]]

    async def named(decided_at: datetime) -> bool:
        then = update(ContestRow).values(decided_at=decided_at)
        assert await world.db.write(lambda tx: affected(tx, then)) == 1
        (moved,) = (await adjustments(job, march))["day", None]["moved"]
        return bool(moved["contests"])

    (taking,) = {one["period"] for one in await job.lines() if one["corrects"] == march}
    opened = (await world.db.read(periods.find, taking)).starts_at
    assert [await named(opened), await named(opened - timedelta(seconds=1))] == [True, False]
    await world.db.write(finish_now, taking)
    closed = (await world.db.read(periods.find, taking)).closed_at
    assert [await named(closed), await named(closed + timedelta(seconds=1))] == [True, False]


async def test_a_price_correction_is_named_with_its_reason_by_what_it_took_and_what_it_made(world: World) -> None:
    desk = Desk(world)
    await desk.open()
    job, run = await job_with_hold(world), ids.new("run")
    job.use(run, 0, 40)
    await world.deliver()
    march = await close(world, 0)
    elsewhere = await desk.correct(3600, 7200)
    made = await desk.correct(0, 40)
    found = await adjustments(job, march)
    wrong, right = ("day", None), ("right", None)
    assert other_lines(found) == {wrong: {right}, right: {wrong}}
    for name, at in ((wrong, "more at 3.60: 0.04"), (right, "less at 36.00: -0.40")):
        (other,) = found[name]["moved"]
        assert (other["price_corrections"], other["contests"]) == ([made["id"]], [])
        assert other["words"]["en"].endswith(
            f" has 40 core-seconds {at}; by the price correction {made['id']}: {REASON}"
        )
        assert other["words"]["zh"].endswith(f"；按价格更正 {made['id']}：{REASON}")
        assert other["words"]["en"] in found[name]["words"]["en"] and elsewhere["id"] not in found[name]["words"]["en"]
    await world.db.write(finish_now, found[right]["line"]["period"])
    job.end(run, Outcome.SITE)
    await world.deliver()
    (fault,) = [one for name, one in (await adjustments(job, march)).items() if name == ("right", "site_fault")]
    assert [one["price_corrections"] for one in fault["moved"]] == [[]], "its prices stay"


async def test_the_correction_that_holds_is_named_and_one_back_to_the_first_list_too(world: World) -> None:
    desk = Desk(world)
    await desk.open()
    third = ids.new("prl")
    world.know_prices(third, 3, tariff("third", None, None, cpu_core_hour="7.20"))
    job = await job_with_hold(world)
    job.use(ids.new("run"), 0, 40)
    await world.deliver()
    march = await close(world, 0)
    await desk.correct(0, 40)
    late = next(one for one in await job.lines() if one["corrects"])
    await world.db.write(finish_now, late["period"])
    for_third = await desk.correct(0, 40, third)
    back = await desk.correct(0, 20, world.price_list)
    lines = [one for one in await job.lines() if one["corrects"] and one["period"] != late["period"]]
    (taken,) = [one for one in lines if (one["component"], one["tariff"]) == ("cpu_core_hour", "right")]
    moved = (await explained(world, taken))["moved"]
    assert taken["corrects"] == march
    assert {(one["price_list"], one["quantity"]): one["price_corrections"] for one in moved} == {
        (third, 20): [for_third["id"]],
        (world.price_list, 20): [back["id"]],
    }


async def test_lines_that_change_by_themselves_name_no_other(world: World) -> None:
    job, long, short = await job_with_hold(world), ids.new("run"), ids.new("run")
    job.use(long, 0, 40)
    job.use(short, 100, 110)
    job.end(short, Outcome.SITE)
    await world.deliver()
    march = await close(world, 0)
    job.use(long, 0, 30, revision=2)
    await world.deliver()
    (only,) = (await adjustments(job, march)).values()
    assert only["moved"] == []


ROW: dict[str, Any] = {
    "id": "lin_1",
    "period": "per_2",
    "corrects": "per_1",
    "organization": "org",
    "provider": "prv",
    "reseller": "",
    "project": "prj",
    "price_list": "prl_1",
    "price_list_revision": 1,
    "component": Component.CPU_CORE_HOUR.value,
    "accelerator": "",
    "tariff": "day",
    "pricing_window": "all",
    "bearer": "organization",
    "reason": "",
    "unit_price": "36.00",
    "quantity": -40,
    "attempt": "",
}


def row(**other: Any) -> Any:
    return SimpleNamespace(**ROW | other)


FAULT: dict[str, Any] = {"bearer": "provider", "reason": "site_fault", "quantity": 40}
RIGHT: dict[str, Any] = {
    "price_list": "prl_2",
    "price_list_revision": 2,
    "tariff": "right",
    "unit_price": "3.60",
    "quantity": 40,
}


def test_who_else_bears_the_same_usage_is_the_other_side() -> None:
    fault, right = row(id="lin_2", **FAULT), row(id="lin_2", **RIGHT)
    assert counterparts(row(), [row(), fault, right], ()) == [fault]
    assert counterparts(fault, [row(), fault, right], ()) == [row()]
    one = row(id="lin_3", **FAULT | {"quantity": 1})
    assert counterparts(row(quantity=-1), [one], ()) == [one]
    assert counterparts(row(quantity=0), [one], ()) == []


@pytest.mark.parametrize(
    "other",
    [
        {"quantity": -40},
        {"quantity": 0},
        {"period": "per_3"},
        {"corrects": "per_0"},
        {"component": "node_hour"},
        {"attempt": "att"},
        {"organization": "other"},
        {"pricing_window": "peak"},
        {"bearer": "organization", "reason": ""},
    ],
)
def test_what_is_not_of_the_same_usage_is_not(other: dict[str, Any]) -> None:
    assert counterparts(row(), [row(), row(id="lin_2", **FAULT | other)], ("prl_1",)) == []


def test_another_price_list_counts_where_a_correction_made_it_one() -> None:
    right = row(id="lin_2", **RIGHT)
    assert (
        counterparts(row(), [row(), right], ("prl_2",)) == counterparts(row(), [right], ("prl_1", "prl_3")) == [right]
    )
    assert counterparts(row(), [row(), right], ()) == counterparts(row(), [right], ("prl_3",)) == []
    assert counterparts(row(), [row(id="lin_2", **RIGHT | {"component": "node_hour"})], ("prl_2",)) == []
    assert counterparts(row(), [row(id="lin_2", **RIGHT | {"price_list": "prl_1"})], ("prl_1",)) == []


def test_what_differs_in_bearer_and_prices_comes_behind_what_differs_in_one() -> None:
    fault, right, both = row(id="lin_4", **FAULT), row(id="lin_3", **RIGHT), row(id="lin_2", **RIGHT | FAULT)
    assert counterparts(row(), [both], ("prl_2",)) == [both]
    assert counterparts(row(), [both], ()) == []
    assert counterparts(row(), [right, both], ("prl_2",)) == [right]
    assert counterparts(row(), [fault, both], ("prl_2",)) == [fault]
    assert counterparts(row(), [right, fault, both], ("prl_2",)) == [fault, right]
    more = [
        row(id=f"lin_{number}", **FAULT | {"reason": reason}) for number, reason in ((6, "overrun"), (5, "preempted"))
    ]
    assert counterparts(row(), more, ()) == more[::-1]


def test_seconds_count_that_lie_in_the_period() -> None:
    def inside(start: int, end: int) -> list[list[tuple[int, int]]]:
        found = in_period([a_run(core(10, 20), core(30, 40))], PeriodSpan("per", START + start, START + end))
        return [[(a - START, b - START) for a, b in spans] for _, spans in found]

    assert inside(0, 50) == [[(10, 20), (30, 40)]]
    assert inside(15, 31) == [[(15, 20), (30, 31)]]
    assert inside(19, 30) == [[(19, 20)]]
    assert inside(20, 30) == inside(0, 10) == []


def test_of_corrections_that_overlap_the_last_holds() -> None:
    def held(*some: tuple[int, int]) -> list[int]:
        corrections = [Priced(start, end, "prl", Decided(str(number), "")) for number, (start, end) in enumerate(some)]
        return [int(one.decided.id) for one in holding(corrections, 10, 20)]

    assert held() == held((0, 10)) == held((20, 30)) == held((0, 10), (20, 30)) == []
    assert held((10, 11)) == held((19, 20)) == held((0, 30)) == held((10, 20)) == [0]
    assert held((10, 20), (10, 20)) == [1]
    assert held((12, 14), (0, 30)) == [1, 1, 1]
    assert held((10, 20), (12, 14)) == [0, 1, 0]
    assert held((10, 12), (12, 20)) == [0, 1]
