"""Steps of a life with vouchers over the end of a year, each done in the town and in the model, and all compared after it."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from random import Random
from typing import Any, Final

from bench.independent.vouchers import Line, Voucher
from bench.vouchers.books import Compared
from bench.vouchers.jobs import Buyer, Job, Sold, sold_at
from bench.vouchers.model import Model, Use
from bench.vouchers.quarter import YEAR
from bench.vouchers.town import Town, buyer, month_of, starts
from caravan.contracts import statements
from caravan.contracts.credit_notes import CreditNoteDraft
from caravan.contracts.jobs import Outcome
from caravan.contracts.offerings import Tier
from caravan.contracts.prices import Component
from caravan.contracts.statements import BearerKind
from caravan.contracts.vouchers import ClawbackDraft, RevocationDraft
from caravan.kernel.clock import to_seconds
from caravan.kernel.money import Money
from services.accounting.ledger.postings import payable, programme_receivable

MONTHS: Final = ((2026, 11), (2026, 12), (2027, 1), (2027, 2), (2027, 3))
DEPOSIT: Final = 1_000_000
TERMS: Final[dict[str, dict[str, Any]]] = {
    "city": {
        "issuer": {"name": "市科技局", "level": "city"},
        "rates": [{"rate": 3000}],
        "floor": "5.00",
        "caps": {"redeemed_in_year": "60.00", "issued_in_year": "100.00"},
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


@dataclass
class Running:
    """A job and its runs. `noted`: a credit note gave back of it, so nothing else is changed of it."""

    runs: list[Job]
    over: set[str] = field(default_factory=set)
    faults: set[str] = field(default_factory=set)
    settled: bool = False
    noted: bool = False

    @property
    def id(self) -> str:
        return self.runs[0].id

    def costs(self) -> int:
        """A fen a second of what the organization bears."""
        return sum(self.seconds(run) for run in self.runs if run.run not in self.faults)

    def seconds(self, run: Job) -> int:
        return int((run.used[1] - run.used[0]).total_seconds()) if run.used else 0

    def ended(self, line: statements.Line, of: dict[str, tuple[int, int]]) -> int:
        """When its usage in the period that a line is about had ended."""
        starts_at, ends_at = of[line.corrects or line.period]
        ends = [to_seconds(run.used[1]) for run in self.runs if run.used and to_seconds(run.used[0]) < ends_at]
        return max(starts_at, min(ends_at, max(ends, default=starts_at)))


class Scene:
    """One life. `buyers`, and `held`: the vouchers that each has."""

    def __init__(self, town: Town, random: Random, compared: Compared) -> None:
        self.town, self.random, self.compared = town, random, compared
        self.model = Model()
        self.jobs: dict[str, Running] = {}
        self.lines: list[statements.Line] = []
        self.noted = Counter[str]()
        self.seen: set[str] = set()
        self._subsidies: dict[str, int] = {}
        self._known: dict[str, Line] = {}

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
        closed = self._closed()
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
        like = _like(self.sold, whose.organization)
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
        self.model.charge(_charged(open_), unclosed, {id for id, one in self.jobs.items() if one.settled})

    def _closed(self) -> dict[str, int]:
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
        self.model.close(borne, {line.organization for line in own}, _charged(open_), users)
        unclosed = {line.job for line in open_ if line.job}
        self.model.charge(_charged(open_), unclosed, ())

    def _line(self, line: statements.Line) -> Line:
        closes, about = self._closed(), line.corrects or line.period
        of = {one.id: (to_seconds(one.starts_at), to_seconds(one.ends_at)) for one in self.town.closed}
        job = self.jobs[str(line.job)]
        found = _like(self.sold, line.organization)._replace(
            id=line.id,
            close=closes[line.period],
            about=closes[about],
            month=month_of(self.town.closed[closes[about] - 1].starts_at),
            submitted=to_seconds(job.runs[0].submitted_at),
            ended=job.ended(line, of),
            amount=line.amount.fen,
        )
        self._known[line.id] = found
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
        self.town.at(max(self.town.now, self._expires(voucher)))

    def _expires(self, voucher: str) -> Any:
        return starts(MONTHS[0]) + timedelta(
            seconds=self.model.vouchers[voucher].voucher.expires - to_seconds(starts(MONTHS[0]))
        )

    async def note(self, line: statements.Line, fen: int) -> None:
        """A credit note gives so much back of a line on a statement."""
        self.jobs[str(line.job)].noted = True
        own = await self.town.statements(line.organization)
        (statement,) = [one for one in own if one.period == line.period]
        draft = CreditNoteDraft(statement=statement.id, line=line.id, amount=Money(fen), reason="算错了")
        made = await self.town.finance.issue_credit_note(draft)
        back = self.model.note(self._known[line.id], self.noted[line.id], fen)
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
            if job and job.settled and alone and line.id in self._known and line.corrects is None and left > 0:
                found.append((line, left))
        return found

    async def check(self, step: str) -> None:
        """All of it is as the model says."""
        self.seen.add(step)
        await self.town.expire()
        self.model.look(to_seconds(self.town.now))
        await self._check_vouchers(step)
        await self._check_money(step)
        await self._check_papers(step)
        self.compared.wrong += [f"after {step}: {one}" for one in await self.town.wrong()]

    async def _check_vouchers(self, step: str) -> None:
        model, equal = self.model, self.compared.equal
        for id, one in model.vouchers.items():
            now = await self.town.office.get_voucher(id)
            should = (model.state(id), model.pledged(id), model.redeemed(id), one.released, one.clawed_back)
            found = now.state.value, now.pledged.fen, now.redeemed.fen, now.released.fen, now.clawed_back.fen
            equal("voucher", f"{id} after {step}", should, found)
            equal("within", f"{id} after {step}", True, 0 <= now.redeemed.fen <= now.pledged.fen <= now.amount.fen)
        for programme in self.programmes.values():
            standing = await self.town.office.get_programme_standing(programme.id, limit=200)
            pools = {one.year: one.committed.fen for one in standing.pools}
            equal(
                "pool",
                f"{programme.name} after {step}",
                {year: model.committed[programme.id, year] for year in pools},
                pools,
            )
            of_years = {(one.organization, one.year): (one.issued.fen, one.redeemed.fen) for one in standing.items}
            should_be = {at: model.of_year(programme.id, *at) for at in of_years}
            equal("year", f"{programme.name} after {step}", should_be, of_years)
            claims = {at: fen for at, fen in (await self.town.claims(programme.id)).items() if any(fen)}
            claimed = {at: fen for at, fen in model.claimed(programme.id).items() if any(fen)}
            equal("claim", f"{programme.name} after {step}", claimed, claims)

    async def _check_money(self, step: str) -> None:
        model, equal = self.model, self.compared.equal
        borne = [line for line in self.lines if line.bearer is BearerKind.ORGANIZATION]
        of_jobs = _charged(borne)
        for id, job in self.jobs.items():
            equal("charge", f"{id} after {step}", job.costs(), of_jobs[id])
        noted = Counter[str]()
        for line in borne:
            noted[line.organization] += self.noted[line.id]
        for one in self.buyers:
            funds = await self.town.finance.get_funds(one.organization)
            uses = [use for use in model.jobs.values() if use.organization == one.organization]
            own = [id for id, held in model.vouchers.items() if held.voucher.organization == one.organization]
            granted = sum(model.pledged(id) for id in own)
            charged = sum(of_jobs[use.id] for use in uses) - noted[one.organization]
            held = sum(use.held - of_jobs[use.id] for use in uses if not use.settled)
            should = (granted, charged, held, DEPOSIT + granted - charged - held)
            found = (funds.granted.fen, funds.charged.fen, funds.held.fen, funds.available.fen)
            equal("funds", f"{one.organization} after {step}", should, found)
        trial = await self.town.finance.get_trial_balance()
        balances = {account.account: account.balance.fen for account in trial.accounts}
        equal("ledger", f"after {step}", 0, trial.sum.fen)
        sold = sum(of_jobs.values()) - sum(noted.values())
        equal("provider", f"after {step}", -sold, balances.get(payable(self.sold.provider), 0))
        for programme in self.programmes.values():
            owed = sum(
                model.redeemed(id)
                for id, held in model.vouchers.items()
                if held.voucher.programme["id"] == programme.id
            )
            equal(
                "programme", f"{programme.name} after {step}", owed, balances.get(programme_receivable(programme.id), 0)
            )

    async def _check_papers(self, step: str) -> None:
        paid, closed = self.model.claims.paid, self._closed()
        for line in self.lines:
            if line.id in self._known:
                self.compared.equal(
                    "line", f"{line.id} after {step}", paid.of_line(line.id), (line.subsidy or Money(0)).fen
                )
        for one in self.buyers:
            for statement in await self.town.statements(one.organization):
                should = self.model.statements[closed[statement.period], one.organization]
                found = {two.voucher: (two.on_lines.fen, two.earlier.fen) for two in statement.redemptions}
                what = f"{statement.number} after {step}"
                self.compared.equal(
                    "redemptions",
                    what,
                    {id: fen for id, fen in should.items() if any(fen)},
                    {id: fen for id, fen in found.items() if any(fen)},
                )
                own = [
                    line
                    for line in self.lines
                    if line.period == statement.period and line.organization == one.organization
                ]
                gross = sum(line.amount.fen for line in own if line.bearer is BearerKind.ORGANIZATION)
                due = gross - sum(sum(fen) for fen in should.values())
                self.compared.equal("due", what, Money(due), statement.due)


def _like(sold: Sold, organization: str) -> Line:
    """A line of what is sold."""
    return Line(
        id="",
        organization=organization,
        close=0,
        about=0,
        month=MONTHS[0],
        component=sold.component,
        tier=sold.tier,
        origin=sold.origin,
        seller=sold.provider,
        submitted=0,
        ended=0,
        amount=0,
    )


def _charged(lines: Iterable[statements.Line]) -> Counter[str]:
    """By job, what its organization bears."""
    found = Counter[str]()
    for line in lines:
        if line.job and line.bearer is BearerKind.ORGANIZATION:
            found[line.job] += line.amount.fen
    return found
