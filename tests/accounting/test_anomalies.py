"""What can't be trusted is set aside and listed, and a person settles it: never dropped, never billed silently."""

import re
from collections import Counter
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select
from sqlalchemy.orm import Session

from caravan.contracts.anomalies import AnomalyDecision, AnomalyReason, Decision
from caravan.contracts.jobs import Outcome
from caravan.contracts.usage import Span, UsageRecord
from caravan.kernel import ids
from caravan.kernel.tables import feed_parked
from services.accounting.anomalies.odd import Known, odd
from services.accounting.anomalies.watching import WAITED, Watch
from tests.accounting.months import GRACE, Finance, Hand, used
from tests.accounting.world import Job, World, at, hour_of, span
from tests.support import Json, ok, refused

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture
def now(hand: Hand) -> Hand:
    return hand


async def listed(world: World, **filters: str) -> list[Json]:
    return list(ok(await world.finance.get("/anomalies", **filters))["items"])


def parked_at(tx: Session) -> datetime:
    found: datetime = tx.execute(select(feed_parked.c.parked_at)).scalar_one()
    return found


async def settle(world: World, anomaly: Json, decision: str) -> Json:
    body = {"decision": decision, "words": "核实过 checked with the site"}
    return ok(await world.finance.post(f"/anomalies/{anomaly['id']}/settle", body))


async def held(world: World) -> Job:
    await world.deposit("100.00")
    job = world.job()
    await job.hold("50.00")
    return job


async def seconds(job: Job) -> int:
    return sum(line["quantity"] for line in await job.lines() if line["component"] == "cpu_core_hour")


@pytest.mark.parametrize(("decision", "charged"), [("accept", 20), ("discard", 10)])
async def test_the_same_revision_with_other_spans_is_set_aside_and_holds_the_settlement(
    world: World, decision: str, charged: int
) -> None:
    job, run = await held(world), ids.new("run")
    job.place()
    job.use(run, 0, 10)
    job.use(run, 0, 20)
    job.use(run, 0, 20)
    job.end(run)
    job.settle({run: {hour_of(0): 1}})
    await world.deliver()
    (anomaly,) = await listed(world)
    assert (anomaly["reason"], anomaly["state"]) == ("contradictory", "open")
    assert (anomaly["provider"], anomaly["site"]) == (world.provider, world.site)
    assert await seconds(job) == 10
    assert (await job.read())["status"] != "settled"
    await settle(world, anomaly, decision)
    await world.deliver()
    assert await seconds(job) == charged
    assert (await job.read())["status"] == "settled"
    await world.consistent()
    job.use(run, 0, 10)
    job.use(run, 0, 20)
    await world.deliver()
    assert await listed(world, state="open") == []
    assert await seconds(job) == charged


@pytest.mark.parametrize("apart", [False, True])
async def test_a_later_revision_makes_a_contradiction_needless(world: World, apart: bool) -> None:
    job, run = await held(world), ids.new("run")
    job.place()
    job.use(run, 0, 10)
    job.use(run, 0, 20)
    if apart:
        await world.deliver()
    job.use(run, 0, 15, revision=2)
    await world.deliver()
    assert await listed(world, state="open") == []
    assert await seconds(job) == 15
    if apart:
        (anomaly,) = await listed(world)
        assert anomaly["state"] == "superseded"
        refused(
            await world.finance.post(f"/anomalies/{anomaly['id']}/settle", {"decision": "accept", "words": "x"}),
            409,
            "wrong_state",
        )


@pytest.mark.parametrize(("decision", "charged"), [("accept", 15), ("discard", 5)])
async def test_an_end_in_the_future_waits_for_a_person_and_the_settlement_with_it(
    world: World, decision: str, charged: int
) -> None:
    job, run, ahead = await held(world), ids.new("run"), 3 * 365 * 86_400
    job.place()
    job.use(run, 0, 5)
    job.use(run, ahead, ahead + 10, began=0)
    job.end(run)
    job.settle({run: {hour_of(0): 1, hour_of(ahead): 1}})
    await world.deliver()
    (anomaly,) = await listed(world, reason="in_the_future")
    assert await seconds(job) == 5
    assert (await job.read())["status"] != "settled"
    await settle(world, anomaly, decision)
    await world.deliver()
    assert await seconds(job) == charged
    assert (await job.read())["status"] == "settled"
    await world.consistent()


@pytest.mark.parametrize("parked", [False, True])
async def test_an_end_in_the_future_is_judged_by_when_it_was_stated_however_late_it_is_read(
    world: World, parked: bool
) -> None:
    """Its event's time says when; what has none is judged as it is read."""
    job, runs = await held(world), [ids.new("run") for _ in range(3)]
    if not parked:
        job.place()
    world.broker.now = lambda: at(60)
    for run, end in zip(runs, (360, 361, 361), strict=True):
        job.use(run, 340, end)
    if parked:
        job.place()
    else:
        del world.broker.events[-1]["time"]
    await world.deliver()
    aside = [one["usage"]["run"] for one in await listed(world, reason="in_the_future")]
    expected = ({*runs[1:]}, 20) if parked else ({runs[1]}, 41)
    assert (set(aside), await seconds(job)) == expected
    await world.consistent()


async def test_what_was_discarded_is_not_awaited_by_a_settlement_that_comes_later(world: World) -> None:
    job, run, ahead = await held(world), ids.new("run"), 3 * 365 * 86_400
    job.place()
    job.use(run, ahead, ahead + 10)
    await world.deliver()
    (anomaly,) = await listed(world)
    await settle(world, anomaly, "discard")
    job.end(run)
    job.settle({run: {hour_of(ahead): 1}})
    await world.deliver()
    assert (await job.read())["status"] == "settled"
    assert await job.lines() == []


@pytest.mark.parametrize("apart", [False, True])
async def test_an_identity_of_the_backend_that_two_runs_have_is_billed_once(world: World, apart: bool) -> None:
    job, first, second = await held(world), ids.new("run"), ids.new("run")
    job.place()
    job.use(first, 0, 10, identity="qin:1:1")
    if apart:
        await world.deliver()
    job.end(second)
    job.use(second, 0, 10, identity="qin:1:1")
    job.use(second, 3600, 3610, identity="qin:1:1")
    await world.deliver()
    anomalies = await listed(world)
    assert [one["reason"] for one in anomalies] == ["identity_taken"] * 2
    assert {one["usage"]["run"] for one in anomalies} == {second}
    assert await seconds(job) == 10
    await settle(world, anomalies[0], "accept")
    await world.deliver()
    assert await seconds(job) == 20


@pytest.mark.parametrize("apart", [False, True])
async def test_seconds_that_two_runs_of_one_array_task_hold_are_billed_once(world: World, apart: bool) -> None:
    job, first, second, third = await held(world), *(ids.new("run") for _ in range(3))
    job.place()
    job.use(first, 0, 10, index=3)
    if apart:
        await world.deliver()
    job.use(second, 9, 20, index=3)
    job.use(third, 0, 10, index=4)
    job.use(third, 3600, 3610, index=4)
    await world.deliver()
    (anomaly,) = await listed(world)
    assert (anomaly["reason"], anomaly["usage"]["run"]) == ("overlapping", second)
    assert await seconds(job) == 30
    job.use(second, 10, 20, index=3, revision=2)
    await world.deliver()
    assert [one["state"] for one in await listed(world)] == ["superseded"]
    assert await seconds(job) == 40
    await world.consistent()


async def test_an_hour_that_is_restated_over_that_of_another_run_of_the_task_is_set_aside(world: World) -> None:
    job, first, second = await held(world), ids.new("run"), ids.new("run")
    job.place()
    job.use(first, 0, 10, index=0)
    job.use(second, 10, 20, index=0)
    await world.deliver()
    job.use(first, 0, 11, index=0, revision=2)
    await world.deliver()
    (anomaly,) = await listed(world)
    assert (anomaly["reason"], anomaly["usage"]["run"]) == ("overlapping", first)
    assert await seconds(job) == 20
    await settle(world, anomaly, "accept")
    await world.deliver()
    assert await seconds(job) == 21
    job.use(first, 0, 11, index=0, cpus=2, revision=3)
    job.use(second, 10, 21, index=0, revision=2)
    await world.deliver()
    assert await listed(world, state="open") == [], "both were restated, and share no other seconds than were accepted"
    assert await seconds(job) == 33
    job.use(first, 0, 12, index=0, revision=4)
    await world.deliver()
    (anomaly,) = await listed(world, state="open")
    assert (anomaly["reason"], await seconds(job)) == ("overlapping", 33)


@pytest.mark.parametrize("apart", [False, True])
async def test_of_what_overlaps_the_first_is_billed_whichever_was_restated_more(world: World, apart: bool) -> None:
    job, first, second = await held(world), ids.new("run"), ids.new("run")
    job.place()
    job.use(first, 0, 10, index=0)
    for revision in (1, 2):
        if apart:
            await world.deliver()
        job.use(second, 5, 20 + revision, index=0, revision=revision)
    await world.deliver()
    assert {one["usage"]["run"] for one in await listed(world)} == {second}
    assert await seconds(job) == 10
    await world.consistent()


@pytest.mark.parametrize("ended", ["the first", "the second"])
@pytest.mark.parametrize("apart", [False, True])
async def test_what_overlaps_with_a_run_that_the_provider_bears_is_billed_without_a_person(
    world: World, ended: str, apart: bool
) -> None:
    job, first, second = await held(world), ids.new("run"), ids.new("run")
    job.place()
    job.use(first, 0, 10, index=0)
    job.use(second, 5, 20, index=0)
    if apart:
        await world.deliver()
        assert [one["state"] for one in await listed(world)] == ["open"]
    job.end(first, Outcome.SITE if ended == "the first" else Outcome.SUCCEEDED)
    job.end(second, Outcome.SUCCEEDED if ended == "the first" else Outcome.DUPLICATE)
    job.settle({first: {hour_of(0): 1}, second: {hour_of(0): 1}})
    await world.deliver()
    assert [one["state"] for one in await listed(world)] == ["superseded"]
    cores = [line for line in await job.lines() if line["component"] == "cpu_core_hour"]
    borne = {(line["bearer"], line["reason"]): line["quantity"] for line in cores}
    if ended == "the first":
        assert borne == {("provider", "site_fault"): 10, ("organization", None): 15}
    else:
        assert borne == {("organization", None): 10, ("provider", "duplicate"): 15}
    assert (await job.read())["status"] == "settled"
    await world.consistent()


@pytest.mark.parametrize("decision", ["accept", "discard", "the provider bears it again", "it is the second's"])
async def test_an_end_that_is_restated_bills_no_second_twice_without_a_person(world: World, decision: str) -> None:
    job, first, second = await held(world), ids.new("run"), ids.new("run")
    job.place()
    job.use(first, 0, 10, index=0)
    job.use(first, 3600, 3610, index=0)
    job.use(second, 5, 20, index=0)
    job.end(first, Outcome.SITE)
    job.end(second)
    job.settle({first: {hour_of(0): 1, hour_of(3600): 1}, second: {hour_of(0): 1}})
    await world.deliver()
    assert await borne(job) == {"provider": 20, "organization": 15}
    job.end(first)
    await world.deliver()
    (anomaly,) = await listed(world, state="open")
    assert (anomaly["reason"], anomaly["usage"]["run"]) == ("overlapping", first)
    assert await borne(job) == {"organization": 25}
    await world.consistent()
    job.use(first, 0, 10, index=0)
    await world.deliver()
    assert (await borne(job), len(await listed(world, state="open"))) == ({"organization": 25}, 1), (
        "it is known, and set aside"
    )
    if decision in ("accept", "discard"):
        await settle(world, anomaly, decision)
    elif decision == "the provider bears it again":
        job.end(first, Outcome.SITE)
    else:
        job.end(second, Outcome.DUPLICATE)
    await world.deliver()
    assert await listed(world, state="open") == []
    assert (
        await borne(job)
        == {
            "accept": {"organization": 35},
            "discard": {"organization": 25},
            "the provider bears it again": {"provider": 20, "organization": 15},
            "it is the second's": {"provider": 15, "organization": 20},
        }[decision]
    )
    await world.consistent()


async def test_what_a_person_has_accepted_stays_billed_however_its_end_is_restated(world: World) -> None:
    job, first, second = await held(world), ids.new("run"), ids.new("run")
    job.place()
    job.use(first, 0, 10, index=0)
    job.use(second, 5, 20, index=0)
    await world.deliver()
    (anomaly,) = await listed(world)
    await settle(world, anomaly, "accept")
    for outcome in (Outcome.SITE, Outcome.SUCCEEDED):
        job.end(second, outcome)
        await world.deliver()
    assert (await listed(world, state="open"), await borne(job)) == ([], {"organization": 25})
    await world.consistent()


async def borne(job: Job) -> dict[str, int]:
    """Core-seconds, by who bears them."""
    found: Counter[str] = Counter()
    for line in await job.lines():
        if line["component"] == "cpu_core_hour":
            found[line["bearer"]] += line["quantity"]
    return {bearer: quantity for bearer, quantity in found.items() if quantity}


@pytest.mark.parametrize(("decision", "charged"), [("accept", 32), ("discard", 22)])
async def test_seconds_of_a_settled_job_are_not_taken_back_without_a_person(
    world: World, decision: str, charged: int
) -> None:
    job, run = await held(world), ids.new("run")
    job.place()
    job.use(run, 0, 20)
    job.use(run, 3600, 3610)
    job.end(run)
    job.settle({run: {hour_of(0): 2, hour_of(3600): 1}})
    await world.deliver()
    job.use(run, 0, 10, revision=2)
    await world.deliver()
    assert (await listed(world), await seconds(job)) == ([], 20), "it was listed, and has less"
    assert (await job.read())["status"] == "settled"
    job.use(run, 0, 12, revision=3)
    await world.deliver()
    assert (await listed(world), await seconds(job)) == ([], 22), "it takes nothing away"
    job.use(run, 1, 12, cpus=2, revision=4)
    await world.deliver()
    (anomaly,) = await listed(world)
    assert (anomaly["reason"], await seconds(job)) == ("taken_back", 22)
    await settle(world, anomaly, decision)
    await world.deliver()
    assert await seconds(job) == charged
    await world.consistent()


async def test_a_run_whose_start_moves_is_set_aside(world: World) -> None:
    job, run = await held(world), ids.new("run")
    job.place()
    job.use(run, 0, 10, began=-10)
    await world.deliver()
    job.use(run, 0, 20, began=-10, revision=2)
    await world.deliver()
    assert (await listed(world), await seconds(job)) == ([], 20)
    job.use(run, 0, 30, began=-70, revision=3)
    await world.deliver()
    (anomaly,) = await listed(world)
    assert (anomaly["reason"], await seconds(job)) == ("start_moved", 20)
    await settle(world, anomaly, "accept")
    job.use(run, 0, 25, began=-70, revision=4)
    await world.deliver()
    assert await seconds(job) == 25


async def test_usage_of_before_its_attempt_was_placed_is_set_aside(world: World) -> None:
    job, run = await held(world), ids.new("run")
    job.place(placed_at=at(600))
    job.use(run, 300, 310)
    await world.deliver()
    assert (await listed(world), await seconds(job)) == ([], 10), "clocks may be five minutes apart"
    job.use(run, 299, 310, revision=2)
    await world.deliver()
    (anomaly,) = await listed(world)
    assert (anomaly["reason"], await seconds(job)) == ("before_placement", 10)
    await settle(world, anomaly, "discard")
    await world.deliver()
    assert await seconds(job) == 10


@given(*[st.lists(st.tuples(st.integers(0, 6), st.integers(1, 3)), max_size=3)] * 2)
def test_seconds_are_taken_back_just_when_one_is_missing(
    before: list[tuple[int, int]], after: list[tuple[int, int]]
) -> None:
    was, now = apart(before), apart(after)
    usage = usage_of(0, 1).model_copy(update={"spans": now})
    found = odd(usage, Known(at(60), [], False, closed=was))
    assert found == (AnomalyReason.TAKEN_BACK if covered(was) - covered(now) else None)


def apart(some: list[tuple[int, int]]) -> tuple[Span, ...]:
    """Those spans of (start, length) that stand behind the ones before, each of its own shape."""
    out: list[Span] = []
    for number, (start, length) in enumerate(sorted(some)):
        if not out or at(start) >= out[-1].end:
            out.append(span(start, start + length, number + 1))
    return tuple(out)


def covered(spans: tuple[Span, ...]) -> set[datetime]:
    return {
        one.start + timedelta(seconds=n) for one in spans for n in range((one.end - one.start) // timedelta(seconds=1))
    }


async def test_usage_whose_attempt_does_not_come_is_listed_after_ten_minutes_and_still_waits(
    world: World, hand: Hand
) -> None:
    job, run = await held(world), ids.new("run")
    job.use(run, 0, 10)
    await world.deliver()
    watch: Watch = world.service.app.provided[Watch]
    hand.time = (await world.db.read(parked_at)) + WAITED - timedelta(seconds=1)
    await watch.iteration()
    assert await listed(world) == []
    hand.time += timedelta(seconds=1)
    await watch.iteration()
    (anomaly,) = await listed(world)
    assert (anomaly["reason"], anomaly["provider"]) == ("no_attempt", None)
    assert 'caravan_anomalies_open{reason="no_attempt"} 1.0' in await world.metrics()
    answer = await world.finance.post(f"/anomalies/{anomaly['id']}/settle", {"decision": "accept", "words": "x"})
    refused(answer, 409, "attempt_missing")
    job.place()
    await world.deliver()
    assert await seconds(job) == 10
    assert [one["state"] for one in await listed(world)] == ["superseded"]


async def test_usage_without_an_attempt_that_is_discarded_is_not_parked_any_more(world: World, hand: Hand) -> None:
    job = await held(world)
    job.use(ids.new("run"), 0, 10)
    await world.deliver()
    hand.time = (await world.db.read(parked_at)) + WAITED
    await world.service.app.provided[Watch].iteration()
    (anomaly,) = await listed(world)
    await settle(world, anomaly, "discard")
    job.place()
    await world.deliver()
    assert (await world.parked(), await job.lines()) == (0, [])
    assert [one["state"] for one in await listed(world)] == ["discarded"]


async def test_sellers_see_what_is_of_their_sites_and_finance_alone_settles(world: World) -> None:
    job, run = await held(world), ids.new("run")
    job.place()
    job.use(run, 0, 10)
    job.use(run, 0, 20)
    await world.deliver()
    (anomaly,) = ok(await world.seller.get("/anomalies"))["items"]
    other = world.service.person("other", f"provider/{ids.new('prv')}:admin")
    assert ok(await other.get("/anomalies"))["items"] == []
    refused(await world.admin.get("/anomalies"), 404, "not_found")
    body = {"decision": "accept", "words": "so it was"}
    refused(await world.seller.post(f"/anomalies/{anomaly['id']}/settle", body), 404, "not_found")
    settled = await settle(world, anomaly, "accept")
    assert await settle(world, anomaly, "accept") == settled
    assert (settled["settled_by"], settled["words"]) == ("finance", "核实过 checked with the site")
    refused(
        await world.finance.post(f"/anomalies/{anomaly['id']}/settle", body | {"decision": "discard"}),
        409,
        "wrong_state",
    )
    (entry,) = ok(await world.service.person("root", "platform:admin").get("/audit", entity=anomaly["id"]))["items"]
    assert entry["action"] == "settle_anomaly"


async def test_a_closing_period_waits_for_what_is_set_aside_in_it(world: World) -> None:
    books = Finance(world)
    job, run = await held(world), ids.new("run")
    job.place()
    job.use(run, 0, 10)
    job.use(run, 0, 20)
    world.progress(3600, 1)
    await world.deliver()
    await books.cut(at(3600))
    await books.close()
    waiting = await books.settle()
    assert (waiting["state"], waiting["anomalies"], waiting["parked_facts"]) == ("closing", 1, 0)
    (anomaly,) = await listed(world)
    await settle(world, anomaly, "accept")
    await world.deliver()
    closed = await books.settle()
    assert (closed["state"], closed["anomalies"]) == ("closed", 0)
    assert {line["period"] for line in await job.lines()} == {closed["id"]}
    assert await seconds(job) == 20


async def test_a_period_that_closes_without_what_is_set_aside_names_it_on_the_statements_of_its_parties(
    world: World, hand: Hand
) -> None:
    books, organization, project = Finance(world), ids.new("org"), ids.new("prj")
    world.know_organization(organization, project)
    await used(world, 0, 60)
    job, run = await held(world), ids.new("run")
    job.place()
    job.use(run, 0, 10)
    job.use(run, 0, 20)
    job.use(run, 0, 30)
    await world.deposit("100.00", organization)
    other = world.job(organization, project)
    await other.hold("50.00")
    other.place()
    first, second = ids.new("run"), ids.new("run")
    other.use(first, 0, 10, identity="qin:1:1")
    other.use(second, 0, 10, identity="qin:1:1")
    other.use(second, 7200, 7210, identity="qin:1:1")
    world.progress(3600, 1)
    await world.deliver()
    unknown = world.job()
    unknown.use(ids.new("run"), 0, 10)
    await world.follow()
    hand.time = (await world.db.read(parked_at)) + WAITED
    await world.service.app.provided[Watch].iteration()
    hand.time = at(7200)
    await books.cut(at(3600))
    await books.close()
    assert (await books.settle())["anomalies"] == 4
    hand.time = at(7200) + GRACE
    closed = await books.settle()
    assert closed["set_aside"] == {"contradictory": 2, "identity_taken": 1, "no_attempt": 1}
    statements = ok(await world.finance.get("/statements", period=closed["id"]))["items"]
    assert {one["party_id"]: one["set_aside"] for one in statements} == {
        world.organization: {"contradictory": 2},
        organization: {"identity_taken": 1},
        world.provider: {"contradictory": 2, "identity_taken": 1},
    }
    for anomaly in await listed(world, reason="contradictory"):
        await settle(world, anomaly, "discard")
    assert ok(await world.finance.get("/statements", period=closed["id"]))["items"] == statements


def contradictory(job: Job, run: str) -> None:
    job.use(run, 0, 25, identity="qin:1:1")


def in_the_future(job: Job, run: str) -> None:
    job.use(run, 30 * 365 * 86_400, 30 * 365 * 86_400 + 25, identity="qin:1:1")


def identity_taken(job: Job, run: str) -> None:
    job.use(ids.new("run"), 100, 125, identity="qin:1:1")


def before_placement(job: Job, run: str) -> None:
    job.use(run, -7200, -7175, began=-7200)


def start_moved(job: Job, run: str) -> None:
    job.use(run, 0, 25, began=-60, revision=2)


def taken_back(job: Job, run: str) -> None:
    job.use(run, 5, 25, revision=2)


def overlapping(job: Job, run: str) -> None:
    job.use(ids.new("run"), 5, 25, index=0)


def after_end(job: Job, run: str) -> None:
    job.doubt(run, 0, 25, AnomalyReason.AFTER_END, revision=2)


def books_closed(job: Job, run: str) -> None:
    job.doubt(run, 0, 25, AnomalyReason.BOOKS_CLOSED, revision=2)


def ended_before_start(job: Job, run: str) -> None:
    job.doubt(run, 0, 0, AnomalyReason.ENDED_BEFORE_START, revision=2)


ODD = {
    AnomalyReason.CONTRADICTORY: (contradictory, 25),
    AnomalyReason.IN_THE_FUTURE: (in_the_future, 45),
    AnomalyReason.IDENTITY_TAKEN: (identity_taken, 45),
    AnomalyReason.BEFORE_PLACEMENT: (before_placement, 45),
    AnomalyReason.START_MOVED: (start_moved, 25),
    AnomalyReason.TAKEN_BACK: (taken_back, 20),
    AnomalyReason.OVERLAPPING: (overlapping, 40),
    AnomalyReason.AFTER_END: (after_end, 25),
    AnomalyReason.BOOKS_CLOSED: (books_closed, 25),
    AnomalyReason.ENDED_BEFORE_START: (ended_before_start, 0),
}
"""What is said behind 20 seconds of a run, and how many are billed if it is accepted. NO_ATTEMPT has tests of its own: it waits."""


def test_each_reason_is_tried() -> None:
    assert set(ODD) | {AnomalyReason.NO_ATTEMPT} == set(AnomalyReason)


@pytest.mark.parametrize("decision", ["accept", "discard"])
@pytest.mark.parametrize("reason", list(ODD))
async def test_nothing_odd_is_billed_silently_or_dropped(world: World, reason: AnomalyReason, decision: str) -> None:
    job, run = await held(world), ids.new("run")
    say, accepted = ODD[reason]
    job.place(placed_at=at(0))
    job.use(run, 0, 20, identity="qin:1:1", index=0)
    if reason is AnomalyReason.TAKEN_BACK:
        job.end(run)
        job.settle({run: {hour_of(0): 1}})
    await world.deliver()
    said = len(world.broker.events)
    say(job, run)
    stated = world.broker.events[said:]
    await world.deliver()
    (anomaly,) = await listed(world)
    assert (anomaly["reason"], anomaly["state"], anomaly["provider"]) == (reason, "open", world.provider)
    assert await seconds(job) == 20, "not billed"
    data = stated[-1]["data"]
    assert anomaly["usage"] == data.get("usage", data), "not dropped: kept as it was stated"
    assert f'caravan_anomalies_open{{reason="{reason}"}}' in await world.metrics()
    await settle(world, anomaly, decision)
    await world.deliver()
    billed = accepted if decision == "accept" else 20
    assert await seconds(job) == billed
    world.broker.events += [event | {"id": ids.new("evt")} for event in stated]
    await world.deliver()
    assert (await seconds(job), await listed(world, state="open")) == (billed, []), "what was decided stays so"
    await world.consistent()


@pytest.mark.parametrize("page", ["anomalies.md", "anomalies.zh.md"])
def test_the_page_names_each_reason_and_its_example_is_a_decision(page: str) -> None:
    text = (DOCS / page).read_text()
    assert [reason for reason in AnomalyReason if f"| `{reason}`" not in text] == []
    (example,) = re.findall(r"```json\n(.*?)```", (DOCS / "anomalies.md").read_text(), re.DOTALL)
    assert AnomalyDecision.model_validate_json(example).decision is Decision.DISCARD


@given(st.integers(0, 4), st.integers(1, 3), st.lists(st.tuples(st.integers(0, 4), st.integers(1, 3)), max_size=2))
def test_it_overlaps_just_when_it_shares_a_second_with_another_run(
    start: int, length: int, others: list[tuple[int, int]]
) -> None:
    found = odd(
        usage_of(start, start + length), Known(at(60), [], False, [(span(begin, begin + n),) for begin, n in others])
    )
    shared = {second for begin, n in others for second in range(begin, begin + n)} & set(range(start, start + length))
    assert found == (AnomalyReason.OVERLAPPING if shared else None)


@given(*[st.lists(st.tuples(st.integers(0, 6), st.integers(1, 3)), max_size=3)] * 3)
def test_a_later_revision_overlaps_just_when_it_shares_a_second_that_the_earlier_one_did_not_hold(
    before: list[tuple[int, int]], after: list[tuple[int, int]], other: list[tuple[int, int]]
) -> None:
    was, now, beside = apart(before), apart(after), apart(other)
    usage = usage_of(0, 1).model_copy(update={"spans": now})
    found = odd(usage, Known(at(60), [], False, [beside], held=was))
    news = (covered(now) & covered(beside)) - covered(was)
    assert found == (AnomalyReason.OVERLAPPING if news else None)


def usage_of(start: int, end: int) -> UsageRecord:
    return UsageRecord(
        hour=at(0), revision=1, spans=(span(start, end),), run=ids.new("run"), attempt=ids.new("att"),
        job=ids.new("job"), run_started_at=at(0),
    )  # fmt: skip


@given(st.integers(-600, 600), st.lists(st.integers(1, 5)), st.booleans())
def test_it_is_odd_just_when_something_speaks_against_it(ahead: int, others: list[int], taken: bool) -> None:
    """A contradiction comes first, as it is about this hour alone; the order in which others were stated says nothing."""
    spans = {seconds: (span(0, seconds),) for seconds in range(1, 6)}
    usage = usage_of(0, 3)
    found = odd(usage, Known(at(3 - ahead), [spans[other] for other in others], taken))
    assert found == odd(usage, Known(at(3 - ahead), [spans[other] for other in reversed(others)], taken))
    if set(others) - {3}:
        assert found is AnomalyReason.CONTRADICTORY
    elif taken:
        assert found is AnomalyReason.IDENTITY_TAKEN
    else:
        assert found == (AnomalyReason.IN_THE_FUTURE if ahead > 300 else None)
