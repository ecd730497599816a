"""Plays a city into accounting, month by month: what the broker says in groups of jobs, what is late, and what finance does next."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any, Final

from bench.city.claims import write_claims
from bench.city.finance import Finance
from bench.city.jobs import RECORDS_PER_JOB, Books, Fact, Told, draw_group
from bench.city.telling import Asking, Record, envelope, fact_of
from bench.city.town import Mistake, draw_town
from bench.city.year import YEAR, Course, month, noon_after
from bench.volume.making import pages
from bench.volume.playing import PAGE, peak_mib
from bench.volume.playing import Told as Feed
from caravan.contracts import events
from caravan.contracts.usage import SiteProgress
from caravan.kernel import clock
from caravan.kernel.clock import floor_second
from caravan.kernel.follow import Follower, parked_count
from caravan.kernel.migrations import migrate
from caravan.kernel.runtime import Runtime
from caravan.kernel.settings import Settings
from caravan.kernel.web import ServiceApp, started
from services.accounting.app import create_app
from services.accounting.charging.charger import Charger
from services.accounting.usage import copies
from services.accounting.usage.facts import Facts

HOLDS: Final = 1000
"""How many are asked for at once."""
ORGANIZATIONS: Final = 200
"""At most; a small city has fewer."""
DAYS: Final = 28
"""Of each month, those in which jobs start."""


def play(folder: Path, records: int, seed: int, url: str | None, say: Callable[[str], None]) -> dict[str, Any]:
    """Play about so many usage records; leaves `facts`, `claims` and `city.json` in `folder`, and returns what the last has.

    Without a URL of an empty database it is a file in `folder`.
    """
    began = clock.monotonic()
    found = asyncio.run(_play(folder, records, seed, url, say))
    city = {
        "seed": seed,
        "asked": records,
        **found,
        "peak_mib": peak_mib(),
        "seconds": round(clock.monotonic() - began, 1),
    }
    (folder / "city.json").write_text(json.dumps(city, indent=2), encoding="utf-8")
    return city


async def _play(folder: Path, records: int, seed: int, url: str | None, say: Callable[[str], None]) -> dict[str, Any]:
    (folder / "claims").mkdir(parents=True)
    async with playing(folder, YEAR, records, seed, url, say) as player:
        await player.open()
        for number in player.months:
            await player.go_on(number, await player.month(number))
        await player.finish()
        counts = await write_claims(player.asking, player.town, folder / "claims")
        return {"told": dict(sorted(player.books.counts.items())), "claimed": counts}


@asynccontextmanager
async def playing(
    folder: Path, course: Course, records: int, seed: int, url: str | None, say: Callable[[str], None]
) -> AsyncIterator["Player"]:
    """A player, on an empty accounting of its own; leaves `facts` in `folder`."""
    settings = Settings(
        mode="development",
        data_dir=folder / "data",
        log_level="error",
        log_format="console",
        accounting_database_url=url,
    )
    settings.data_dir.mkdir(parents=True)
    migrate(settings.database_url("accounting"), "accounting")
    now = Now(noon_after(month(course.first) - timedelta(days=3)))
    app = create_app(settings, now=now)
    async with started(app):
        record = Record(folder / "facts")
        asking = Asking(app, record)
        try:
            yield Player(app, now, asking, record, Random(seed), course, records // RECORDS_PER_JOB, say)
        finally:
            record.close()
            await asking.aclose()


@dataclass
class Now:
    """The platform's clock, which the player moves."""

    at: datetime

    def __call__(self) -> datetime:
        return self.at

    def pass_by(self, instant: datetime) -> None:
        self.at = max(self.at, noon_after(instant))


class Player:
    """`open`, then `month` and `go_on` for each of its months, then `finish`."""

    def __init__(
        self,
        app: ServiceApp,
        now: Now,
        asking: Asking,
        record: Record,
        random: Random,
        course: Course,
        jobs: int,
        say: Callable[[str], None],
    ) -> None:
        self._now, self._record, self._random, self._say = now, record, random, say
        self._course, self._jobs = course, jobs
        self.asking = asking
        self.town = draw_town(random, min(ORGANIZATIONS, course.organizations + jobs // course.jobs_each))
        self.books = Books(settled=course.settled)
        self._finance = Finance(asking, self.town, random)
        runtime = app.provided[Runtime]
        self.db = runtime.db
        self._catalog, self._broker = Feed(), Feed()
        self._follow_catalog = Follower(self.db, "catalog", self._catalog, copies.HANDLERS)
        self._follow_broker = Follower(self.db, "broker", self._broker, Facts(now).handlers())
        self._charger = Charger(self.db, runtime.owner.id, now)
        self._events = 0
        self._known = 0
        """How much of what the catalog says was told."""

    @property
    def months(self) -> range:
        """Those that are closed."""
        return range(self._course.first, self._course.first + self._course.closes)

    async def open(self) -> None:
        await self._learn(month(self._course.first))
        await self._finance.open()

    async def month(self, number: int) -> str:
        """All that is told in it, and its close. Returns its period."""
        place, months = number - self._course.first, self._course.months
        if place < months:
            await self._tell_month(number, self._jobs // months + (place < self._jobs % months))
        else:
            await self._tell_later(number, 1)
        period = await self._close(number)
        self._say(f"{month(number):%Y-%m-%d}: {self.books.counts['records']:,} records told, month closed")
        return period

    async def go_on(self, number: int, period: str) -> None:
        """What finance does next."""
        if not self._course.settled:
            await self._finance.give_back(period)
        if number - self._course.first < self._course.months:
            await self._correct(self.town.mistakes[number])
        await self._finance.contest(self.books.contestable)
        self.books.contestable = []
        await self._charge()

    async def finish(self) -> None:
        """What is told behind the last close."""
        await self._tell_later(self.months.stop, 1)
        if parked := await self.db.read(parked_count):
            raise RuntimeError(f"{parked} facts wait for something")

    async def _tell_month(self, number: int, jobs: int) -> None:
        at_once = max(10, min(200, jobs // 10))
        wrong = self.town.mistakes[number]
        groups: list[tuple[datetime, int, Mistake | None]] = [
            (month(number) + timedelta(seconds=self._random.randrange(DAYS * 86_400)), min(at_once, jobs - start), None)
            for start in range(0, jobs, at_once)
        ]
        if (middle := wrong.starts + (wrong.ends - wrong.starts) / 2) > month(number):
            groups.append((floor_second(middle), 2, wrong))
        groups.sort(key=lambda group: group[0])
        for place, (begins, count, only) in enumerate(groups):
            await self._learn(begins)
            self._now.pass_by(begins + timedelta(days=3))
            await self._tell(draw_group(self._random, self.town, self.books, number, begins, count, only))
            await self._tell_later(number, len(groups) - place)
        await self._learn(month(number + 1))

    async def _tell_later(self, number: int, times: int) -> None:
        """What was kept for this month: of its holds all, of its facts one part of `times`."""
        later = self.books.later[number]
        if self._random.random() < 0.5 or times == 1:
            self._random.shuffle(later.facts)
        share = len(later.facts) // times
        told = Told(later.holds, later.facts[:share])
        later.holds, later.facts = [], later.facts[share:]
        await self._tell(told)

    async def _close(self, number: int) -> str:
        """A month, once all sites have stated it. Returns its period."""
        ends = month(number + 1)
        self._now.pass_by(ends + timedelta(days=1))
        progress = [
            SiteProgress(site=site, provider=provider, complete_through=ends, version=number + 1)
            for site, provider in self.town.sites.items()
        ]
        facts = [Fact(events.SITE_PROGRESS, one.site, one.model_dump_json()) for one in progress]
        await self._follow(self._follow_broker, self._broker, "broker", facts)
        period = await self._finance.close(month(number))
        self._record.next_file()
        return period

    async def _correct(self, mistake: Mistake) -> None:
        self._now.pass_by(mistake.published)
        await self._learn(mistake.published)
        await self._finance.correct(mistake)

    async def _learn(self, until: datetime) -> None:
        """What the catalog says up to then."""
        said = []
        while self._known < len(self.town.known) and self.town.known[self._known][0] <= until:
            said.append(fact_of(self.town.known[self._known][1]))
            self._known += 1
        await self._follow(self._follow_catalog, self._catalog, "catalog", said)

    async def _tell(self, told: Told) -> None:
        for start in range(0, len(told.holds), HOLDS):
            await self.asking.put_holds(told.holds[start : start + HOLDS])
        await self._follow(self._follow_broker, self._broker, "broker", told.facts)
        await self._charge()

    async def _charge(self) -> None:
        while await self._charger.charge():
            pass

    async def _follow(self, follower: Follower, feed: Feed, source: str, facts: Iterable[Fact]) -> None:
        told = list(facts)
        self._record.say(told)
        for page in pages((envelope(self._number(), source, fact, self._now()) for fact in told), PAGE):
            feed.tell(page)
            await follower.iteration(0)

    def _number(self) -> int:
        self._events += 1
        return self._events
