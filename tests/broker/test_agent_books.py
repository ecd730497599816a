"""What an agent tells of its backend's own books: the day that is wanted, whole, page by page."""

from datetime import timedelta

from caravan.contracts.books import PAGE, Day
from services.broker.adapters.fake import FakeSite, Fault, HandClock
from services.broker.adapters.port import Unavailable
from tests.broker.agents import START, an_agent, running, until
from tests.broker.dispatch_double import Dispatch

DAY = timedelta(days=1)


def play(site: FakeSite, time: HandClock, runs: int) -> None:
    """Of one attempt, so that the broker's double knows nothing of it."""
    other = Dispatch()
    attempt = other.place("#fake run=1", indices=range(runs), max_parallel=runs)
    site.release(site.stage(other.attempts[attempt].submission))
    time.advance(1000)


async def test_each_wanted_day_is_told_whole_in_pages(broker: Dispatch, site: FakeSite, time: HandClock) -> None:
    broker.complete = lambda second: True
    play(site, time, PAGE + 1)
    days = [Day(start=START + DAY * n, end=START + DAY * (n + 1)) for n in range(2)]
    site.faults.next("books", Fault(before=Unavailable("slurmdbd is away")))
    async with running(an_agent(broker)):
        await until(lambda: broker.complete_through is not None)
        assert broker.books == []
        broker.days = [*days]
        await until(lambda: not broker.days)
    told = [(page.start, page.page, page.last, len(page.runs)) for page in broker.books]
    assert told == [(START, 0, False, PAGE), (START, 1, True, 1), (START + DAY, 0, True, 0)]
    assert len({run.identity for page in broker.books for run in page.runs}) == PAGE + 1
    assert {(page.as_of, page.keeps_all) for page in broker.books} == {(time.at, True)}
