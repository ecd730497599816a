"""What speaks against stated usage: accounting is told of it once, a person settles it, and all else goes on."""

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from caravan.contracts import events
from caravan.contracts.anomalies import Anomaly, AnomalyDecision, AnomalyReason, AnomalyState, Decision
from caravan.contracts.dispatch import AttemptObserved, ReportItem, UsageStated
from caravan.contracts.jobs import JobState
from caravan.kernel import ids
from caravan.kernel.clock import floor_hour
from caravan.kernel.tables import outbox
from services.broker.dispatch.models import SiteRow
from services.broker.jobs.models import JobRow, RunRow
from tests.broker.conftest import Shop
from tests.broker.hand import Run, key
from tests.broker.market import Platform, until
from tests.broker.reported import T0, Staged, run_of, staged, tried

pytestmark = pytest.mark.asyncio(loop_scope="session")
SECOND = timedelta(seconds=1)


def told(tx: Session, it: Staged) -> list[tuple[str, str, int, int]]:
    """Of each hour that accounting was told of: what speaks against it, when it was, its revision, its seconds."""
    facts = select(outbox.c.type, outbox.c.data).where(outbox.c.subject == it.job).order_by(outbox.c.sequence)
    found = []
    for row in tx.execute(facts):
        data = json.loads(row.data)
        if row.type in (events.USAGE_STATED, events.USAGE_DOUBTED):
            usage = data["usage"] if row.type == events.USAGE_DOUBTED else data
            found.append((data.get("reason", ""), usage["hour"][11:13], usage["revision"], seconds(usage["spans"])))
    return found


def seconds(spans: list[dict[str, Any]]) -> int:
    # each lies in one minute
    return sum(int(span["end"][17:19]) - int(span["start"][17:19]) for span in spans)


def row_of(tx: Session, it: Staged) -> RunRow:
    return tx.execute(select(RunRow).where(RunRow.job == it.job)).scalar_one()


def again(item: UsageStated, revision: int) -> UsageStated:
    return item.model_copy(update={"usage": item.usage.model_copy(update={"revision": revision})})


async def test_the_same_revision_with_other_spans_is_told_on_once(platform: Platform) -> None:
    def unit(tx: Session) -> list[tuple[str, str, int, int]]:
        it = staged(tx)
        run = run_of(it, seconds=8, identity="one")
        (first,), (other,) = run.usage(), run.usage(through=T0 + 5 * SECOND)
        it.apply(tx, run.running(1), run.ended(2))
        assert it.apply(tx, first, first, other, other, first, other) == [True, False, True, False, False, False]
        assert row_of(tx, it).hours == {key(run.hours()[0]): 1}
        assert it.apply(tx, run.final(), other) == [True, False]
        return told(tx, it)

    assert await tried(platform, unit) == [("", "08", 1, 8), ("", "08", 1, 5)]


async def test_what_was_stated_before_marks_were_kept_is_accountings_to_judge(platform: Platform) -> None:
    def unit(tx: Session) -> list[bool]:
        it = staged(tx)
        run = run_of(it, seconds=8, identity="one")
        it.apply(tx, run.running(1), *run.usage())
        row_of(tx, it).marks = {}
        return it.apply(tx, *run.usage(), *run.usage())

    assert await tried(platform, unit) == [True, False]


def before_its_start(it: Staged) -> UsageStated:
    return Run(it.attempt, seconds=7, start=T0 - 5 * SECOND, identity="one").usage()[0]


def after_its_end(it: Staged) -> UsageStated:
    return run_of(it, seconds=9, identity="one").usage()[0]


@pytest.mark.parametrize(
    ("stated", "reason"), [(before_its_start, "start_moved"), (after_its_end, "after_end")], ids=["before", "after"]
)
async def test_usage_outside_of_its_run_is_told_on_once_and_the_run_comes_to_its_end(
    platform: Platform, stated: Callable[[Staged], UsageStated], reason: str
) -> None:
    """A new agent states what it doesn't know anew, a revision higher: that is no news."""

    def unit(tx: Session) -> list[tuple[str, str, int, int]]:
        it = staged(tx)
        run = run_of(it, seconds=5, identity="one")
        hour = key(run.hours()[0])
        it.apply(tx, run.running(1), *run.usage(), run.ended(2))
        odd = again(stated(it), 2)
        assert it.apply(tx, odd, odd, again(odd, 3)) == [True, False, False]
        assert it.apply(tx, *run.usage(), *run.usage(2)) == [False, False], "stale"
        assert (row_of(tx, it).hours, row_of(tx, it).ended_at) == ({hour: 1}, run.end)
        assert "missing here" in it.refused(tx, run.final(2))
        it.apply(tx, run.final(3), AttemptObserved(attempt=it.attempt, observation=9, state="ended", runs=1))
        assert tx.get_one(JobRow, it.job).settled_at is not None
        data = tx.execute(select(outbox.c.data).where(outbox.c.type == events.JOB_SETTLED, outbox.c.subject == it.job))
        assert json.loads(data.scalar_one())["runs"][0]["hours"] == {hour: 1}, "what accounting may bill by itself"
        return told(tx, it)

    assert await tried(platform, unit) == [("", "08", 1, 5), (reason, "08", 2, 7 if reason == "start_moved" else 9)]


async def test_what_is_right_again_is_told_and_what_is_wrong_after_it_is_news(platform: Platform) -> None:
    def unit(tx: Session) -> list[tuple[str, str, int, int]]:
        it = staged(tx)
        run = run_of(it, seconds=5, identity="one")
        it.apply(tx, run.running(1), run.ended(2))
        odd = after_its_end(it)
        told_on = it.apply(tx, odd, *run.usage(2), odd, again(odd, 3), *run.usage(4))
        assert told_on == [True, True, False, True, True]
        assert row_of(tx, it).aside == {}
        return told(tx, it)

    late, right = ("after_end", "08"), ("", "08")
    assert await tried(platform, unit) == [(*late, 1, 9), (*right, 2, 5), (*late, 3, 9), (*right, 4, 5)]


async def test_usage_that_comes_once_the_books_are_closed_is_told_on(platform: Platform) -> None:
    """The same as before, a revision higher, is no news then."""

    def unit(tx: Session) -> list[tuple[str, str, int, int]]:
        it = staged(tx)
        run = run_of(it, seconds=5, identity="one")
        gone = AttemptObserved(attempt=it.attempt, observation=2, state="gone")
        it.apply(tx, run.running(1), *run.usage(through=T0 + 3 * SECOND), gone)
        assert it.apply(tx, *run.usage(2, through=T0 + 3 * SECOND)) == [False]
        assert it.apply(tx, *run.usage(3), *run.usage(3)) == [True, False]
        return told(tx, it)

    assert await tried(platform, unit) == [("", "08", 1, 3), ("books_closed", "08", 3, 5)]


async def test_what_a_site_says_last_is_told_last_though_it_was_told_before(platform: Platform) -> None:
    """Of two contents that both can't be, an hour goes from one to the other and back."""

    def unit(tx: Session) -> list[tuple[str, str, int, int]]:
        it = staged(tx)
        run = run_of(it, seconds=5, identity="one")
        it.apply(tx, run.running(1), *run.usage(), run.ended(2))
        one, other = (run_of(it, seconds=longer, identity="one").usage()[0] for longer in (8, 9))
        said = [again(one, 2), again(other, 3), again(one, 4), again(one, 5)]
        assert it.apply(tx, *said) == [True, True, True, False]
        assert [len(kept) for kept in row_of(tx, it).aside.values()] == [2], "only the last"
        return told(tx, it)

    late = ("after_end", "08")
    assert await tried(platform, unit) == [("", "08", 1, 5), (*late, 2, 8), (*late, 3, 9), (*late, 4, 8)]


async def test_once_the_books_are_closed_what_is_billed_is_told_again_where_something_else_was_told_since(
    platform: Platform,
) -> None:
    def unit(tx: Session) -> list[tuple[str, str, int, int]]:
        it = staged(tx)
        run = run_of(it, seconds=5, identity="one")
        it.apply(tx, run.running(1), *run.usage(), run.ended(2), run.final())
        (longer,) = run_of(it, seconds=8, identity="one").usage()
        said = [*run.usage(2), again(longer, 3), *run.usage(4), *run.usage(5)]
        assert it.apply(tx, *said) == [False, True, True, False]
        return told(tx, it)

    closed = ("books_closed", "08")
    assert await tried(platform, unit) == [("", "08", 1, 5), (*closed, 3, 8), (*closed, 4, 5)]


async def test_another_start_of_a_run_changes_nothing_of_it_and_is_told_with_its_usage(platform: Platform) -> None:
    def unit(tx: Session) -> list[str]:
        it = staged(tx)
        run = run_of(it, seconds=8, identity="one")
        later = Run(it.attempt, seconds=6, start=T0 + 2 * SECOND, identity="one")
        it.apply(tx, run.running(1), *run.usage(), later.running(2), *later.usage(2))
        earlier = Run(it.attempt, seconds=1, start=T0 - 5 * SECOND, identity="one")
        it.apply(tx, run.ended(3), earlier.ended(4), again(earlier.usage()[0], 3))
        row, job = row_of(tx, it), tx.get_one(JobRow, it.job)
        assert (row.started_at, row.ended_at, job.started_at, job.ended_at) == (T0, run.end, T0, run.end)
        facts = select(outbox.c.data).where(outbox.c.subject == it.job, outbox.c.type.like("usage.%"))
        data = [json.loads(one) for one in tx.scalars(facts.order_by(outbox.c.sequence))]
        return [one.get("reason", "") + one.get("usage", one)["run_started_at"][14:19] for one in data]

    assert await tried(platform, unit) == ["59:50", "59:52", "start_moved59:45"]


async def test_a_run_that_ends_before_its_known_start_ends_all_the_same(platform: Platform) -> None:
    """First its start is told as it was expected, then as it was."""

    def unit(tx: Session) -> list[tuple[str, str, int, int]]:
        it = staged(tx)
        run = Run(it.attempt, seconds=5, start=T0 - 20 * SECOND, identity="one")
        it.apply(tx, run_of(it, identity="one").running(1), run.ended(2), *run.usage(), run.final())
        assert tx.get_one(JobRow, it.job).state == JobState.SUCCEEDED
        assert row_of(tx, it).ended_at == T0
        return told(tx, it)

    assert await tried(platform, unit) == [("start_moved", "08", 1, 5)]


async def test_two_tasks_may_claim_one_identity_and_come_to_their_ends(platform: Platform) -> None:
    """Accounting bills one of them."""

    def unit(tx: Session) -> list[tuple[str, str, int]]:
        it = staged(tx, 2)
        runs = [run_of(it, index, seconds=5, identity="one") for index in range(2)]
        for number, run in enumerate(runs):
            it.apply(tx, run.running(2 * number + 1), *run.usage(), run.ended(2 * number + 2), run.final())
        it.apply(tx, AttemptObserved(attempt=it.attempt, observation=9, state="ended", runs=2))
        job = tx.get_one(JobRow, it.job)
        assert (job.state, job.settled_at is not None) == (JobState.SUCCEEDED, True)
        facts = select(outbox.c.data).where(outbox.c.subject == it.job, outbox.c.type == events.USAGE_STATED)
        data = [json.loads(one) for one in tx.scalars(facts.order_by(outbox.c.sequence))]
        assert data[0]["run"] != data[1]["run"]
        return [(one["backend_identity"], one["index"], seconds(one["spans"])) for one in data]

    assert await tried(platform, unit) == [("one", 0, 5), ("one", 1, 5)]


@pytest.mark.parametrize("metered", [False, True])
async def test_of_a_run_that_ended_before_it_started_nothing_more_is_told_to_be_billed(
    platform: Platform, metered: bool
) -> None:
    """What was stated while it ran stays, and its start's hour is told with why, once."""

    def unit(tx: Session) -> list[tuple[str, str, int, int]]:
        it = staged(tx)
        run = run_of(it, seconds=8, identity="one")
        hour = key(run.hours()[0])
        backwards = run.ended(2).model_copy(update={"ended_at": T0 - 60 * SECOND, "detail": "a clock was set back"})
        it.apply(tx, run.running(1))
        final = run.final().model_copy(update={"hours": {}})
        if metered:
            it.apply(tx, *run.usage())
            final = run.final(2)
        assert it.apply(tx, backwards) == [True]
        if metered:
            assert it.apply(tx, *run.usage(2, through=T0)) == [True]
        assert it.apply(tx, final) == [True]
        it.apply(tx, AttemptObserved(attempt=it.attempt, observation=9, state="ended", runs=1))
        row, job = row_of(tx, it), tx.get_one(JobRow, it.job)
        assert (row.started_at, row.ended_at, row.detail) == (T0, T0, "a clock was set back")
        assert (job.state, job.settled_at is not None) == (JobState.SUCCEEDED, True)
        assert row.hours == ({hour: 1} if metered else {})
        return told(tx, it)

    stated = [("", "08", 1, 8)] if metered else []
    assert await tried(platform, unit) == [*stated, ("ended_before_start", "08", 2 if metered else 1, 0)]


async def test_books_may_correct_an_end_before_the_start_and_bring_one_in(platform: Platform) -> None:
    def unit(tx: Session) -> list[tuple[str, str, int, int]]:
        it = staged(tx)
        run = run_of(it, seconds=8, identity="one")
        backwards = run.ended(3).model_copy(update={"ended_at": T0 - SECOND, "detail": "a clock was set back"})
        it.apply(tx, run.running(1), run.ended(2), *run.usage(), backwards, *run.usage(2, through=T0))
        assert (row_of(tx, it).ended_at, row_of(tx, it).detail) == (run.end, "a clock was set back")
        it.apply(tx, run.ended(4), *run.usage(3), run.final(3))
        return told(tx, it)

    assert await tried(platform, unit) == [("", "08", 1, 8), ("ended_before_start", "08", 2, 0), ("", "08", 3, 8)]


# Through the API


async def anomalies(shop: Shop, *jobs: str, count: int) -> list[Anomaly]:
    async def there() -> list[Anomaly]:
        listed = (await shop.market.finance.list_anomalies(limit=200)).items
        mine = [one for one in listed if one.usage.job in jobs and one.state is AnomalyState.OPEN]
        return mine if len(mine) >= count else []

    return await until(there)


async def settle(shop: Shop, anomaly: Anomaly, decision: Decision) -> None:
    await shop.market.finance.settle_anomaly(anomaly.id, AnomalyDecision(decision=decision, words="核实过 checked"))


@pytest.mark.parametrize(("decision", "charged"), [(Decision.ACCEPT, 8), (Decision.DISCARD, 5)])
async def test_what_an_agent_contradicts_is_listed_and_the_job_settles_once_a_person_has_decided(
    shop: Shop, decision: Decision, charged: int
) -> None:
    job = await shop.customer.submit()
    hand = shop.hand
    attempt = await hand.start(job)
    run = Run(attempt, seconds=5)
    longer = Run(attempt, seconds=8, start=run.start, identity=run.identity)
    late = again(longer.usage()[-1], 2)
    last = run.final().hours | {key(late.usage.hour): 2}
    through = floor_hour(run.start)
    items: list[ReportItem] = [run.running(hand.number), *run.usage(), run.ended(hand.number), late, late]
    reported = await hand.report(*items, usage_complete_through=through)
    assert (reported.rejected, reported.applied) == ({}, len(items) - 1)
    corrected = run.ended(hand.number)
    await hand.tell(corrected)
    item = (await hand.everything())[attempt]
    assert (item.stated, item.observed) == ({run.identity: last}, corrected.observation), "a new agent goes on above it"
    ended = hand.saw(attempt, "ended", runs=1)
    reported = await hand.report(run.final().model_copy(update={"hours": last}), ended, late)
    assert reported.rejected == {}

    def complete_through(tx: Session) -> Any:
        return tx.get_one(SiteRow, shop.site).complete_through

    assert await shop.market.platform.runtime.db.read(complete_through) == through
    assert (await shop.customer.job(job.id)).settled_at is not None
    (anomaly,) = await anomalies(shop, job.id, count=1)
    assert (anomaly.reason, anomaly.site, anomaly.provider) == (
        AnomalyReason.AFTER_END,
        shop.site,
        shop.market.provider,
    )
    assert anomaly.usage.spans == late.usage.spans
    hold = await shop.customer.hold(job.id)
    assert (hold.status, hold.captured.fen) != ("settled", charged)
    await settle(shop, anomaly, decision)
    assert (await shop.customer.hold_settles(job.id)).captured.fen == charged


async def test_of_two_jobs_that_claim_one_identity_the_second_is_listed_and_not_billed(shop: Shop) -> None:
    identity, hand = ids.new("run"), shop.hand
    jobs = [await shop.customer.submit(), await shop.customer.submit()]
    for place, job in enumerate(jobs):
        attempt = await hand.start(job, f"ref-{place}")
        await hand.end(attempt, [Run(attempt, seconds=5, identity=identity)])
    listed = await anomalies(shop, *(job.id for job in jobs), count=1)
    assert {one.reason for one in listed} == {AnomalyReason.IDENTITY_TAKEN}
    assert {one.usage.job for one in listed} == {jobs[1].id}
    for one in listed:
        await settle(shop, one, Decision.DISCARD)
    holds = [await shop.customer.hold_settles(job.id) for job in jobs]
    assert [hold.captured.fen for hold in holds] == [5, 0]


async def test_the_same_revision_with_other_spans_is_listed_as_contradictory(shop: Shop) -> None:
    job = await shop.customer.submit()
    attempt = await shop.hand.start(job)
    run = Run(attempt, seconds=5)
    await shop.hand.tell(run.running(shop.hand.number), *run.usage(), run.usage(through=run.start)[-1])
    (anomaly,) = await anomalies(shop, job.id, count=1)
    assert (anomaly.reason, anomaly.usage.spans) == (AnomalyReason.CONTRADICTORY, ())


async def test_a_run_that_ended_before_it_started_is_listed_and_nothing_billed(shop: Shop) -> None:
    job = await shop.customer.submit()
    hand = shop.hand
    attempt = await hand.start(job)
    run = Run(attempt, seconds=5)
    backwards = run.ended(hand.number).model_copy(update={"ended_at": run.start - SECOND})
    await hand.tell(backwards, run.final().model_copy(update={"hours": {}}), hand.saw(attempt, "ended", runs=1))
    (anomaly,) = await anomalies(shop, job.id, count=1)
    assert (anomaly.reason, anomaly.usage.spans) == (AnomalyReason.ENDED_BEFORE_START, ())
    assert (await shop.customer.hold(job.id)).status != "settled"
    await settle(shop, anomaly, Decision.ACCEPT)
    assert (await shop.customer.hold_settles(job.id)).captured.fen == 0
