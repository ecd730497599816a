"""Steps of a life with vouchers over the end of a year, each done in the town and in the model."""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import timedelta
from decimal import Decimal
from random import Random
from typing import Any, Final

from bench.independent.vouchers import Line, Voucher
from bench.vouchers.books import Compared
from bench.vouchers.jobs import Buyer, Job, sold_at
from bench.vouchers.model import Model, Use
from bench.vouchers.quarter import YEAR
from bench.vouchers.runs import Running, borne_by_job, line_of
from bench.vouchers.town import Town, buyer, month_of, starts
from caravan.contracts import statements
from caravan.contracts.credit_notes import CreditNoteDraft
from caravan.contracts.jobs import Outcome
from caravan.contracts.offerings import Tier
from caravan.contracts.prices import Component
from caravan.contracts.statements import BearerKind
from caravan.contracts.vouchers import ClawbackDraft, RevocationDraft
from caravan.kernel.clock import from_seconds, to_seconds
from caravan.kernel.money import Money

MONTHS: Final = ((2026, 11), (2026, 12), (2027, 1), (2027, 2), (2027, 3))
DEPOSIT: Final = 1_000_000
TERMS: Final[dict[str, dict[str, Any]]] = {
    "city": {
        "issuer": {"name": "市科技局", "level": "city"},
        "rates": [{"rate": 3000}],
        "floor": "5.00",
        "caps": {"redeemed_in_year": "40.00", "issued_in_year": "100.00"},
        "stacks_to": 4000,
        "settles": "quarter",
        "valid_months": 2,
    },
    "province": {
        "issuer": {"name": "省科技厅", "level": "province"},
        "rates": [{"rate": 2000}],
        "caps": {"claim": "70.00"},
        "stacks_to": 10000,
        "settles": "year",
    },
}
POOLS: Final = {
    "ends_at": "2028-01-01T00:00:00+08:00",
    "pools": [{"year": year, "amount": "900.00"} for year in (2026, 2027)],
}


class Scene:
    """One life. `buyers`, and `held`: the vouchers that each has."""

    def __init__(self, town: Town, random: Random, compared: Compared) -> None:
        self.town, self.random, self.compared = town, random, compared
        self.model = Model()
        self.jobs: dict[str, Running] = {}
        self.lines: list[statements.Line] = []
        self.noted = Counter[str]()
        self.known: dict[str, Line] = {}

    async def begin(self, held: Sequence[Mapping[str, int]]) -> None:
        """In November, with these vouchers, by programme, of an enterprise each."""
        self.sold = sold_at(self.random, Component.CPU_CORE_HOUR, Tier.HPC, None, Decimal("36"))
        self.buyers = [buyer(self.random) for _ in held]
        await self.town.open(self.buyers, [self.sold], Money(DEPOSIT))
        self.town.at(starts(MONTHS[0]) + timedelta(hours=9))
        self.programmes = {
            name: await self.town.publish({"name": name, **YEAR, **POOLS, **terms}) for name, terms in TERMS.items()
        }
        for one, own in zip(self.buyers, held, strict=True):
            for name, fen in own.items():
                await self.issue(one, name, fen)

    async def issue(self, whose: Buyer, name: str, fen: int) -> str:
        programme = self.programmes[name]
        made = await self.town.issue(programme, whose, Money(fen))
        voucher = Voucher(
            id=made.id,
            programme=programme.model_dump(mode="json"),
            organization=whose.organization,
            amount=fen,
            issued=to_seconds(made.issued_at),
            expires=to_seconds(made.expires_at),
        )
        self.model.issue(voucher, month_of(self.town.now)[0])
        return made.id

    def of(self, place: int, name: str) -> str:
        """The first voucher that an enterprise has of a programme."""
        own = self.buyers[place].organization, self.programmes[name].id
        return next(
            id
            for id, one in self.model.vouchers.items()
            if (one.voucher.organization, one.voucher.programme["id"]) == own
        )

    def open_lines(self) -> list[statements.Line]:
        """Those of the month that closes next."""
        closed = self.closed()
        return [line for line in self.lines if line.period not in closed]

    @property
    def month(self) -> tuple[int, int]:
        """The one that closes next."""
        return MONTHS[len(self.town.closed)]

    async def start(self, whose: Buyer, held: int) -> Running:
        """A job is submitted now, and runs on."""
        self.town.at(self.town.now + timedelta(minutes=1))
        job = Job.of(self.random, whose, self.sold, self.town.now, Money(held))
        await self.town.hold(job)
        await self.town.say(job.placed())
        like = line_of(self.sold, whose.organization)
        self.model.hold(Use(job.id, whose.organization, to_seconds(job.submitted_at), held, like))
        self.jobs[job.id] = running = Running([job])
        await self._charge()
        return running

    async def use(self, running: Running, seconds: int) -> None:
        """One more run of it, from now on."""
        begins = self.town.now + timedelta(minutes=1)
        run = running.runs[0] if running.runs[0].used is None else running.runs[0].another(self.random)
        running.runs += [] if run is running.runs[0] else [run]
        self.town.at(begins + timedelta(seconds=seconds))
        await self.town.say(run.use(begins, begins + timedelta(seconds=seconds)))
        await self._charge()

    async def less(self, running: Running, seconds: int) -> None:
        """Its first run had so much less."""
        run = running.runs[0]
        begins, ends = run.used or (self.town.now, self.town.now)
        await self.town.say(run.use(begins, ends - timedelta(seconds=seconds)))
        await self._charge()

    async def fault(self, running: Running) -> None:
        """It was the site's fault that one of its runs ended."""
        run = next(run for run in running.runs if run.run not in running.over)
        running.over.add(run.run)
        running.faults.add(run.run)
        await self.town.say(run.end(Outcome.SITE))
        await self._charge()

    async def settle(self, running: Running) -> None:
        for run in running.runs:
            if run.run not in running.over:
                running.over.add(run.run)
                await self.town.say(run.end())
        running.settled = True
        await self.town.say(running.runs[0].settle(*running.runs[1:]))
        await self._charge()

    async def _charge(self) -> None:
        await self.town.charge()
        self.lines = [line for one in self.buyers for line in await self.town.lines(one.organization)]
        open_ = self.open_lines()
        unclosed = {line.job for line in open_ if line.job}
        self.model.charge(borne_by_job(open_), unclosed, {id for id, one in self.jobs.items() if one.settled})

    def closed(self) -> dict[str, int]:
        return {period.id: number for number, period in enumerate(self.town.closed, start=1)}

    async def close(self) -> None:
        """The next month, if anything was used in it or is late for it."""
        before = {line.id for line in self.lines}
        period = await self.town.close(self.month)
        self.lines = [line for one in self.buyers for line in await self.town.lines(one.organization)]
        if {line.id for line in self.lines} != before:
            raise RuntimeError("lines came as it closed")
        own = [line for line in self.lines if line.period == period.id]
        open_ = self.open_lines()
        borne = [self._line(line) for line in own if line.bearer is BearerKind.ORGANIZATION and line.amount.fen]
        users = {line.job for line in own if line.job}
        self.model.close(borne, {line.organization for line in own}, borne_by_job(open_), users)
        unclosed = {line.job for line in open_ if line.job}
        self.model.charge(borne_by_job(open_), unclosed, ())

    def _line(self, line: statements.Line) -> Line:
        closes, about = self.closed(), line.corrects or line.period
        of = {one.id: (to_seconds(one.starts_at), to_seconds(one.ends_at)) for one in self.town.closed}
        job = self.jobs[str(line.job)]
        found = line_of(self.sold, line.organization)._replace(
            id=line.id,
            close=closes[line.period],
            about=closes[about],
            month=month_of(self.town.closed[closes[about] - 1].starts_at),
            job=line.job,
            submitted=to_seconds(job.runs[0].submitted_at),
            ended=job.ended(line, of),
            amount=line.amount.fen,
        )
        self.known[line.id] = found
        return found

    async def claw_back(self, voucher: str, fen: int) -> None:
        await self.town.office.claw_back_voucher(voucher, ClawbackDraft(amount=Money(fen), reason="材料不实"))
        self.model.claw_back(voucher, fen)

    async def revoke(self, voucher: str) -> None:
        self.town.at(self.town.now + timedelta(minutes=1))
        await self.town.office.revoke_voucher(voucher, RevocationDraft(reason="企业已迁出"))
        self.model.revoke(voucher)
        self.town.at(self.town.now + timedelta(minutes=1))

    async def expire(self, voucher: str) -> None:
        """Time goes on until it is over."""
        self.town.at(from_seconds(self.model.vouchers[voucher].voucher.expires))

    async def note(self, line: statements.Line, fen: int) -> None:
        """A credit note gives so much back of a line on a statement."""
        own = await self.town.statements(line.organization)
        (statement,) = [one for one in own if one.period == line.period]
        draft = CreditNoteDraft(statement=statement.id, line=line.id, amount=Money(fen), reason="算错了")
        made = await self.town.finance.issue_credit_note(draft)
        back = self.model.note(self.known[line.id], self.noted[line.id], fen)
        self.noted[line.id] += fen
        self.compared.equal("note", made.number, back, (made.subsidy or Money(0)).fen)

    def notable(self) -> list[tuple[statements.Line, int]]:
        """Lines on statements of which a note may give back, and how much."""
        gross = Counter[tuple[str, str]]()
        for line in self.lines:
            if line.bearer is BearerKind.ORGANIZATION:
                gross[line.period, line.organization] += line.amount.fen - self.noted[line.id]
        found = []
        for line in self.lines:
            job = self.jobs.get(str(line.job))
            left = min(line.amount.fen - self.noted[line.id], gross[line.period, line.organization])
            alone = sum(1 for one in self.lines if one.job == line.job and one.corrects) == 0
            if job and job.settled and alone and line.id in self.known and line.corrects is None and left > 0:
                found.append((line, left))
        return found
