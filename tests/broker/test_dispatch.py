"""The dispatch protocol: leases, work, commits, logs, who may act."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
import pytest_asyncio
from sqlalchemy import update
from sqlalchemy.orm import Session

from caravan.client import CatalogClient
from caravan.contracts import events
from caravan.contracts.dispatch import Commit, CommitBatch, Desired, LogAnswer, Verdict
from caravan.contracts.offerings import AdapterDescriptor, SiteState
from caravan.contracts.problems import LeaseLost, LeaseTaken
from caravan.contracts.spec import Array
from caravan.kernel import clock, ids
from caravan.kernel.problems import NotFound
from caravan.kernel.tables import leases
from services.broker.dispatch import service
from tests.broker.conftest import Shop
from tests.broker.hand import Hand, Run
from tests.broker.market import Platform, eventually, sold, until
from tests.support import Json

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def states(platform: Platform, type_: str) -> dict[str, Json]:
    """The broker's entities of a type, as its snapshot has them: subject -> data."""
    reader = platform.broker("reader", "platform:admin")
    found: dict[str, Json] = {}
    after = None
    while True:
        _, page, after = await reader.snapshot(after)
        found |= {event["subject"]: event["data"] for event in page if event["type"] == type_}
        if after is None:
            return found


async def end_lease(platform: Platform, site: str) -> None:
    """Its time is over: whoever asks next may have it."""

    def end(tx: Session) -> None:
        tx.execute(update(leases).where(leases.c.name == f"site:{site}").values(expires_at=clock.EPOCH))

    await platform.runtime.db.write(end)


@pytest_asyncio.fixture(loop_scope="session")
async def successor(shop: Shop) -> Hand:
    """A second agent of the shop's site, that has taken the lease over."""
    second = Hand(shop.hand.broker, shop.site)
    with pytest.raises(LeaseTaken) as taken:
        await second.take()
    assert taken.value.until > clock.now()
    await end_lease(shop.market.platform, shop.site)
    await second.take()
    assert second.epoch == shop.hand.epoch + 1
    return second


async def test_a_lease_that_is_given_back_is_the_next_ones_at_once(shop: Shop) -> None:
    second = Hand(shop.hand.broker, shop.site)
    await shop.hand.broker.release_lease(shop.site, shop.hand.epoch)
    await second.take()
    assert second.epoch == shop.hand.epoch + 1


async def test_whoever_lost_the_lease_can_do_nothing_any_more(shop: Shop, successor: Hand) -> None:
    job = await shop.customer.submit()
    attempt = await successor.attempt_of(job)
    old = shop.hand
    read = ids.new("log")
    answer = LogAnswer(epoch=old.epoch, data="", offset=0, size=0, complete=True)
    for act in (
        lambda: old.work(),
        lambda: old.commit(attempt),
        lambda: old.report(old.saw(attempt, "released")),
        lambda: old.broker.answer_log_read(shop.site, read, answer),
        lambda: old.broker.release_lease(shop.site, old.epoch),
    ):
        with pytest.raises(LeaseLost) as lost:
            await act()
        assert lost.value.epoch == successor.epoch
    with pytest.raises(LeaseTaken):
        await old.take(epoch=old.epoch)
    assert (await successor.take(epoch=successor.epoch)).epoch == successor.epoch
    await end_lease(shop.market.platform, shop.site)
    with pytest.raises(LeaseLost):
        await old.take(epoch=old.epoch)
    assert (await successor.commit(attempt)).verdict is Verdict.RELEASE, "nobody has taken it: it still holds"


async def test_of_many_references_one_is_committed(shop: Shop) -> None:
    attempt = await shop.hand.attempt_of(await shop.customer.submit())
    answers = await asyncio.gather(*(shop.hand.commit(attempt, f"ref-{number}") for number in range(6)))
    released = [number for number, answer in enumerate(answers) if answer.verdict is Verdict.RELEASE]
    assert len(released) == 1
    assert {answer.reference for answer in answers} == {f"ref-{released[0]}"}
    again = [await shop.hand.commit(attempt, f"ref-{number}") for number in range(6)]
    assert again == answers, "safe to repeat"
    unknown = await shop.hand.commit(ids.new("att"))
    assert (unknown.verdict, unknown.reference) == (Verdict.DISCARD, None)


async def test_commits_of_a_batch_are_decided_each_for_itself(shop: Shop) -> None:
    first, second = [await shop.hand.attempt_of(await shop.customer.submit()) for _ in range(2)]
    await shop.hand.commit(first, "ref-1")
    asked = ((first, "ref-2"), (second, "ref-3"), (ids.new("att"), "ref-4"), (first, "ref-1"), (second, "ref-5"))
    batch = CommitBatch(
        epoch=shop.hand.epoch, commits=tuple(Commit(attempt=attempt, reference=ref) for attempt, ref in asked)
    )
    answers = (await shop.hand.broker.commit_submissions(shop.site, batch)).items
    assert [(one.verdict, one.reference) for one in answers] == [
        (Verdict.DISCARD, "ref-1"),
        (Verdict.RELEASE, "ref-3"),
        (Verdict.DISCARD, None),
        (Verdict.RELEASE, "ref-1"),
        (Verdict.DISCARD, "ref-3"),
    ]


async def test_work_is_told_once_and_wakes_who_waits_for_it(shop: Shop) -> None:
    nothing = await shop.hand.work()
    assert not nothing.items
    waiting = asyncio.create_task(shop.hand.work(wait=20))
    job = await shop.customer.submit(name="woken", cpus=2)
    async with asyncio.timeout(15):
        work = await waiting
    [item] = work.items
    assert (item.desired, item.reference, item.observed, item.stated) == (Desired.RUN, None, 0, {})
    submission = item.submission
    assert submission is not None
    assert (submission.job, submission.name, submission.indices) == (job.id, "woken", (0,))
    assert (submission.tag, submission.offering) == (ids.bare(item.attempt), shop.offering)
    assert (submission.grant.cpus, submission.grant.max_seconds) == (2, 100)
    assert work.next > nothing.next
    assert not (await shop.hand.work()).items
    await shop.customer.broker.cancel_job(job.id)
    [item] = (await shop.hand.work()).items
    assert (item.desired, item.submission) == (Desired.NOTHING, None)


async def test_a_new_agent_hears_of_all_that_is_open_and_how_far_it_was_told(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    customer, hand = shop.customer, shop.hand
    planned = await customer.submit()
    half_told = await customer.submit(array=Array(indices=(0, 1)))
    over = await customer.submit()
    attempt = await hand.start(half_told)
    first, second = Run(attempt, 0), Run(attempt, 1)
    await hand.tell(first.running(hand.number), first.ended(hand.number), *first.usage(), first.final())
    await hand.tell(second.running(last := hand.number), *second.usage(through=second.start))
    ended = await hand.play(over)
    await hand.tell(hand.saw(ended, "forgotten"))

    monkeypatch.setattr(service, "WORK_PAGE", 1)
    await end_lease(shop.market.platform, shop.site)
    new = Hand(hand.broker, shop.site)
    await new.take()
    items = await new.everything()
    assert set(items) == {attempt, await new.attempt_of(planned)}
    item = items[attempt]
    assert (item.desired, item.reference, item.observed) == (Desired.RUN, "ref-1", last), "runs are observations too"
    assert item.finals == (first.identity,)
    assert item.stated[first.identity] == first.final().hours
    assert item.stated[second.identity] == second.final().hours
    first_page = await new.broker.get_work(shop.site, new.epoch, 0, 0)
    assert (len(first_page.items), first_page.more) == (1, True)


async def test_what_was_placed_is_dispatched_whatever_becomes_of_its_offering(shop: Shop) -> None:
    seller = shop.market.seller
    target, choices = {"partition": "long", "qos": "normal"}, {"qos": ("normal", "high")}
    offering = await shop.market.offering(shop.site, cpus=8, target=target, choices=choices)
    await sold(shop.customer, offering.id)
    job = await shop.customer.submit(offerings=(offering.id,), options={"qos": "high"})
    await seller.pause_offering(offering.id)
    await seller.archive_offering(offering.id)

    async def gone() -> bool:
        quote = await shop.customer.broker.create_quote(shop.customer.spec())
        return offering.id not in {c.offering for c in quote.candidates} | {r.offering for r in quote.refused}

    await until(gone)
    items = (await shop.hand.everything()).values()
    [submission] = [item.submission for item in items if item.submission and item.submission.job == job.id]
    assert submission.target == {"partition": "long", "qos": "high"}
    await shop.hand.play(job)
    assert (await shop.customer.job(job.id)).state == "succeeded"


async def test_an_adapter_that_only_the_centre_has_is_announced(shop: Shop) -> None:
    name = f"other-{ids.bare(shop.site)[:20]}"
    other = AdapterDescriptor(
        name=name, version="7", site_settings={"type": "object"}, tenant_settings={}, target={}, books_lag_seconds=5
    )
    forged = other.model_copy(update={"name": "fake"})
    platform = shop.market.platform
    for descriptor in (forged, other):
        await shop.hand.take(descriptor, epoch=shop.hand.epoch)
    site = await shop.market.site(adapter=name)
    assert (await eventually(shop.market.seller.get_site, site)).adapter == name
    known = {found["name"]: found for found in (await states(platform, events.ADAPTER_ANNOUNCED)).values()}
    assert known[name]["version"] == "7"
    assert known["fake"]["version"] != "7", "what the broker has itself, no agent changes"


async def test_the_sites_health_is_news_only_when_it_changes(shop: Shop) -> None:
    async def version() -> int:
        return int((await states(shop.market.platform, events.SITE_REPORTED))[shop.site]["version"])

    await shop.hand.health(SiteState.DEGRADED, "slow")
    assert await version() == 1
    await shop.hand.health(SiteState.DEGRADED, "slow")
    assert await version() == 1
    await shop.hand.health()
    assert await version() == 2
    seller: CatalogClient = shop.market.seller

    async def healthy() -> bool:
        health = (await seller.get_site(shop.site)).health
        return health is not None and health.state == "healthy"

    await until(healthy)


async def test_how_far_usage_is_complete_never_goes_back(shop: Shop) -> None:
    now = clock.floor_second(clock.now())

    async def progress() -> Json:
        return (await states(shop.market.platform, events.SITE_PROGRESS))[f"progress:{shop.site}"]

    await shop.hand.report(usage_complete_through=now)
    first = await progress()
    assert first["complete_through"] == f"{now:%Y-%m-%dT%H:%M:%SZ}"
    await shop.hand.report(usage_complete_through=now.replace(year=now.year - 1))
    assert await progress() == first
    unknown = shop.hand.saw(ids.new("att"), "released")
    await shop.hand.report(unknown, usage_complete_through=now.replace(year=now.year + 1))
    assert await progress() == first, "what was refused may be usage"


# Who may act


async def test_another_sites_agent_and_other_callers_can_do_nothing_here(shop: Shop) -> None:
    job = await shop.customer.submit()
    attempt = await shop.hand.attempt_of(job)
    platform = shop.market.platform
    other_site = await shop.market.site()
    await shop.market.hand(other_site)
    callers = [
        platform.broker("other", f"site/{other_site}:agent"),
        platform.broker("centre", f"provider/{shop.market.provider}:admin"),
        platform.broker("enterprise", f"org/{shop.customer.organization}:admin"),
        platform.broker("operator", "platform:admin"),
        platform.broker("service:catalog", "service:catalog"),
    ]
    for broker in callers:
        stranger = Hand(broker, shop.site)
        stranger.epoch = shop.hand.epoch
        answer = LogAnswer(epoch=stranger.epoch, data="", offset=0, size=0, complete=True)
        acts: list[Callable[[], Awaitable[object]]] = [
            stranger.take,
            stranger.work,
            lambda stranger=stranger: stranger.commit(attempt),  # type: ignore[misc]
            lambda stranger=stranger: stranger.report(stranger.saw(attempt, "released")),  # type: ignore[misc]
            lambda broker=broker, answer=answer: broker.answer_log_read(shop.site, ids.new("log"), answer),  # type: ignore[misc]
        ]
        for act in acts:
            with pytest.raises(NotFound):
                await act()
    mine = Hand(callers[0], other_site)
    mine.epoch = 1
    said = await mine.commit(attempt)
    assert (said.verdict, said.reference) == (Verdict.DISCARD, None), "no such attempt at this site"
    reported = await mine.report(mine.saw(attempt, "released"))
    assert reported.rejected == {0: "this site has no such attempt"}


async def test_another_organization_sees_nothing_of_a_job(shop: Shop) -> None:
    job = await shop.customer.submit()
    attempt = await shop.hand.play(job)
    other = await shop.market.customer(shop.site)
    await sold(other, shop.offering)
    broker = other.broker
    acts: list[Callable[[str], Awaitable[object]]] = [
        broker.get_job,
        broker.cancel_job,
        broker.list_job_tasks,
        broker.list_job_attempts,
        broker.list_job_events,
        broker.read_job_log,
    ]
    for act in acts:
        with pytest.raises(NotFound):
            await act(job.id)
    with pytest.raises(NotFound):
        await broker.declare_attempt_lost(attempt)
    theirs = await other.submit()
    assert [found.id for found in (await broker.list_jobs()).items] == [theirs.id]
    assert not (await broker.list_jobs(project=shop.customer.project)).items
    roles = (f"org/{one.organization}:member" for one in (shop.customer, other))
    both = shop.market.platform.broker("both", *roles)
    assert [found.id for found in (await both.list_jobs()).items] == [theirs.id, job.id]
    reader = shop.market.platform.broker("finance", "platform:finance")
    assert (await reader.get_job(job.id)).id == job.id
