"""The runs at a site, each whole, with what of it was billed."""

from typing import Any

from sqlalchemy import delete, update
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


async def listed(world: World, start: int = 0, end: int = 24 * HOUR, by: Person | None = None) -> list[Json]:
    return list(ok(await (by or world.finance).get(f"/sites/{world.site}/runs", **span(start, end)))["items"])


def billed(run: Json, component: str = "cpu_core_hour") -> list[tuple[str, str | None, int, str]]:
    return [
        (one["bearer"], one["reason"], one["quantity"], one["amount"])
        for one in run["billed"]
        if one["component"] == component
    ]


async def test_a_run_is_told_whole_with_its_identity_and_what_was_billed(world: World) -> None:
    job, run = await job_with_hold(world), ids.new("run")
    job.use(run, HOUR - 10, HOUR, cpus=2, identity="qin:1:1")
    job.use(run, HOUR, HOUR + 30, cpus=2, began=HOUR - 10, identity="qin:1:1")
    world.progress(2 * HOUR, 1)
    await world.deliver()
    (found,) = await listed(world, HOUR, HOUR + 1)
    assert (found["run"], found["job"], found["identity"], found["outcome"]) == (run, job.id, "qin:1:1", None)
    (held,) = found["spans"]
    assert (held["start"], held["end"], held["cpus"]) == (
        at(HOUR - 10).isoformat().replace("+00:00", "Z"),
        at(HOUR + 30).isoformat().replace("+00:00", "Z"),
        2,
    )
    assert billed(found) == [("organization", None, 80, "0.80")]
    assert billed(found, "job") == [("organization", None, 1, "0.00")]
    answer = ok(await world.finance.get(f"/sites/{world.site}/runs", **span(0, 1)))
    assert (answer["items"], answer["complete_through"]) == ([], at(2 * HOUR).isoformat().replace("+00:00", "Z"))
    job.end(run, Outcome.USER)
    await world.deliver()
    assert [one["outcome"] for one in await listed(world)] == ["user"]


async def test_gaps_stay_and_a_run_is_found_by_any_of_its_seconds(world: World) -> None:
    job, run = await job_with_hold(world), ids.new("run")
    job.use(run, 0, 10)
    job.use(run, 2 * HOUR + 5, 2 * HOUR + 9, began=0)
    await world.deliver()
    (found,) = await listed(world, 2 * HOUR, 3 * HOUR)
    assert len(found["spans"]) == 2
    assert await listed(world, 0, 1) == [found]
    assert await listed(world, 10, 2 * HOUR + 5) == []
    assert await listed(world, 9, 2 * HOUR + 6) == [found]


async def test_shares_of_a_jobs_runs_sum_to_its_lines_by_bearer(world: World) -> None:
    """Half a fen each, which a line rounds once; what passes the hold, and what the site broke."""
    prices = ids.new("prl")
    world.know_prices(prices, 2, tariff("half", None, None, cpu_core_hour="18.00"))
    await world.deposit("1000.00")
    job = world.job()
    await job.hold("0.20")
    job.place(price_list=prices)
    runs = [ids.new("run") for _ in range(5)]
    for number, run in enumerate(runs):
        job.use(run, number, number + 15)
    job.end(runs[1], Outcome.SITE)
    await world.deliver()
    sums: dict[tuple[str, str | None], tuple[int, int]] = {}
    for found in await listed(world):
        mine = billed(found)
        assert sum(quantity for _, _, quantity, _ in mine) == 15
        for bearer, reason, quantity, amount in mine:
            before = sums.get((bearer, reason), (0, 0))
            sums[bearer, reason] = (before[0] + quantity, before[1] + int(amount.replace(".", "")))
    lines = [line for line in await job.lines() if line["component"] == "cpu_core_hour"]
    assert sums == {
        (line["bearer"], line["reason"]): (line["quantity"], int(line["amount"].replace(".", ""))) for line in lines
    }
    assert {reason for _, reason in sums} == {None, "site_fault", "overrun"}


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
    found = {one["run"]: one for one in await listed(world)}
    assert billed(found[run]) == [("organization", None, 9, "0.10")]
    assert found[another]["billed"] == []


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


async def test_runs_at_another_site_are_not_among_them(world: World) -> None:
    job = await job_with_hold(world)
    job.use(ids.new("run"), 0, 10)
    await world.deliver()
    first, world.site = world.site, ids.new("sit")
    world.progress(0, 1)
    await world.deliver()
    assert await listed(world) == []
    world.site = first
    assert len(await listed(world)) == 1


async def test_who_may_see_them(world: World) -> None:
    job = await job_with_hold(world)
    job.use(ids.new("run"), 0, 10)
    await world.deliver()
    path, asked = f"/sites/{world.site}/runs", span(0, 10)
    assert len(await listed(world, by=world.seller)) == 1
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
