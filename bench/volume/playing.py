"""Plays what was made into accounting, and times each step: ingest and charging, then the close of the first month."""

import asyncio
import gc
import json
import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any, Final

import httpx
from sqlalchemy import func, select

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
    """What a step took: seconds, and those in which this process (`cpu`) and those of the server (`server`) had a processor.

    `again`: how many units of work could not be serialized, and ran again.
    """

    records: int = 0
    seconds: float = 0.0
    cpu: float = 0.0
    server: float = 0.0
    again: int = 0


@dataclass
class Figures:
    """Of one play. `peak_mib`: of this process; `lines`: that the first month was closed with."""

    steps: dict[str, Timed] = field(default_factory=dict)
    peak_mib: int = 0
    lines: int = 0
    parked: int = 0

    def step(self, name: str) -> Timed:
        return self.steps.setdefault(name, Timed())


class Server:
    """The processors' time of a PostgreSQL server on this machine: of its parent, of those that it has waited for, and of its children."""

    def __init__(self, backend: int) -> None:
        self._parent = int(_stat(backend)[1])

    def seconds(self) -> float:
        ticks = sum(int(one) for one in _stat(self._parent)[11:15])
        children = Path(f"/proc/{self._parent}/task/{self._parent}/children").read_text().split()
        for child in children:
            with suppress(FileNotFoundError, ProcessLookupError):  # it has just ended: now its parent has its time
                ticks += sum(int(one) for one in _stat(int(child))[11:13])
        return ticks / os.sysconf("SC_CLK_TCK")


def _stat(process: int) -> list[str]:
    """What stands behind the command's name in /proc/<pid>/stat: its third field is the first here."""
    return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()


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


def play(
    folder: Path, jobs: int, at_once: int, in_first: int, seed: int, url: str | None, say: Callable[[str], None]
) -> Figures:
    """`at_once` more jobs are ingested and charged at the same time. Without a URL the database is a file in `folder`."""
    settings = Settings(
        mode="development",
        data_dir=folder / "data",
        log_level="error",
        log_format="console",
        accounting_database_url=url,
    )
    settings.data_dir.mkdir(parents=True)
    migrate(settings.database_url("accounting"), "accounting")
    return asyncio.run(_play(settings, jobs, at_once, in_first, Random(seed), say))


async def _play(
    settings: Settings, jobs: int, at_once: int, in_first: int, random: Random, say: Callable[[str], None]
) -> Figures:
    app = create_app(settings)
    gc.freeze()  # as `caravan serve` does
    async with started(app):
        player = _Player(app, random)
        await player.open()
        for number, group in enumerate(groups(random, player.market, jobs, in_first)):
            await player.ingest(group)
            if number % 20 == 0:
                say(f"{player.figures.step('ingest').records:,} records")
        for group in groups(random, player.market, at_once, 0):
            await player.ingest_and_charge(group)
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
        self._server: Server | None = None
        self.figures = Figures()

    async def aclose(self) -> None:
        await self._finance.aclose()
        await self._asks.aclose()

    async def open(self) -> None:
        """Parties and prices are known, and everybody has money."""
        if not self._db.sqlite:
            backend = select(func.pg_backend_pid())
            self._server = Server(await self._db.read(lambda tx: tx.execute(backend).scalar_one()))
        self._catalog.say(self._known)
        while self._catalog.has_more:
            await self._follow_catalog.iteration(0)
        for organization in sorted({organization for organization, _ in self.market.projects}):
            draft = DepositDraft(organization=organization, amount=Money(10**12), reference=organization)
            await self._finance.record_deposit(draft, key=organization)

    async def ingest(self, group: Group) -> None:
        """And then charge."""
        await self._hold(group)
        for page in pages(iter(group.facts), PAGE):
            with self._timed("ingest"):
                await self._follow(page)
        with self._timed("charge"):
            await self._charge()
        for step in ("ingest", "charge"):
            self.figures.step(step).records += group.records

    async def ingest_and_charge(self, group: Group) -> None:
        """At the same time."""
        await self._hold(group)
        told = list(pages(iter(group.facts), PAGE))

        async def follow() -> None:
            for page in told:
                await self._follow(page)

        with self._timed("both"):
            following = asyncio.create_task(follow())
            while not following.done():
                await self._charge()
                await asyncio.sleep(0.001)
            await following
            await self._charge()
        self.figures.step("both").records += group.records

    async def _hold(self, group: Group) -> None:
        outcomes = await self._asks.put_holds(HoldBatch(holds=tuple(group.holds)))
        if not all(one.answer and one.answer.granted for one in outcomes.items):
            raise RuntimeError("a hold was not granted")

    async def _follow(self, page: str) -> None:
        self._told.tell(page)
        await self._follow_broker.iteration(0)

    async def _charge(self) -> None:
        while await self._charger.charge():
            pass

    @contextmanager
    def _timed(self, name: str) -> Iterator[None]:
        def read() -> tuple[float, float, float, int]:
            server = self._server.seconds() if self._server else 0.0
            return clock.monotonic(), time.process_time(), server, self._db.run_again

        before = read()
        yield
        seconds, cpu, server, again = (now - was for now, was in zip(read(), before, strict=True))
        step = self.figures.step(name)
        step.seconds, step.cpu, step.server = step.seconds + seconds, step.cpu + cpu, step.server + server
        step.again += int(again)

    async def close_first(self) -> None:
        """All sites are past it, and finance closes the first month."""
        self.figures.parked = await self._db.read(parked_count)
        progress = Feed("broker", Random(1))
        for site, provider in sorted({(seller.site, seller.provider) for seller in self.market.sellers}):
            state = SiteProgress(site=site, provider=provider, complete_through=SECOND + timedelta(days=60), version=1)
            progress.say([Event(events.SITE_PROGRESS, site, state)])
        await Follower(self._db, "progress", progress, Facts(clock.now).handlers()).iteration(0)
        (month,) = [one for one in (await self._finance.list_periods()).items if one.starts_at == FIRST]
        with self._timed("close"):
            closing = await self._finance.close_period(month.id)
            async with asyncio.timeout(CLOSE_SECONDS):
                while closing.state is not PeriodState.CLOSED:
                    await asyncio.sleep(0.05)
                    closing = await self._finance.get_period(month.id)
        statements = [one async for one in each(self._finance.list_statements, period=month.id)]
        self.figures.lines = sum(one.line_count for one in statements if one.party == StatementParty.PROVIDER)
