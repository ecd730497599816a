"""Plays a history into accounting, as its followers and its callers would, and exports what finance sees.

The app is the real one with its lifespan running; its two peers are feeds in memory, followed by the real followers.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any, Final

import httpx

from bench.charges.history import CUT, MONTH_END, History, Hold
from bench.charges.market import STARTS, Event, Market, identifier
from caravan.client import AccountingClient
from caravan.client.base import each
from caravan.contracts import events
from caravan.contracts.fees import FeeAgreementDraft
from caravan.contracts.funds import CreditLimitDraft, DepositDraft
from caravan.contracts.statements import Period, PeriodCut, PeriodState
from caravan.contracts.tax import PLATFORM, SupplyCategory, TaxRuleDraft, TaxTreatment
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

FEED_PAGE: Final = 500
LIST_PAGE: Final = 200
CLOSE_SECONDS: Final = 60
URL: Final = "http://accounting"


def play(history: History, folder: Path, seed: int, database_url: str | None = None) -> None:
    """Play it into an empty database, then write usage, periods, lines, statements and the trial balance to `folder`, as JSON.

    `seed`: of the feeds' pages and of how the followers take turns. Without a URL the database is a file in `folder`.
    """
    settings = Settings(
        mode="development",
        data_dir=folder / "data",
        log_level="error",
        log_format="console",
        accounting_database_url=database_url,
    )
    settings.data_dir.mkdir(parents=True)
    migrate(settings.database_url("accounting"), "accounting")
    asyncio.run(_play(history, folder, settings, Random(seed)))


async def _play(history: History, folder: Path, settings: Settings, random: Random) -> None:
    async with _opened(settings, random) as accounting:
        accounting.catalog.say(history.market.known)
        await accounting.deliver()
        await accounting.fund(history.market)
        await accounting.agree(history.market)
        accounting.catalog.say(history.market.late)
        for number, phase in enumerate(history.phases):
            await accounting.put_holds(phase.holds)
            accounting.broker.say(phase.facts)
            await accounting.deliver()
            await accounting.put_holds(phase.late_holds)
            await accounting.retry()
            if number == 0:
                await accounting.cut()
            else:
                accounting.progress(history.market, number)
                await accounting.deliver()
                await accounting.close_oldest()
        await accounting.export(folder)


class Feed:
    """A feed as a follower sees it, in pages of any size."""

    def __init__(self, source: str, random: Random, now: clock.Clock = clock.now) -> None:
        self._source = source
        self._random = random
        self._now = now
        self._events: list[dict[str, Any]] = []
        self._given = 0

    @property
    def has_more(self) -> bool:
        return self._given < len(self._events)

    def say(self, said: Iterable[Event]) -> None:
        for event in said:
            envelope = {
                "specversion": "1.0",
                "id": identifier(self._random, "evt"),
                "source": self._source,
                "type": event.type,
                "subject": event.subject,
                "time": self._now().isoformat(),
                "data": event.data.model_dump(mode="json", by_alias=True),
                "position": len(self._events) + 1,
            }
            self._events.append(envelope)

    async def feed(self, after: str | None, wait: float) -> tuple[list[dict[str, Any]], str]:
        start = int((after or "g:0").partition(":")[2])
        page = self._events[start : start + self._random.randint(1, FEED_PAGE)]
        self._given = start + len(page)
        return page, f"g:{self._given}"

    async def snapshot(self, start_after: str | None) -> tuple[str, list[dict[str, Any]], str | None]:
        return "g:0", [], None


class Accounting:
    """The running service, the feeds that it follows, and those who call it."""

    def __init__(self, app: ServiceApp, http: httpx.AsyncClient, random: Random) -> None:
        signer = create_signer(app.settings)
        transport = httpx.ASGITransport(app=app)
        self._http = http
        self._token: Callable[[], str] = lambda: signer.sign("finance", ["platform:finance"])
        self._finance = AccountingClient(URL, self._token, transport)
        self._asks = AccountingClient(URL, lambda: signer.sign("service:broker", ["service:broker"]), transport)
        self._random = random
        runtime = app.provided[Runtime]
        self._db = runtime.db
        self.catalog, self.broker = Feed("catalog", random), Feed("broker", random)
        self._follow_catalog = Follower(self._db, "catalog", self.catalog, copies.HANDLERS)
        self._follow_broker = Follower(self._db, "broker", self.broker, Facts(runtime.now).handlers())
        self._charger = Charger(self._db, runtime.owner.id, runtime.now)

    async def aclose(self) -> None:
        await self._finance.aclose()
        await self._asks.aclose()

    async def deliver(self) -> None:
        """Let both followers come to the ends of their feeds, in any interleaving, and all be charged."""
        both = ((self.catalog, self._follow_catalog), (self.broker, self._follow_broker))
        while behind := [follower for feed, follower in both if feed.has_more]:
            await self._random.choice(behind).iteration(0)
            if self._random.random() < 0.5:
                await self._charger.charge()
        while await self._charger.charge():
            pass

    async def retry(self) -> None:
        """Try what waited for a hold or a price list; all of that is there now."""
        await self._follow_broker.retry()
        while await self._charger.charge():
            pass
        if parked := await self._db.read(parked_count):
            raise RuntimeError(f"{parked} facts still wait")

    async def fund(self, market: Market) -> None:
        for organization in sorted({organization for organization, _ in market.projects}):
            draft = DepositDraft(organization=organization, amount=Money(10**8), reference=organization)
            await self._finance.record_deposit(draft, key=organization)
            await self._finance.set_credit_limit(organization, CreditLimitDraft(amount=Money(10**12)), version=0)

    async def agree(self, market: Market) -> None:
        """A fee with each provider. One provider has rules of its own: a rate up to the cut, and none behind it."""
        platforms = TaxRuleDraft(
            seller=PLATFORM,
            category=SupplyCategory.PLATFORM_SERVICE,
            treatment=TaxTreatment.TAXED,
            rate=600,
            starts_at=STARTS,
        )
        providers = sorted({seller.provider for seller in market.sellers})
        own = {"seller": providers[0], "category": SupplyCategory.COMPUTE_SERVICE, "rate": 1300}
        exempt = {"treatment": TaxTreatment.EXEMPT, "rate": None, "starts_at": CUT}
        for changes in ({}, own, own | exempt):
            await self._finance.post_tax_rule(platforms.model_copy(update=changes))
        for rate, provider in enumerate(providers, start=500):
            terms = FeeAgreementDraft(provider=provider, rate=rate, floor=Money(100), starts_at=STARTS)
            await self._finance.make_fee_agreement(terms)

    async def put_holds(self, holds: Iterable[Hold]) -> None:
        for hold in holds:
            answer = await self._asks.put_hold(hold.job, hold.request)
            if not answer.granted:
                raise RuntimeError(f"not granted: {answer}")

    def progress(self, market: Market, version: int) -> None:
        """All sites say that they have stated all before the month's end; what comes later for it is late."""
        for site, provider in sorted({(seller.site, seller.provider) for seller in market.sellers}):
            state = SiteProgress(site=site, provider=provider, complete_through=MONTH_END, version=version)
            self.broker.say([Event(events.SITE_PROGRESS, site, state)])

    async def cut(self) -> None:
        """Cut the month in which the history starts."""
        (month,) = [one for one in await self._periods() if one.starts_at <= STARTS < one.ends_at]
        await self._finance.cut_period(month.id, PeriodCut(at=CUT))

    async def close_oldest(self) -> None:
        """Close the oldest open period that ends by the month's end, if there is one."""
        over = [one for one in await self._periods() if one.state is PeriodState.OPEN and one.ends_at <= MONTH_END]
        if not over:
            return
        oldest = min(over, key=lambda one: one.ends_at).id
        closing = await self._finance.close_period(oldest)
        async with asyncio.timeout(CLOSE_SECONDS):
            while closing.state is not PeriodState.CLOSED:
                await asyncio.sleep(0.01)
                closing = await self._finance.get_period(oldest)

    async def _periods(self) -> list[Period]:
        return [one async for one in each(self._finance.list_periods)]

    async def export(self, folder: Path) -> None:
        """What the public API says, as it says it."""
        found = {
            "usage": await self._get("/exports/usage"),
            "periods": await self._all("/periods"),
            "lines": await self._all("/lines"),
            "statements": await self._all("/statements"),
            "trial_balance": await self._get("/ledger/trial-balance"),
        }
        for name, content in found.items():
            (folder / f"{name}.json").write_text(json.dumps(content, ensure_ascii=False))

    async def _all(self, path: str) -> list[Any]:
        items: list[Any] = []
        cursor: dict[str, str] = {}
        while True:
            page = await self._get(path, limit=LIST_PAGE, **cursor)
            items += page["items"]
            if page["next"] is None:
                return items
            cursor = {"cursor": page["next"]}

    async def _get(self, path: str, **query: Any) -> Any:
        response = await self._http.get(
            f"/v1{path}", params=query, headers={"Authorization": f"Bearer {self._token()}"}
        )
        response.raise_for_status()
        return response.json()


@asynccontextmanager
async def _opened(settings: Settings, random: Random) -> AsyncIterator[Accounting]:
    app = create_app(settings)
    async with started(app), httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url=URL) as http:
        accounting = Accounting(app, http, random)
        try:
            yield accounting
        finally:
            await accounting.aclose()
