"""Plays what was made into accounting, and times each step: ingest and charging, then the close of the first month."""

import asyncio
import json
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any, Final

import httpx

from bench.charges.market import Event
from bench.charges.playing import Feed
from bench.volume.making import FIRST, SECOND, Group, groups, market, pages
from caravan.client import AccountingClient
from caravan.client.base import each
from caravan.contracts import events
from caravan.contracts.funds import DepositDraft, HoldBatch
from caravan.contracts.statements import PeriodState, StatementParty
from caravan.contracts.usage import SiteProgress
from caravan.kernel import clock
from caravan.kernel.follow import Follower, parked_count
from caravan.kernel.migrations import migrate
from caravan.kernel.money import Money
from caravan.kernel.runtime import Runtime
from caravan.kernel.settings import Settings
from caravan.kernel.tokens import create_signer
from caravan.kernel.web import ServiceApp, started
from services.accounting.app import create_app
from services.accounting.charging.charger import Charger
from services.accounting.usage import copies
from services.accounting.usage.facts import Facts

PAGE: Final = 1000
URL: Final = "http://accounting"
CLOSE_SECONDS: Final = 600


@dataclass
class Timed:
    """What a step took: seconds, and those in which this process had a processor."""

    records: int = 0
    seconds: float = 0.0
    cpu: float = 0.0

    def add(self, began: tuple[float, float]) -> None:
        self.seconds += clock.monotonic() - began[0]
        self.cpu += time.process_time() - began[1]


@dataclass
class Figures:
    """Of one play. `peak_mib`: of this process; `lines`: that the first month was closed with."""

    steps: dict[str, Timed] = field(default_factory=dict)
    peak_mib: int = 0
    lines: int = 0
    parked: int = 0

    def step(self, name: str) -> Timed:
        return self.steps.setdefault(name, Timed())


def peak_mib() -> int:
    """The most memory that this program has had: getrusage's maximum may be that of the process that it was forked from."""
    found = re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())
    return int(found[1]) // 1024 if found else 0


class Told:
    """A feed that is given page by page, as JSON; the follower reads it as a client would."""

    def __init__(self) -> None:
        self._page, self._given = "[]", 0

    def tell(self, page: str) -> None:
        self._page, self._given = page, self._given + 1

    async def feed(self, after: str | None, wait: float) -> tuple[list[dict[str, Any]], str]:
        if after == f"g:{self._given}":
            return [], after
        return json.loads(self._page), f"g:{self._given}"

    async def snapshot(self, start_after: str | None) -> tuple[str, list[dict[str, Any]], str | None]:
        return "g:0", [], None


def play(folder: Path, jobs: int, in_first: int, seed: int, url: str | None, say: Callable[[str], None]) -> Figures:
    """Without a URL the database is a file in `folder`."""
    settings = Settings(
        mode="development",
        data_dir=folder / "data",
        log_level="error",
        log_format="console",
        accounting_database_url=url,
    )
    settings.data_dir.mkdir(parents=True)
    migrate(settings.database_url("accounting"), "accounting")
    return asyncio.run(_play(settings, jobs, in_first, Random(seed), say))


async def _play(settings: Settings, jobs: int, in_first: int, random: Random, say: Callable[[str], None]) -> Figures:
    app = create_app(settings)
    async with started(app):
        player = _Player(app, random)
        await player.open()
        for number, group in enumerate(groups(random, player.market, jobs, in_first)):
            await player.ingest(group)
            if number % 20 == 0:
                say(f"{player.figures.step('ingest').records:,} records")
        await player.close_first()
        await player.aclose()
        player.figures.peak_mib = peak_mib()
        return player.figures


class _Player:
    def __init__(self, app: ServiceApp, random: Random) -> None:
        signer, transport = create_signer(app.settings), httpx.ASGITransport(app=app)
        self._finance = AccountingClient(URL, lambda: signer.sign("finance", ["platform:finance"]), transport)
        self._asks = AccountingClient(URL, lambda: signer.sign("service:broker", ["service:broker"]), transport)
        self.market, self._known = market(random)
        runtime = app.provided[Runtime]
        self._db, now = runtime.db, runtime.now
        self._catalog, self._told = Feed("catalog", random), Told()
        self._follow_catalog = Follower(self._db, "catalog", self._catalog, copies.HANDLERS)
        self._follow_broker = Follower(self._db, "broker", self._told, Facts(now).handlers())
        self._charger = Charger(self._db, runtime.owner.id, now)
        self.figures = Figures()

    async def aclose(self) -> None:
        await self._finance.aclose()
        await self._asks.aclose()

    async def open(self) -> None:
        """Parties and prices are known, and everybody has money."""
        self._catalog.say(self._known)
        while self._catalog.has_more:
            await self._follow_catalog.iteration(0)
        for organization in sorted({organization for organization, _ in self.market.projects}):
            draft = DepositDraft(organization=organization, amount=Money(10**12), reference=organization)
            await self._finance.record_deposit(draft, key=organization)

    async def ingest(self, group: Group) -> None:
        outcomes = await self._asks.put_holds(HoldBatch(holds=tuple(group.holds)))
        if not all(one.answer and one.answer.granted for one in outcomes.items):
            raise RuntimeError("a hold was not granted")
        await self._follow(iter(group.facts))
        await self._charge()
        for step in ("ingest", "charge"):
            self.figures.step(step).records += group.records

    async def _follow(self, facts: Iterator[str]) -> None:
        for page in pages(facts, PAGE):
            self._told.tell(page)
            began = clock.monotonic(), time.process_time()
            await self._follow_broker.iteration(0)
            self.figures.step("ingest").add(began)

    async def _charge(self) -> None:
        began = clock.monotonic(), time.process_time()
        while await self._charger.charge():
            pass
        self.figures.step("charge").add(began)

    async def close_first(self) -> None:
        """All sites are past it, and finance closes the first month."""
        self.figures.parked = await self._db.read(parked_count)
        progress = Feed("broker", Random(1))
        for site, provider in sorted({(seller.site, seller.provider) for seller in self.market.sellers}):
            state = SiteProgress(site=site, provider=provider, complete_through=SECOND + timedelta(days=60), version=1)
            progress.say([Event(events.SITE_PROGRESS, site, state)])
        await Follower(self._db, "progress", progress, Facts(clock.now).handlers()).iteration(0)
        (month,) = [one for one in (await self._finance.list_periods()).items if one.starts_at == FIRST]
        began = clock.monotonic(), time.process_time()
        closing = await self._finance.close_period(month.id)
        async with asyncio.timeout(CLOSE_SECONDS):
            while closing.state is not PeriodState.CLOSED:
                await asyncio.sleep(0.05)
                closing = await self._finance.get_period(month.id)
        self.figures.step("close").add(began)
        statements = [one async for one in each(self._finance.list_statements, period=month.id)]
        self.figures.lines = sum(one.line_count for one in statements if one.party == StatementParty.PROVIDER)
