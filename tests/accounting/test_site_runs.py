"""The runs at a site, each whole, with what they are priced at, and the lines of their jobs."""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import Engine, delete, event, update
from sqlalchemy.orm import Session

from caravan.contracts.jobs import Outcome
from caravan.kernel import ids
from services.accounting.charging.models import LineRow
from tests.accounting.world import Job, World, at, tariff
from tests.support import Json, Person, ok, pointers, refused

HOUR = 3600


async def job_with_hold(world: World, amount: str = "50.00") -> Job:
    await world.deposit("1000.00")
    job = world.job()
    assert (await job.hold(amount))["granted"]
    job.place()
    return job


def span(start: int, end: int) -> dict[str, Any]:
    return {"from": at(start).isoformat(), "to": at(end).isoformat()}


async def listed(world: World, start: int = 0, end: int = 24 * HOUR, by: Person | None = None, **more: Any) -> Json:
    return ok(await (by or world.finance).get(f"/sites/{world.site}/runs", **span(start, end), **more))


async def items(world: World, start: int = 0, end: int = 24 * HOUR) -> list[Json]:
    return list((await listed(world, start, end))["items"])


def priced(run: Json, component: str = "cpu_core_hour") -> list[tuple[str, str, str, int]]:
    return [
        (one["price_list"], one["tariff"], one["unit_price"], one["quantity"])
        for one in run["priced"]
        if one["component"] == component
    ]


@contextmanager
def reads(
    tables: Sequence[str] = ("usage_records", "attempts", "price_lists", "lines"),
) -> Iterator[list[tuple[str, Any]]]:
    """What is asked of these tables meanwhile, with its parameters. The service's loops look at others."""
    asked: list[tuple[str, Any]] = []

    def keep(connection: object, cursor: object, statement: str, parameters: Any, *_: object) -> None:
        if any(f"FROM {table}" in statement for table in tables):
            asked.append((statement, parameters))

    event.listen(Engine, "before_cursor_execute", keep)
    try:
        yield asked
    finally:
        event.remove(Engine, "before_cursor_execute", keep)


async def rows_of(world: World, asked: list[tuple[str, Any]]) -> list[int]:
    """How many rows each of these reads gives."""

    def count(tx: Session) -> list[int]:
        connection = tx.connection()
        return [
            connection.exec_driver_sql(f"SELECT count(*) FROM ({statement}) AS counted", parameters).scalar_one()
            for statement, parameters in asked
        ]

    return await world.db.read(count)


async def test_a_run_is_told_whole_with_its_identity_and_what_was_billed(world: World) -> None:
    job, run = await job_with_hold(world), ids.new("run")
    job.use(run, HOUR - 10, HOUR, cpus=2, identity="qin:1:1")
    job.use(run, HOUR, HOUR + 30, cpus=2, began=HOUR - 10, identity="qin:1:1")
    world.progress(2 * HOUR, 1)
    await world.deliver()
    (found,) = await items(world, HOUR, HOUR + 1)
    assert (found["run"], found["job"], found["identity"], found["outcome"]) == (run, job.id, "qin:1:1", None)
    (held,) = found["spans"]
    assert (held["start"], held["end"], held["cpus"]) == (
        at(HOUR - 10).isoformat().replace("+00:00", "Z"),
        at(HOUR + 30).isoformat().replace("+00:00", "Z"),
        2,
    )
    assert priced(found) == [(world.price_list, "day", "36.00", 80)]
    assert priced(found, "job") == [(world.price_list, "day", "0", 1)]
    answer = ok(await world.finance.get(f"/sites/{world.site}/runs", **span(0, 1)))
    assert (answer["items"], answer["complete_through"]) == ([], at(2 * HOUR).isoformat().replace("+00:00", "Z"))
    job.end(run, Outcome.USER)
    await world.deliver()
    assert [one["outcome"] for one in await items(world)] == ["user"]


async def test_gaps_stay_and_a_run_is_found_by_any_of_its_seconds(world: World) -> None:
    job, run = await job_with_hold(world), ids.new("run")
    job.use(run, 0, 10)
    job.use(run, 2 * HOUR + 5, 2 * HOUR + 9, began=0)
    await world.deliver()
    (found,) = await items(world, 2 * HOUR, 3 * HOUR)
    assert len(found["spans"]) == 2
    assert await items(world, 0, 1) == [found]
    assert await items(world, 10, 2 * HOUR + 5) == []
    assert await items(world, 9, 2 * HOUR + 6) == [found]


async def test_what_a_jobs_runs_are_priced_at_sums_to_its_lines_whoever_bears_them(world: World) -> None:
    """What passes the hold, what the site broke, and what corrects another line."""
    prices = ids.new("prl")
    world.know_prices(prices, 2, tariff("half", None, None, cpu_core_hour="18.00", job="0.05"))
    await world.deposit("1000.00")
    job = world.job()
    await job.hold("0.20")
    job.place(price_list=prices)
    runs = [ids.new("run") for _ in range(5)]
    for number, run in enumerate(runs):
        job.use(run, number, number + 15)
    job.end(runs[1], Outcome.SITE)
    await world.deliver()
    told = await listed(world)
    sums: Counter[tuple[str, ...]] = Counter()
    for found in told["items"]:
        assert priced(found) == [(prices, "half", "18.00", 15)]
        assert priced(found, "job") == [(prices, "half", "0.05", 1)] * (found["run"] == runs[0])
        for one in found["priced"]:
            sums[one["period"], one["component"], one["tariff"], one["window"]] += one["quantity"]
    billed: Counter[tuple[str, ...]] = Counter()
    for line in told["lines"]:
        billed[line["period"], line["component"], line["tariff"], line["window"]] += line["quantity"]
    assert sums == billed
    assert told["lines"] == sorted(await job.lines(), key=lambda line: str(line["id"]))
    assert {line["reason"] for line in told["lines"]} == {None, "site_fault", "overrun"}


async def test_what_was_billed_is_what_the_lines_say(world: World) -> None:
    job, other = await job_with_hold(world), await job_with_hold(world)
    run, another = ids.new("run"), ids.new("run")
    job.use(run, 0, 10)
    other.use(another, 0, 10)
    await world.deliver()

    def spoil(tx: Session) -> None:
        core = (LineRow.job == job.id, LineRow.component == "cpu_core_hour")
        tx.execute(update(LineRow).where(*core).values(quantity=9))
        tx.execute(delete(LineRow).where(LineRow.job == other.id))

    await world.db.write(spoil)
    told = await listed(world)
    assert [priced(one)[0][-1] for one in told["items"]] == [10, 10]
    core = [line for line in told["lines"] if line["component"] == "cpu_core_hour"]
    assert [(line["job"], line["quantity"], line["amount"]) for line in core] == [(job.id, 9, "0.10")]
    assert {line["job"] for line in told["lines"]} == {job.id}


async def test_lines_are_those_of_the_price_lists_of_the_runs_that_are_told(world: World) -> None:
    """A job that was tried again elsewhere; one job alone can be asked for, whenever it ran."""
    job, other = await job_with_hold(world), await job_with_hold(world)
    here, there, again, foreign = (ids.new("run") for _ in range(4))
    job.use(here, 0, 10)
    other.use(foreign, 0, 10)
    prices = ids.new("prl")
    world.know_prices(prices, 2, tariff("half", None, None, cpu_core_hour="18.00"))
    first, world.site, job.attempt = world.site, ids.new("sit"), ids.new("att")
    job.place(price_list=prices)
    job.use(there, 20, 30)
    world.site, job.attempt = first, ids.new("att")
    job.place()
    job.use(again, 9 * HOUR, 9 * HOUR + 10)
    await world.deliver()
    told = await listed(world, 0, 60)
    assert {run["run"] for run in told["items"]} == {here, foreign}
    assert {(line["job"], line["price_list"]) for line in told["lines"]} == {
        (job.id, world.price_list),
        (other.id, world.price_list),
    }
    (core,) = [line for line in told["lines"] if (line["job"], line["component"]) == (job.id, "cpu_core_hour")]
    assert core["quantity"] == 20
    told = await listed(world, job=job.id)
    assert [run["run"] for run in told["items"]] == [here, again]
    assert {line["job"] for line in told["lines"]} == {job.id}


async def test_a_page_costs_what_its_own_runs_are_however_large_their_job_is(world: World) -> None:
    job = await job_with_hold(world, "900.00")

    def more(runs: int) -> None:
        for _ in range(runs):
            run = ids.new("run")
            job.use(run, HOUR - 5, HOUR)
            job.use(run, HOUR, HOUR + 5, began=HOUR - 5)

    async def cost(**cursor: Any) -> tuple[list[int], str]:
        with reads() as asked:
            page = await listed(world, limit=3, **cursor)
        assert len(page["items"]) == 3
        return await rows_of(world, asked), page["next"]

    more(5)
    await world.deliver()
    few, _ = await cost()
    more(40)
    await world.deliver()
    many, cursor = await cost()
    behind, _ = await cost(cursor=cursor)
    assert many == behind == few
    assert few[:2] == [3 + 1, 3 * 2]


async def test_pages_have_each_run_once_whatever_hours_it_has(world: World) -> None:
    job = await job_with_hold(world, "900.00")
    runs = [ids.new("run") for _ in range(9)]
    for number, run in enumerate(runs):
        first = number // 3
        for hour in range(first, first + number % 3 + 1):
            job.use(run, hour * HOUR, hour * HOUR + 5, began=first * HOUR)
    await world.deliver()
    path, asked = f"/sites/{world.site}/runs", span(HOUR, 8 * HOUR)
    seen: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        page = ok(await world.finance.get(path, **asked, **cursor, limit=2))
        seen += [one["run"] for one in page["items"]]
        if page["next"] is None:
            break
        cursor = {"cursor": page["next"]}
    assert sorted(seen) == sorted(runs[1:])
    other = span(2 * HOUR, 7 * HOUR)
    assert pointers(refused(await world.finance.get(path, **other, **cursor), 422, "invalid")) == ["query/cursor"]


async def test_a_run_that_is_restated_while_pages_are_read_is_given_all_the_same(world: World) -> None:
    """It gets an hour before those that were read already, one behind them, or other seconds in its own."""
    job = await job_with_hold(world, "900.00")
    runs = [ids.new("run") for _ in range(6)]
    for number, run in enumerate(runs):
        job.use(run, (5 + number) * HOUR, (5 + number) * HOUR + 5, began=2 * HOUR)
    await world.deliver()
    path, asked = f"/sites/{world.site}/runs", span(0, 24 * HOUR)
    first = ok(await world.finance.get(path, **asked, limit=3))
    assert [one["run"] for one in first["items"]] == runs[:3]
    job.use(runs[1], 2 * HOUR, 2 * HOUR + 5, began=2 * HOUR)
    job.use(runs[3], 2 * HOUR, 2 * HOUR + 5, began=2 * HOUR)
    job.use(runs[4], 20 * HOUR, 20 * HOUR + 5, began=2 * HOUR)
    job.use(runs[5], 10 * HOUR, 10 * HOUR, began=2 * HOUR, revision=2)
    job.use(runs[5], 3 * HOUR, 3 * HOUR + 5, began=2 * HOUR)
    await world.deliver()
    rest = ok(await world.finance.get(path, **asked, cursor=first["next"]))
    assert [one["run"] for one in rest["items"]] == [runs[3], runs[5], runs[4]]
    assert len(rest["items"][0]["spans"]) == 2 and rest["next"] is None


def plan(tx: Session, statement: str, parameters: Any) -> str:
    """How the database would read it, where it may choose without sorting."""
    connection = tx.connection()
    if connection.dialect.name == "sqlite":
        explain = "EXPLAIN QUERY PLAN"
    else:
        connection.exec_driver_sql("SET LOCAL enable_sort = off")
        explain = "EXPLAIN"
    return str(connection.exec_driver_sql(f"{explain} {statement}", parameters).all())


@pytest.mark.parametrize("alone", [False, True])
async def test_pages_are_read_in_the_order_of_an_index(world: World, alone: bool) -> None:
    job = await job_with_hold(world)
    for _ in range(3):
        job.use(ids.new("run"), 0, 10)
    await world.deliver()
    one: dict[str, Any] = {"job": job.id} if alone else {}
    page = await listed(world, limit=1, **one)
    with reads() as asked:
        await listed(world, limit=1, cursor=page["next"], **one)
    told = await world.db.read(plan, *asked[0])
    assert ("ix_usage_records_job_hour_run" if alone else "ix_usage_records_hour_run") in told
    assert "Sort" not in told and "TEMP B-TREE" not in told


async def test_runs_at_another_site_are_not_among_them(world: World) -> None:
    job = await job_with_hold(world)
    job.use(ids.new("run"), 0, 10)
    await world.deliver()
    first, world.site = world.site, ids.new("sit")
    world.progress(0, 1)
    await world.deliver()
    assert await items(world) == []
    world.site = first
    assert len(await items(world)) == 1


async def test_who_may_see_them(world: World) -> None:
    job = await job_with_hold(world)
    job.use(ids.new("run"), 0, 10)
    await world.deliver()
    path, asked = f"/sites/{world.site}/runs", span(0, 10)
    assert len((await listed(world, by=world.seller))["items"]) == 1
    other = world.service.person("other", f"provider/{ids.new('prv')}:admin")
    for person in (other, world.member, world.admin):
        refused(await person.get(path, **asked), 404, "not_found")
    refused(await world.finance.get(f"/sites/{ids.new('sit')}/runs", **asked), 404, "not_found")


async def test_a_span_that_is_none_is_refused_by_name(world: World) -> None:
    path = f"/sites/{world.site}/runs"
    for wrong, at_fault in (
        ({"from": "March"}, "query/from"),
        ({"from": "2026-03-10"}, "query/from"),
        ({"to": at(0).isoformat()}, "query/to"),
        ({"to": "2026-03-10T08:00:00.5Z"}, "query/to"),
        ({"to": "2026-03-10T18:00:00"}, "query/to"),
        ({"from": "0001-01-01T00:00:00+23:59"}, "query/from"),
    ):
        answer = refused(await world.finance.get(path, **(span(0, 10) | wrong)), 422, "invalid")
        assert pointers(answer) == [at_fault], wrong
    assert pointers(refused(await world.finance.get(path), 422, "invalid")) == ["query/from", "query/to"]
