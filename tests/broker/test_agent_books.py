"""What an agent tells of its backend's own books: the day that is wanted, whole, page by page."""

from datetime import timedelta

from caravan.contracts.books import PAGE, BooksWanted, Day
from caravan.contracts.dispatch import LeaseRequest
from caravan.kernel.metrics import Metrics
from caravan.kernel.problems import NotFound
from services.broker.adapters.fake import FakeBackend, FakeSite, Fault, HandClock, adapter
from services.broker.adapters.port import Unavailable
from services.broker.agent.chores import BooksReader
from services.broker.agent.settings import AgentSettings
from services.broker.agent.tenure import AgentMetrics, Tenure
from tests.broker.agents import START, an_agent, running, until
from tests.broker.dispatch_double import Dispatch, DispatchApi

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


def a_reader(broker: Dispatch, site: FakeSite, api: type[DispatchApi] = DispatchApi) -> BooksReader:
    tenure = Tenure(
        broker.take_lease(LeaseRequest(holder="agent", descriptor=adapter.descriptor)), 1e9, AgentSettings()
    )
    return BooksReader(tenure, FakeBackend(site), api(broker), 0, AgentMetrics(Metrics()))


class Older(DispatchApi):
    """A platform that knows of no books."""

    async def get_wanted_books(self, site: str, epoch: int) -> BooksWanted:
        raise NotFound


async def test_a_platform_that_wants_no_books_is_asked_ever_more_seldom(broker: Dispatch, site: FakeSite) -> None:
    reader = a_reader(broker, site, Older)
    assert [await reader.iteration() for _ in range(5)] == [600, 1200, 2400, 3600, 3600]


async def test_books_that_are_tried_again_are_as_of_when_they_were_first_tried(
    broker: Dispatch, site: FakeSite, time: HandClock
) -> None:
    reader, begun = a_reader(broker, site), time.at
    days = [Day(start=START + DAY * n, end=START + DAY * (n + 1)) for n in range(2)]
    broker.days = days[:1]
    site.faults.next("books", Fault(before=Unavailable("slurmdbd is away")))
    assert await reader.iteration() < 600
    time.advance(1000)
    assert await reader.iteration() == 600
    broker.days = days[1:]
    assert await reader.iteration() == 600
    assert [page.as_of for page in broker.books] == [begun, time.at]
