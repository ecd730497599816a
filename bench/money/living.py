"""One life of the real app: everything that was done before it is passed over or asked for again by its key, and the rest is done."""

import asyncio
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from random import Random
from typing import Any, Final

import httpx

from bench.charges.playing import Feed
from bench.money.books import books_of
from bench.money.rounds import Phase, Play, Round
from caravan.client import AccountingClient
from caravan.client.base import each
from caravan.contracts.corrections import CorrectionDraft, CorrectionState
from caravan.contracts.credit_notes import CreditNoteDraft
from caravan.contracts.funds import DepositDraft, HoldBatch
from caravan.contracts.statements import BearerKind, LineKind, Period, PeriodState, StatementParty
from caravan.kernel.follow import Follower
from caravan.kernel.money import Money
from caravan.kernel.runtime import Runtime
from caravan.kernel.settings import Settings
from caravan.kernel.tokens import create_signer
from caravan.kernel.web import ServiceApp, started
from services.accounting.app import create_app
from services.accounting.charging import due
from services.accounting.charging.charger import Charger
from services.accounting.usage import copies
from services.accounting.usage.facts import Facts

URL: Final = "http://accounting"
PAGE: Final = 400
NOTES: Final = 4
"""Credit notes, each month."""
HOLDER: Final = "charger"
"""Each life takes the lease of charging over from the one before at once, instead of when it has run out."""
WAIT_SECONDS: Final = 120
Say = Callable[[int, Phase, str], None]
"""Is told of which round which phase `begins` or `ends`."""


async def live(settings: Settings, play: Play, say: Say) -> dict[str, Any]:
    """Up to the end; gives the books."""
    app = create_app(settings)
    async with started(app):
        life = _Life(app, play, say)
        try:
            await life.fund()
            for number, month in enumerate(play.rounds):
                await life.through(number, month)
            return await books_of(app.provided[Runtime].db)
        finally:
            await life.aclose()


class _Pages:
    """All facts of the rounds up to `upto`, page by page: the cursor counts them."""

    def __init__(self, rounds: Sequence[Round]) -> None:
        self._facts = [fact for one in rounds for fact in one.facts]
        self.upto = 0

    async def feed(self, after: str | None, wait: float) -> tuple[list[dict[str, Any]], str]:
        start = int((after or "g:0").partition(":")[2])
        end = max(start, min(start + PAGE, self.upto))
        return [json.loads(fact) for fact in self._facts[start:end]], f"g:{end}"

    async def snapshot(self, start_after: str | None) -> tuple[str, list[dict[str, Any]], str | None]:
        return "g:0", [], None


class _Life:
    def __init__(self, app: ServiceApp, play: Play, say: Say) -> None:
        signer, transport = create_signer(app.settings), httpx.ASGITransport(app=app)
        self._finance, self._second, self._asks = self._clients = [
            AccountingClient(URL, partial(signer.sign, subject, [right]), transport)
            for subject, right in (
                ("wei", "platform:finance"),
                ("min", "platform:finance"),
                ("service:broker", "service:broker"),
            )
        ]
        self._play, self._tell = play, say
        runtime = app.provided[Runtime]
        self._db = runtime.db
        self._pages, self._catalog = _Pages(play.rounds), Feed("catalog", Random(1))
        self._catalog.say(play.known)
        self._follow_catalog = Follower(self._db, "catalog", self._catalog, copies.HANDLERS)
        self._follow_broker = Follower(self._db, "broker", self._pages, Facts(runtime.now).handlers())
        self._charger = Charger(self._db, HOLDER, runtime.now)

    async def aclose(self) -> None:
        for client in self._clients:
            await client.aclose()

    async def fund(self) -> None:
        """Parties and prices are known, and everybody has money."""
        while self._catalog.has_more:
            await self._follow_catalog.iteration(0)
        for organization in sorted({organization for organization, _ in self._play.market.projects}):
            draft = DepositDraft(organization=organization, amount=Money(10**12), reference=organization)
            await self._finance.record_deposit(draft, key=organization)

    async def through(self, number: int, month: Round) -> None:
        """All phases of a round."""
        await self._asks.put_holds(HoldBatch(holds=tuple(month.holds)))
        self._pages.upto += len(month.facts)
        with self._phase(number, Phase.INGEST):
            await self._ingest()
        with self._phase(number, Phase.CHARGE):
            await self._charge()
        with self._phase(number, Phase.CLOSE):
            closed = await self._close(month)
        with self._phase(number, Phase.CORRECT):
            await self._give_back(closed)  # before the lines' prices are corrected: then nothing is left of some
            for correction in month.corrections:
                await self._correct(number, correction)

    @contextmanager
    def _phase(self, number: int, phase: Phase) -> Iterator[None]:
        self._tell(number, phase, "begins")
        yield
        self._tell(number, phase, "ends")

    async def _ingest(self) -> None:
        for _ in range(0, self._pages.upto, PAGE):
            await self._follow_broker.iteration(0)

    async def _charge(self) -> None:
        async with asyncio.timeout(WAIT_SECONDS):
            while await self._charger.charge() or await self._db.read(due.count):
                pass

    async def _close(self, month: Round) -> Period:
        (period,) = [one async for one in each(self._finance.list_periods) if one.starts_at == month.starts_at]
        async with asyncio.timeout(WAIT_SECONDS):
            period = await self._finance.close_period(period.id)
            while period.state is not PeriodState.CLOSED:
                await asyncio.sleep(0.01)
                period = await self._finance.get_period(period.id)
        return period

    async def _correct(self, number: int, draft: CorrectionDraft) -> None:
        key = f"{number}-{draft.offering}"
        correction = (await self._finance.propose_price_correction(draft, key=key)).id
        async with asyncio.timeout(WAIT_SECONDS):
            while (
                state := (await self._finance.get_price_correction(correction)).state
            ) is not CorrectionState.APPLIED:
                if state is CorrectionState.PROPOSED:
                    await self._second.approve_price_correction(correction)
                await asyncio.sleep(0.01)

    async def _give_back(self, period: Period) -> None:
        """One yuan of the greatest line of some statements; of equal ones that of the first job, component, tariff and window."""
        statements = [one async for one in each(self._finance.list_statements, period=period.id)]
        sealed = [one for one in statements if one.party == StatementParty.ORGANIZATION]
        for statement in sorted(sealed, key=lambda one: one.number)[:NOTES]:
            of_it = each(self._finance.list_lines, period=period.id, organization=statement.party_id)
            lines = [one async for one in of_it if one.bearer == BearerKind.ORGANIZATION and one.kind == LineKind.USAGE]
            greatest = max(
                lines, key=lambda one: (one.amount.fen, one.job or "", one.component, one.tariff, one.window)
            )
            draft = CreditNoteDraft(statement=statement.id, line=greatest.id, amount=Money(100), reason="算错了")
            await self._finance.issue_credit_note(draft, key=statement.id)
