"""Usage becomes lines, captures and postings: the stories, through the feeds and HTTP."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Engine as SqlEngine
from sqlalchemy import event, select, update
from sqlalchemy.orm import Session

from caravan.contracts.jobs import Outcome
from caravan.contracts.prices import Component, DaySpan, PriceWindow
from caravan.contracts.usage import Grant
from caravan.kernel import clock, ids
from caravan.kernel.money import Money
from services.accounting.funds import holds
from services.accounting.periods import service as periods
from services.accounting.periods.closing import finish
from services.accounting.periods.models import PeriodRow
from tests.accounting.world import T0, Job, World, at, hour_of, tariff
from tests.support import Json, ok, refused


async def job_with_hold(world: World, amount: str = "50.00", **place: Any) -> Job:
    await world.deposit("1000.00")
    job = world.job()
    assert (await job.hold(amount))["granted"]
    job.place(**place)
    return job


def amounts(lines: Sequence[Json]) -> dict[tuple[str, str | None], str]:
    """Of the core lines: (tariff, reason) -> amount."""
    return {(one["tariff"], one["reason"]): one["amount"] for one in lines if one["component"] == "cpu_core_hour"}


def finish_now(tx: Session, period: str) -> None:
    """Close a period as if it were over."""
    tx.execute(update(PeriodRow).where(PeriodRow.id == period).values(state="closing", grace_ends_at=T0))
    ends = tx.execute(select(PeriodRow.ends_at).where(PeriodRow.id == period)).scalar_one()
    assert finish(tx, period, ends + timedelta(days=1))


async def close(world: World, second: int) -> str:
    """Close the period in which a second after T0 lies."""
    epoch = clock.to_seconds(at(second))
    (found,) = await world.db.write(periods.locate, epoch, epoch + 1)
    await world.db.write(finish_now, found.period)
    return found.period


async def test_usage_becomes_lines_captures_them_and_stands_in_the_ledger(world: World) -> None:
    job, run = await job_with_hold(world), ids.new("run")
    job.use(run, 0, 40, cpus=2)
    await world.deliver()
    assert amounts(await job.lines()) == {("day", None): "0.80"}
    hold = await job.read()
    assert (hold["captured"], hold["held"], hold["status"]) == ("0.80", "49.20", "open")
    funds = await world.funds()
    assert (funds["charged"], funds["held"], funds["available"]) == ("0.80", "49.20", "950.00")
    await world.consistent()


async def test_the_price_per_job_falls_in_the_first_second_that_the_job_holds_anything(world: World) -> None:
    hourly = ids.new("prl")
    world.know_prices(
        hourly, 2, tariff("first", None, 3600, job="1"), tariff("second", 3600, 7200, job="2"), tariff("third", 7200, None, job="3")
    )  # fmt: skip
    job, run = await job_with_hold(world, price_list=hourly), ids.new("run")

    async def charged() -> dict[str, str]:
        await world.deliver()
        lines = await job.lines()
        return {one["tariff"]: one["amount"] for one in lines if one["component"] == "job" and one["amount"] != "0.00"}

    job.use(run, 0, 0, began=0)  # suspended as soon as it was started
    assert await charged() == {}
    job.use(run, 7205, 7210, began=0)
    assert await charged() == {"third": "3.00"}
    job.use(run, 3605, 3610, began=0)
    assert await charged() == {"second": "2.00"}
    job.use(run, 5, 10, began=0, revision=2)
    assert await charged() == {"first": "1.00"}
    job.use(run, 5, 5, began=0, revision=3)
    job.use(run, 3605, 3605, began=0, revision=2)
    assert await charged() == {"third": "3.00"}
    other = ids.new("run")
    job.use(other, 20, 30, began=0)
    assert await charged() == {"first": "1.00"}
    job.end(other, Outcome.SITE)
    assert await charged() == {"third": "3.00"}
    job.end(run, Outcome.LOST)
    assert await charged() == {}
    assert (await job.read())["captured"] == "0.00"
    await world.consistent()


async def test_an_ended_attempt_is_topped_up_to_its_minimum_and_late_usage_changes_that(world: World) -> None:
    least = ids.new("prl")
    prices = tariff("least", None, None, cpu_core_hour="36").model_copy(update={"minimum_charge": Money(100)})
    world.know_prices(least, 2, prices)
    job, run = await job_with_hold(world, price_list=least), ids.new("run")

    async def charged() -> list[tuple[str, str, bool]]:
        await world.deliver()
        await world.consistent()
        lines = [line for line in await job.lines() if line["amount"] != "0.00"]
        return sorted((line["component"], line["amount"], bool(line["corrects"])) for line in lines)

    job.use(run, 0, 40)
    assert await charged() == [("cpu_core_hour", "0.40", False)]
    job.end_attempt()
    job.end_attempt()
    assert await charged() == [("cpu_core_hour", "0.40", False), ("minimum_charge", "0.60", False)]
    (line,) = [line for line in await job.lines() if line["component"] == "minimum_charge"]
    assert (line["attempt"], line["quantity"], line["unit_price"], line["tariff"]) == (job.attempt, 60, "0.01", "least")
    assert (await job.read())["captured"] == "1.00"
    words = ok(await world.member.get(f"/jobs/{job.id}/explanation"))["lines"]
    lacks = "minimum charge 1.00 - 0.40 that the attempt's seconds cost = 0.60; 60 fen x 0.01 = 0.60"
    assert lacks in {one["arithmetic"]["en"] for one in words}
    told = ok(await world.member.get(f"/lines/{line['id']}/explanation"))["words"]
    assert "60 fen x 0.01 = 0.60" in told["en"] and "60 分 x 0.01 = 0.60" in told["zh"]
    await close(world, 0)
    job.use(run, 0, 70, revision=2)
    assert (await charged())[1:] == [
        ("cpu_core_hour", "0.40", False), ("minimum_charge", "-0.30", True), ("minimum_charge", "0.60", False),
    ]  # fmt: skip
    assert (await job.read())["captured"] == "1.00"
    export = ok(await world.finance.get("/exports/usage", period=line["period"]))
    assert export["usage"][0]["attempt_ended"]
    job.end(run, Outcome.SITE)
    await charged()
    assert (await job.read())["captured"] == "0.00"


async def test_what_the_hold_has_not_left_of_a_minimum_is_the_providers_until_the_hold_is_raised(world: World) -> None:
    least = ids.new("prl")
    prices = tariff("least", None, None, cpu_core_hour="36").model_copy(update={"minimum_charge": Money(100)})
    world.know_prices(least, 2, prices)
    job = await job_with_hold(world, "0.70", price_list=least)
    job.end_attempt()
    job.use(ids.new("run"), 0, 40)
    await world.deliver()

    async def minimum() -> dict[str | None, str]:
        await world.consistent()
        return {line["reason"]: line["amount"] for line in await job.lines() if line["component"] == "minimum_charge"}

    assert await minimum() == {None: "0.30", "overrun": "0.30"}
    assert (await job.hold("5.00"))["granted"]
    assert await minimum() == {None: "0.60"}


async def test_a_second_is_priced_at_the_time_it_ran(world: World) -> None:
    changed = ids.new("prl")
    world.know_prices(
        changed, 2, tariff("old", None, 10, cpu_core_hour="36"), tariff("new", 10, None, cpu_core_hour="72")
    )
    job = await job_with_hold(world, price_list=changed)
    job.use(ids.new("run"), 0, 25)
    await world.deliver()
    assert amounts(await job.lines()) == {("old", None): "0.10", ("new", None): "0.30"}


async def test_a_second_is_priced_by_the_window_that_it_lies_in(world: World) -> None:
    """T0 is a whole minute; the window begins 60 s later, by the clocks of Xi'an, and lasts a minute."""
    by_window = ids.new("prl")
    local = at(60).astimezone(ZoneInfo("Asia/Shanghai"))
    dear = PriceWindow(
        name="peak",
        times=(DaySpan(starts=f"{local:%H:%M}", ends=f"{local + timedelta(minutes=1):%H:%M}"),),
        prices={Component.CPU_CORE_HOUR: Decimal("72")},
    )
    always = tariff("2026", None, None, cpu_core_hour="36", job="1").model_copy(update={"windows": (dear,)})
    world.know_prices(by_window, 2, always)
    job = await job_with_hold(world, price_list=by_window)
    job.use(ids.new("run"), 50, 130)
    await world.deliver()
    lines = {(one["component"], one["window"]): (one["unit_price"], one["amount"]) for one in await job.lines()}
    assert lines["cpu_core_hour", "flat"] == ("36", "0.20")
    assert lines["cpu_core_hour", "peak"] == ("72", "1.20")
    assert lines["job", "flat"] == ("1", "1.00")
    await world.consistent()


async def test_a_doubled_or_older_revision_changes_nothing_and_a_later_one_replaces_the_hour(world: World) -> None:
    job, run = await job_with_hold(world), ids.new("run")
    job.use(run, 0, 40, revision=2)
    job.use(run, 0, 40, revision=2)
    job.use(run, 0, 10, revision=1)
    await world.deliver()
    assert amounts(await job.lines()) == {("day", None): "0.40"}
    job.use(run, 0, 30, revision=3)
    await world.deliver()
    assert amounts(await job.lines()) == {("day", None): "0.30"}
    entries = ok(await world.finance.get("/ledger/entries", organization=world.organization))["items"]
    assert [entry["kind"] for entry in entries] == ["reversal", "charge", "deposit"]
    await world.consistent()


async def test_a_site_fault_moves_the_run_to_the_provider(world: World) -> None:
    job, good, bad = await job_with_hold(world), ids.new("run"), ids.new("run")
    job.use(good, 0, 10)
    job.use(bad, 0, 30)
    await world.deliver()
    assert (await job.read())["captured"] == "0.40"
    job.end(bad, Outcome.SITE)
    job.end(good, Outcome.USER)
    await world.deliver()
    assert amounts(await job.lines()) == {("day", None): "0.10", ("day", "site_fault"): "0.30"}
    assert (await job.read())["captured"] == "0.10"
    await world.consistent()


async def test_a_site_fault_after_hours_moves_all_of_the_run_also_out_of_closed_periods(world: World) -> None:
    prices = ids.new("prl")
    world.know_prices(prices, 2, tariff("day", None, None, cpu_core_hour="36", job="0.05"))
    job, run = await job_with_hold(world, "500.00", price_list=prices), ids.new("run")
    for hour in range(3):
        job.use(run, 3600 * hour + 10, 3600 * hour + 3600)
    await world.deliver()
    march = await close(world, 0)
    april = 86_400 * 22
    job.use(run, april, april + 1800)
    await world.deliver()
    assert (await job.read())["captured"] == f"{(3 * 35_90 + 18_00 + 5) / 100:.2f}"
    sealed = [line for line in await job.lines() if line["period"] == march]
    job.end(run, Outcome.SITE)
    await world.deliver()
    lines = await job.lines()
    assert [line for line in lines if line["period"] == march] == sealed
    moved = [
        (line["component"], line["corrects"], line["reason"], line["amount"])
        for line in lines
        if line["period"] != march
    ]
    assert sorted(moved, key=str) == sorted(
        [
            ("cpu_core_hour", march, None, "-107.70"), ("cpu_core_hour", march, "site_fault", "107.70"),
            ("cpu_core_hour", None, "site_fault", "18.00"), ("job", march, None, "-0.05"),
            ("node_hour", march, None, "0.00"), ("node_hour", march, "site_fault", "0.00"),
            ("node_hour", None, "site_fault", "0.00"),
        ], key=str,
    )  # fmt: skip
    assert (await job.read())["captured"] == "0.00"
    assert (await world.funds())["charged"] == "0.00"
    await world.consistent()


async def test_what_would_pass_the_hold_is_the_providers(world: World) -> None:
    job, run = await job_with_hold(world, "0.25"), ids.new("run")
    job.use(run, 0, 20)
    job.use(run, 20, 40, revision=2)
    await world.deliver()
    assert (await job.read())["captured"] == "0.20"
    job.use(run, 0, 40, revision=3)
    await world.deliver()
    assert amounts(await job.lines()) == {("day", None): "0.25", ("day", "overrun"): "0.15"}
    hold = await job.read()
    assert (hold["captured"], hold["held"]) == ("0.25", "0.00")
    await world.consistent()
    assert (await job.hold("0.35"))["granted"]
    assert amounts(await job.lines()) == {("day", None): "0.35", ("day", "overrun"): "0.05"}
    job.end(run, Outcome.LOST)
    await world.deliver()
    assert amounts(await job.lines()) == {("day", "site_fault"): "0.40"}
    assert (await job.read())["captured"] == "0.00"
    await world.consistent()


@contextmanager
def statements() -> Iterator[list[str]]:
    """What is asked of databases meanwhile."""
    asked: list[str] = []

    def keep(connection: object, cursor: object, statement: str, *_: object) -> None:
        asked.append(statement)

    event.listen(SqlEngine, "before_cursor_execute", keep)
    try:
        yield asked
    finally:
        event.remove(SqlEngine, "before_cursor_execute", keep)


async def test_what_comes_behind_the_second_in_which_the_hold_was_used_up_costs_only_its_own_lines(
    world: World,
) -> None:
    job, early, late, whole_job = (
        await job_with_hold(world, "0.25"),
        ids.new("run"),
        ids.new("run"),
        "usage_records.job =",
    )
    with statements() as asked:
        job.use(early, 0, 40)
        await world.deliver()
    assert any(whole_job in one for one in asked)
    with statements() as asked:
        job.use(early, 0, 45, revision=2)
        job.use(late, 30, 60)
        job.end(late, Outcome.SITE)
        await world.deliver()
    assert asked and not any(whole_job in one for one in asked)
    assert amounts(await job.lines()) == {
        ("day", None): "0.25", ("day", "overrun"): "0.20", ("day", "site_fault"): "0.30",
    }  # fmt: skip
    await world.consistent()
    with statements() as asked:
        job.use(early, 10, 45, revision=3)
        await world.deliver()
    assert any(whole_job in one for one in asked)
    assert amounts(await job.lines()) == {
        ("day", None): "0.25", ("day", "overrun"): "0.10", ("day", "site_fault"): "0.30",
    }  # fmt: skip
    await world.consistent()


async def test_what_is_held_beyond_the_grant_is_the_providers_and_money_moves_as_hours_come_and_are_corrected(
    world: World,
) -> None:
    grant = Grant(nodes=1, cpus=2, memory_mib=1, max_seconds=3650)
    job, run = await job_with_hold(world, "500.00", grant=grant), ids.new("run")

    async def borne() -> tuple[str, str]:
        await world.deliver()
        found = amounts(await job.lines())
        assert (await job.read())["captured"] == found["day", None]
        await world.consistent()
        return found["day", None], found.get(("day", "overrun"), "0.00")

    job.use(run, 10, 3600, cpus=3)
    assert await borne() == ("71.80", "35.90"), "a third core"
    job.use(run, 7200, 7300)
    assert await borne() == ("72.40", "36.30"), "40 s too long; the hour between isn't said yet"
    job.use(run, 3600, 3640)
    assert await borne() == ("72.40", "36.70"), "its 40 s are the last that were granted"
    job.use(run, 10, 3600, cpus=2, revision=2)
    assert await borne() == ("72.40", "0.80")
    job.use(run, 1810, 3600, cpus=2, revision=3)
    assert await borne() == ("37.20", "0.00")
    job.end(run, Outcome.SITE)
    await world.deliver()
    assert amounts(await job.lines()) == {("day", "site_fault"): "37.20"}


async def test_a_hold_lowered_below_what_was_captured_stays_at_it(world: World) -> None:
    job = await job_with_hold(world)
    job.use(ids.new("run"), 0, 40)
    await world.deliver()
    assert (await job.hold("0.10"))["granted"]
    hold = await job.read()
    assert (hold["amount"], hold["captured"], hold["held"]) == ("0.40", "0.40", "0.00")
    await world.consistent()


async def test_a_hold_is_freed_when_all_that_was_listed_is_charged_and_not_before(world: World) -> None:
    job, run, other = await job_with_hold(world), ids.new("run"), ids.new("run")
    job.use(run, 0, 40)
    for _ in ("first", "again"):
        job.settle({run: {hour_of(0): 3}, other: {}})
        await world.deliver()
        assert (await job.read())["status"] == "open"
    job.end(run)
    job.end(other)
    await world.deliver()
    job.use(run, 0, 50, revision=2)
    await world.deliver()
    assert (await job.read())["held"] == "49.50"
    job.use(run, 0, 41, revision=3)
    await world.deliver()
    hold = await job.read()
    assert (hold["status"], hold["captured"], hold["held"]) == ("settled", "0.41", "0.00")
    steps = [(m["step"], m["amount"], m["held"]) for m in hold["movements"]]
    assert steps[-2:] == [("released", "-49.59", "0.00"), ("settled", "0.00", "0.00")]
    assert (await world.funds())["available"] == "999.59"
    job.settle({run: {hour_of(0): 3}})
    await world.deliver()
    await world.db.write(holds.free_rest, job.id, T0)
    assert len((await job.read())["movements"]) == len(steps)
    refused(await world.put_hold(job, 9, "60.00"), 409, "hold_outdated")
    await world.consistent()


async def test_a_settlement_waits_for_all_runs_of_its_own_job_and_for_no_other(world: World) -> None:
    job, waiting = await job_with_hold(world), await job_with_hold(world)
    first, second = ids.new("run"), ids.new("run")
    waiting.settle({ids.new("run"): {}})
    job.settle({first: {hour_of(0): 1}, second: {hour_of(0): 1}})
    for run in (first, second):
        job.use(run, 0, 10)
        await world.deliver()
        assert (await job.read())["status"] == "open"
        job.end(run)
        await world.deliver()
    assert [(await one.read())["status"] for one in (job, waiting)] == ["settled", "open"]


async def test_usage_that_comes_after_settling_is_charged_and_holds_nothing(world: World) -> None:
    job, other, run = await job_with_hold(world), await job_with_hold(world), ids.new("run")
    job.use(run, 0, 40)
    job.end(run)
    job.settle({run: {hour_of(0): 1}})
    for revision, end in ((2, 60), (3, 70)):
        job.use(run, 0, end, revision=revision)
        await world.deliver()
        hold, funds = await job.read(), await world.funds()
        assert (hold["status"], hold["captured"], hold["held"]) == ("settled", f"0.{end}", "0.00")
        assert (funds["charged"], funds["held"]) == (f"0.{end}", "50.00")
    assert (await other.read())["held"] == "50.00"
    await world.consistent()


async def test_a_job_that_settles_without_runs_frees_all(world: World) -> None:
    job = await job_with_hold(world)
    job.settle({})
    await world.deliver()
    assert (await job.read())["status"] == "settled"
    assert (await world.funds())["available"] == "1000.00"


async def test_a_hold_asked_for_after_the_job_settled_is_refused(world: World) -> None:
    await world.deposit("10.00")
    job = world.job()
    job.settle({})
    await world.deliver()
    refused(await world.put_hold(job, 1, "1.00"), 409, "hold_outdated")
    assert (await world.funds())["held"] == "0.00"


async def test_a_zero_second_run_settles(world: World) -> None:
    job, run = await job_with_hold(world), ids.new("run")
    job.use(run, 0, 0)
    job.end(run, Outcome.USER)
    job.settle({run: {hour_of(0): 1}})
    await world.deliver()
    assert await job.lines() == []
    assert (await job.read())["status"] == "settled"


async def test_a_parked_usage_event_keeps_the_money_held_until_what_it_waits_for_comes(world: World) -> None:
    late = ids.new("prl")
    job, run = await job_with_hold(world, price_list=late), ids.new("run")
    job.use(run, 0, 40)
    job.end(run)
    job.settle({run: {hour_of(0): 1}})
    await world.deliver()
    assert await world.parked() == 3
    hold = await job.read()
    assert (hold["status"], hold["held"]) == ("open", "50.00")
    world.know_prices(late, 1, tariff("late", None, None, cpu_core_hour="36"))
    await world.deliver()
    assert await world.parked() == 0
    hold = await job.read()
    assert (hold["status"], hold["captured"]) == ("settled", "0.40")
    await world.consistent()


async def test_a_period_does_not_close_while_usage_is_parked(world: World) -> None:
    late = ids.new("prl")
    job = await job_with_hold(world, price_list=late)
    job.use(ids.new("run"), 0, 40)
    world.progress(86_400 * 40, 1)
    await world.deliver()
    epoch = clock.to_seconds(T0)
    (march,) = await world.db.write(periods.locate, epoch, epoch + 1)
    ok(await world.finance.post(f"/periods/{march.period}/close"))
    assert not await world.db.write(finish, march.period, clock.now())
    assert ok(await world.finance.get(f"/periods/{march.period}"))["state"] == "closing"
    world.know_prices(late, 1, tariff("late", None, None, cpu_core_hour="36"))
    await world.deliver()
    await world.db.write(finish, march.period, clock.now())
    assert ok(await world.finance.get(f"/periods/{march.period}"))["state"] == "closed"
    assert {line["period"] for line in await job.lines()} == {march.period}


async def test_usage_without_a_hold_waits(world: World) -> None:
    job = world.job()
    job.place()
    job.use(ids.new("run"), 0, 40)
    await world.deliver()
    assert await world.parked() == 1


async def test_late_usage_becomes_an_adjustment_in_the_open_period(world: World) -> None:
    job, run = await job_with_hold(world), ids.new("run")
    job.use(run, 0, 40)
    await world.deliver()
    march = await close(world, 0)
    sealed = await job.lines()
    for revision, end in ((2, 50), (3, 30)):
        job.use(run, 0, end, revision=revision)
        await world.deliver()
        lines = [line for line in await job.lines() if line["component"] == "cpu_core_hour"]
        late = [line for line in lines if line["corrects"]]
        assert [line for line in await job.lines() if not line["corrects"]] == sealed
        assert [(line["corrects"], line["quantity"]) for line in late] == [(march, end - 40)]
        assert late[0]["period"] != march
        assert (await job.read())["captured"] == f"0.{end}"
    explained = ok(await world.member.get(f"/jobs/{job.id}/explanation"))
    words = [line["arithmetic"]["en"] for line in explained["lines"] if line["line"]["component"] == "cpu_core_hour"]
    assert words == [
        "40 core-seconds; 40 x 36.00 / 3600 = 0.40",
        "now 30 core-seconds; 30 x 36.00 / 3600 = 0.30; 0.40 billed before; difference -0.10",
    ]
    job.use(run, 0, 40, revision=4)
    await world.deliver()
    assert await job.lines() == sealed
    await world.consistent()


async def test_an_adjustment_that_was_sealed_too_is_corrected_in_the_next_period(world: World) -> None:
    odd = ids.new("prl")
    world.know_prices(odd, 2, tariff("odd", None, None, cpu_core_hour="18"))
    job, run = await job_with_hold(world, price_list=odd), ids.new("run")
    job.use(run, 0, 1)
    await world.deliver()
    await close(world, 0)
    job.use(run, 0, 2, revision=2)
    await world.deliver()
    (late,) = {line["period"] for line in await job.lines() if line["corrects"]}
    await world.db.write(finish_now, late)
    job.use(run, 0, 3, revision=3)
    await world.deliver()
    found = [line for line in await job.lines() if line["component"] == "cpu_core_hour"]
    # half a fen a second: 1 s is 0.01, 2 s are 0.01, 3 s are 0.02, in three periods
    assert [(line["quantity"], line["amount"]) for line in found] == [(1, "0.01"), (1, "0.00"), (1, "0.01")]
    assert len({line["period"] for line in found}) == 3
    await world.consistent()


async def test_a_charge_is_explained_down_to_the_second(world: World) -> None:
    job, run = await job_with_hold(world), ids.new("run")
    job.use(run, 3580, 3600, cpus=2)
    job.use(run, 3600, 3620, cpus=2, began=3580)
    await world.deliver()
    explained = ok(await world.member.get(f"/jobs/{job.id}/explanation"))
    assert (explained["charged"], explained["borne_by_provider"]) == ("0.80", "0.00")
    (core,) = [line for line in explained["lines"] if line["line"]["component"] == "cpu_core_hour"]
    assert core["arithmetic"]["en"] == "2 cores x 40 s = 80 core-seconds; 80 x 36.00 / 3600 = 0.80"
    (factor,) = core["factors"]
    assert (factor["run"], factor["seconds"], factor["units"], factor["quantity"]) == (run, 40, 2, 80)
    assert factor["line"] == core["line"]["id"]


async def test_a_job_that_ran_months_apart_is_explained(world: World) -> None:
    job, months = await job_with_hold(world), 86_400 * 62
    job.use(ids.new("run"), 0, 40)
    job.use(ids.new("run"), months, months + 20)
    await world.deliver()
    explained = ok(await world.member.get(f"/jobs/{job.id}/explanation"))
    assert explained["charged"] == "0.60"
    assert {factor["seconds"] for line in explained["lines"] for factor in line["factors"]} == {40, 20, 1}


async def test_lines_and_explanations_are_seen_by_their_parties_only(world: World) -> None:
    job = await job_with_hold(world)
    job.use(ids.new("run"), 0, 40)
    await world.deliver()
    other = world.service.person("other", f"org/{ids.new('org')}:admin", f"provider/{ids.new('prv')}:admin")
    for person in (world.member, world.seller, world.finance):
        assert ok(await person.get(f"/jobs/{job.id}/explanation"))["charged"] == "0.40"
        assert len(ok(await person.get("/lines", job=job.id))["items"]) == 3
    refused(await other.get(f"/jobs/{job.id}/explanation"), 404, "not_found")
    assert ok(await other.get("/lines", job=job.id))["items"] == []
    refused(await world.service.person("nobody").get("/lines"), 404, "not_found")
    refused(await world.admin.get("/exports/usage"), 404, "not_found")


async def test_the_export_has_all_it_takes_to_charge_again(world: World) -> None:
    job, run = await job_with_hold(world), ids.new("run")
    job.use(run, 0, 40)
    job.end(run, Outcome.USER)
    await world.deliver()
    period = (await job.lines())[0]["period"]
    export = ok(await world.finance.get("/exports/usage", period=period))
    (one,) = export["usage"]
    assert (one["record"]["run"], one["outcome"], one["hold_amount"]) == (run, "user", "50.00")
    assert [prices["id"] for prices in export["price_lists"]] == [world.price_list]
    assert ok(await world.finance.get("/exports/usage", period=ids.new("per")))["usage"] == []
