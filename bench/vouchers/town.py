"""The real accounting service in this process, and everybody who has to do with vouchers there, each by its API. Its clock stands until it
is set.
"""

import csv
import io
import logging
import re
from collections.abc import AsyncIterator, Collection, Iterable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from random import Random
from typing import Any, Final

import httpx
import structlog
from sqlalchemy import insert, select
from sqlalchemy.orm import Session

from bench.charges.market import Event, identifier
from bench.charges.playing import Feed
from bench.vouchers.jobs import OPENS, ORIGINS, ZONE, Buyer, Job, Sold
from caravan.client import AccountingClient
from caravan.client.base import each
from caravan.contracts import events
from caravan.contracts.funds import DepositDraft, HoldAnswer
from caravan.contracts.problems import AboveCap
from caravan.contracts.programmes import Enterprise, EnterpriseSize, Programme, ProgrammeDraft
from caravan.contracts.reimbursements import (
    ReimbursedLine,
    Reimbursement,
    ReimbursementDraft,
    ReimbursementPaymentDraft,
)
from caravan.contracts.statements import Line, Period, PeriodState, Statement, StatementParty
from caravan.contracts.vouchers import ReviewDraft, SupplyContract, Voucher, VoucherApplication, VoucherApplicationDraft
from caravan.kernel.follow import Follower, parked_count
from caravan.kernel.money import Money
from caravan.kernel.runtime import Runtime
from caravan.kernel.settings import Settings
from caravan.kernel.tokens import create_signer
from caravan.kernel.web import ServiceApp, started
from services.accounting.app import create_app
from services.accounting.charging.charger import Charger
from services.accounting.ledger.verify import verify_ledger
from services.accounting.periods.closing import PeriodService
from services.accounting.programme_reports.paper import HEADERS
from services.accounting.usage import copies
from services.accounting.usage.facts import Facts
from services.accounting.vouchers.ending import Expiring
from services.accounting.vouchers.evidence import APPLICATIONS

URL: Final = "http://accounting"
PASSES: Final = ReviewDraft(passed=True, reason="材料齐全")
_VOUCHER, *_, _SPAN, _CLAIMED, _PAID = HEADERS
_DAY: Final = re.compile(r"(\d{4})-(\d\d)-01")
Month = tuple[int, int]


class Hand:
    """The town's clock."""

    def __init__(self) -> None:
        self.at = OPENS + timedelta(hours=9)

    def __call__(self) -> datetime:
        return self.at


class Town:
    """Everybody who acts, and the feeds that accounting follows. `closed`: which periods are, in that order."""

    def __init__(self, app: ServiceApp, hand: Hand, random: Random, stack: AsyncExitStack) -> None:
        self._app, self._hand, self._random, self._stack = app, hand, random, stack
        self._sign, self._transport = create_signer(app.settings).sign, httpx.ASGITransport(app=app)
        self.finance = self.client("wei", "platform:finance")
        self.office = self.client("min", "platform:programmes")
        self._reviewers = [self.client(name, "platform:programmes") for name in ("li", "fang")]
        self._asks = self.client("service:broker", "service:broker")
        runtime = app.provided[Runtime]
        self.db = runtime.db
        self._catalog, self._broker = Feed("catalog", random), Feed("broker", random, hand)
        self._follow_catalog = Follower(self.db, "catalog", self._catalog, copies.HANDLERS)
        self._follow_broker = Follower(self.db, "broker", self._broker, Facts(hand).handlers())
        self._charger = Charger(self.db, "charger", hand)
        self._sold: dict[str, Sold] = {}
        self.closed: list[Period] = []

    def client(self, subject: str, *permissions: str) -> AccountingClient:
        """Somebody."""
        client = AccountingClient(URL, partial(self._sign, subject, permissions), self._transport)
        self._stack.push_async_callback(client.aclose)
        return client

    @property
    def now(self) -> datetime:
        return self._hand.at

    def at(self, moment: datetime) -> None:
        """It is that time now, or later."""
        self._hand.at = max(self._hand.at, moment)

    async def open(self, buyers: Iterable[Buyer], sold: Iterable[Sold], money: Money) -> None:
        """The catalog's parties and prices are known, and each buyer has `money`."""
        self._catalog.say(Event(events.ACCELERATOR, id, one) for id, one in ORIGINS.items())
        await self.sell(sold)
        for buyer in buyers:
            self._catalog.say(buyer.known())
            await self._follow()
            draft = DepositDraft(organization=buyer.organization, amount=money, reference=buyer.organization)
            await self.finance.record_deposit(draft, key=buyer.organization)

    async def sell(self, sold: Iterable[Sold]) -> None:
        for one in sold:
            self._sold[one.price_list] = one
            self._catalog.say(one.known())
        await self._follow()

    async def publish(self, terms: Mapping[str, Any]) -> Programme:
        draft = await self.office.create_programme(ProgrammeDraft.model_validate(terms))
        return await self.office.publish_programme(draft.id, draft.version)

    async def apply(
        self,
        programme: Programme,
        buyer: Buyer,
        amount: Money,
        *,
        kinds: Collection[str] = (),
        use: str | None = None,
        contract: SupplyContract | None = None,
    ) -> VoucherApplication:
        """The enterprise applies, and two of the office pass it."""
        enterprise = Enterprise(
            place="610113",
            industry="I6513",
            size=EnterpriseSize.SMALL,
            registered_on=(OPENS - timedelta(days=1000)).date(),
            kinds=tuple(kinds),
            clear_credit=True,
        )
        draft = VoucherApplicationDraft(
            programme=programme.id,
            organization=buyer.organization,
            enterprise=enterprise,
            use=use,
            amount=amount,
            contract=contract,
        )
        asked = await self.admin(buyer).apply_for_voucher(draft)
        for reviewer in self._reviewers:
            asked = await reviewer.review_voucher_application(asked.id, PASSES, asked.version)
        return asked

    async def issue(self, programme: Programme, buyer: Buyer, amount: Money, **more: Any) -> Voucher:
        """By all that it takes."""
        return await self.office.issue_voucher((await self.apply(programme, buyer, amount, **more)).id)

    async def applied_before(self, like: VoucherApplication, count: int) -> list[str]:
        """More approved applications like one, as they may be from a year that left them room. Returns their ids."""

        def copy(tx: Session) -> list[str]:
            own = tx.execute(select(APPLICATIONS).where(APPLICATIONS.c.id == like.id)).one()._asdict()
            made = [own | {"id": identifier(self._random, "vap")} for _ in range(count)]
            tx.execute(insert(APPLICATIONS), made)
            return [one["id"] for one in made]

        return await self.db.write(copy) if count else []

    async def refused(self, programme: Programme, buyer: Buyer, amount: Money, **more: Any) -> Money | None:
        """What the enterprise's year leaves, where it doesn't leave so much. None: it does."""
        try:
            await self.issue(programme, buyer, amount, **more)
        except AboveCap as refusal:
            return refusal.most
        return None

    async def reimburse(self, programme: Programme, buyer: Buyer) -> tuple[Reimbursement, list[ReimbursedLine]]:
        """The enterprise claims what is due, two of the office pass it, and finance pays it; with its lines."""
        admin = self.admin(buyer)
        draft = ReimbursementDraft(organization=buyer.organization, programme=programme.id)
        filed = await admin.file_reimbursement(draft)
        await admin.store_reimbursement_evidence(filed.id, "receipt.pdf", b"%PDF")
        filed = await admin.get_reimbursement(filed.id)
        for reviewer in self._reviewers:
            filed = await reviewer.review_reimbursement(filed.id, PASSES, filed.version)
        payment = ReimbursementPaymentDraft(reference=filed.id, paid_on=self.now.astimezone(ZONE).date())
        paid = await self.finance.pay_reimbursement(filed.id, payment)
        return paid, [one async for one in each(admin.list_reimbursed_lines, filed.id)]

    def admin(self, buyer: Buyer) -> AccountingClient:
        return self.client("hong", f"org/{buyer.organization}:admin")

    async def ask(self, job: Job) -> HoldAnswer:
        """For its hold."""
        return await self._asks.put_hold(job.id, job.request())

    async def hold(self, job: Job) -> None:
        answer = await self.ask(job)
        if not answer.granted:
            raise RuntimeError(f"not granted: {answer}")

    def tell(self, facts: Iterable[Event]) -> None:
        """The broker says it; nobody has followed yet."""
        self._broker.say(facts)

    async def say(self, facts: Iterable[Event]) -> None:
        """It is followed, and nothing is charged yet."""
        self.tell(facts)
        await self._follow()

    async def charge(self) -> None:
        """All that was said."""
        await self._follow()
        await self._follow_broker.retry()
        while await self._charger.charge():
            pass
        if waiting := await self.db.read(parked_count):
            raise RuntimeError(f"{waiting} facts wait")

    async def _follow(self) -> None:
        for feed, follower in ((self._catalog, self._follow_catalog), (self._broker, self._follow_broker)):
            while feed.has_more:
                await follower.iteration(0)

    async def periods(self) -> dict[Month, Period]:
        """By the month in which they begin."""
        found = [one async for one in each(self.finance.list_periods)]
        return {month_of(one.starts_at): one for one in found}

    async def close(self, month: Month) -> Period:
        """All sites are past its end, and so is the clock; all was charged."""
        period = (await self.periods())[month]
        self.at(period.ends_at + timedelta(hours=1))
        sites = {one.site: one for one in self._sold.values()}
        await self.say(one.progress(period.ends_at, len(self.closed) + 1) for one in sites.values())
        await self.charge()
        await self.finance.close_period(period.id)
        await self._app.provided[PeriodService].iteration()
        period = await self.finance.get_period(period.id)
        if period.state is not PeriodState.CLOSED:
            raise RuntimeError(f"it doesn't close: {period}")
        self.closed.append(period)
        return period

    async def close_upto(self, month: Month) -> None:
        """All that are open up to a month, one after the other."""
        for one, period in sorted((await self.periods()).items()):
            if one <= month and period.state is PeriodState.OPEN:
                await self.close(one)

    async def expire(self) -> None:
        """The loop that ends vouchers looks once."""
        await self._app.provided[Expiring].iteration()

    async def lines(self, organization: str) -> list[Line]:
        return [one async for one in each(self.finance.list_lines, organization=organization)]

    async def statements(self, organization: str) -> list[Statement]:
        """Those that it has as a buyer."""
        found = each(self.finance.list_statements, party_id=organization)
        return [one async for one in found if one.party is StatementParty.ORGANIZATION]

    async def claims(self, programme: str) -> dict[tuple[str, Month], tuple[int, int]]:
        """What was claimed and paid in fen by voucher and the first month of the span, as the programme's CSV has it."""
        text = (await self.office.export_programme(programme)).decode("utf-8-sig")
        found = {}
        for row in csv.reader(io.StringIO(text)):
            cells = dict(zip(HEADERS, row, strict=True))
            if day := _DAY.fullmatch(cells[_SPAN]):
                fen = Money.parse(cells[_CLAIMED]).fen, Money.parse(cells[_PAID]).fen
                found[cells[_VOUCHER], (int(day[1]), int(day[2]))] = fen
        return found

    async def wrong(self) -> list[str]:
        """What the proof of the books finds."""
        return [str(one) for one in (await verify_ledger(self.db)).findings]

    def sold_by(self, price_list: str) -> Sold:
        return self._sold[price_list]


def month_of(moment: datetime) -> Month:
    local = moment.astimezone(ZONE)
    return local.year, local.month


def starts(month: Month) -> datetime:
    """When it starts in the platform's zone."""
    return datetime(*month, 1, tzinfo=ZONE)


def buyer(random: Random) -> Buyer:
    return Buyer(identifier(random, "org"), identifier(random, "prj"))


@asynccontextmanager
async def opened(url: str, folder: Path, random: Random) -> AsyncIterator[Town]:
    """A town on a migrated database. Keys lie in `folder`."""
    settings = Settings(
        mode="development", data_dir=folder, log_level="error", log_format="console", accounting_database_url=url
    )
    hand = Hand()
    app = create_app(settings, now=hand)
    with _quiet():
        async with started(app), AsyncExitStack() as stack:
            yield Town(app, hand, random, stack)


@contextmanager
def _quiet() -> Iterator[None]:
    """Facts that come before others are parked, which the service tells in its log."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    try:
        yield
    finally:
        structlog.configure(**before)
