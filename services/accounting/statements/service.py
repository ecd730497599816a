"""Reading statements: as JSON, their lines in pages, and as CSV. Whoever is named on one may read it; finance reads all."""

import hashlib
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from typing import Any

from sqlalchemy import Row, select
from sqlalchemy.orm import Session

from caravan.contracts.fees import StatementFee
from caravan.contracts.statements import Statement, StatementLine, StatementParty, StatementRedemption, StatementSection
from caravan.kernel.database import Database
from caravan.kernel.money import ZERO, Money
from caravan.kernel.pages import Listing, Page
from caravan.kernel.problems import NotFound
from caravan.kernel.tokens import Caller
from services.accounting.charging.reading import shown as line_shown
from services.accounting.statements import lines, paper
from services.accounting.statements.issuing import number_of
from services.accounting.statements.models import Counter, StatementRow
from services.accounting.statements.totals import Tally, Totals, net_of


class StatementService:
    """What the parties and finance read."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def list(self, listing: Listing, caller: Caller, period: str | None, party_id: str | None) -> Page[Statement]:
        """The caller's own statements (finance: all), the newest first."""
        rows = await self._db.read(_statements, listing, _parties(caller), period, party_id)
        return listing.page([shown(row) for row in rows], key=lambda statement: (statement.id,))

    async def get(self, statement: str, caller: Caller) -> Statement:
        """Raises NotFound, also for a statement of others."""
        return shown(await self._find(statement, caller))

    async def list_lines(self, statement: str, caller: Caller, listing: Listing) -> Page[StatementLine]:
        """A statement's lines by job. Raises NotFound."""
        found = await self._find(statement, caller)
        rows = await self._db.read(lines.of_statement, found, listing.after, listing.fetch)
        page = [StatementLine(line=line_shown(row), job_name=row.job_name) for row in rows]
        return listing.page(page, key=lambda item: (item.line.job or "", item.line.id))

    async def csv(self, statement: str, caller: Caller) -> tuple[str, AsyncIterator[bytes]]:
        """The statement's number and the bytes of its CSV, a batch of lines at a time. Raises NotFound before the first byte."""
        found = await self._find(statement, caller)
        return found.number, self._csv(found)

    async def _csv(self, statement: Row[Any]) -> AsyncIterator[bytes]:
        columns = paper.columns_of(statement)
        yield paper.header(columns)
        after = None
        while rows := await self._db.read(lines.of_statement, statement, after, lines.BATCH):
            yield b"".join(paper.line(row, statement.names, columns) for row in rows)
            after = (rows[-1].job, rows[-1].id)

    async def _find(self, statement: str, caller: Caller) -> Row[Any]:
        row = await self._db.read(_statement, statement)
        parties = _parties(caller)
        if row is None or (parties is not None and row.party_id not in parties):
            raise NotFound
        return row


def verify(tx: Session) -> Iterator[tuple[str, str]]:
    """(number, what is wrong) of each statement that is gone, or isn't the sum of its lines, or whose lines aren't the sealed ones."""
    issued = set(tx.scalars(select(StatementRow.number)))
    of_statements = Counter.kind.in_([party.value for party in StatementParty])
    counters = select(*Counter.__table__.c).where(of_statements).order_by(Counter.kind, Counter.year)
    for counter in tx.execute(counters).all():
        for number in range(1, counter.last + 1):
            name = number_of(StatementParty(counter.kind), counter.year, number)
            if name not in issued:
                yield name, "there is no such statement"
    for statement in tx.execute(select(*StatementRow.__table__.c).order_by(StatementRow.id)).all():
        taxed, party = statement.sections is not None, StatementParty(statement.party)
        columns = paper.columns_of(statement)
        tally, digest, after = Tally(), hashlib.sha256(paper.header(columns)), None
        subsidy = 0
        while rows := lines.of_statement(tx, statement, after, lines.BATCH):
            after = (rows[-1].job, rows[-1].id)
            for row in rows:
                tally.add(lines.counterparty(party, row), row)
                digest.update(paper.line(row, statement.names, columns))
                subsidy += row.subsidy or 0
        found = tally.totals()
        if not taxed:
            found = replace(found, tax=_tax_by_seller(statement, found))
        for name in ("gross", "tax", "adjustments", "borne_by_provider", "notional", "line_count"):
            if getattr(found, name) != getattr(statement, name):
                yield statement.number, f"{name} is {getattr(statement, name)}, its lines give {getattr(found, name)}"
        if taxed and [section.kept() for section in found.sections] != statement.sections:
            yield statement.number, "its sections are not those of its lines"
        if columns.subsidized and subsidy != sum(one["on_lines"] for one in statement.redemptions):
            yield statement.number, "what vouchers pay is not what they pay of its lines"
        if digest.hexdigest() != statement.lines_sha256:
            yield statement.number, "its lines are not those that were sealed"


def _tax_by_seller(statement: Row[Any], found: Totals) -> int:
    """The tax of a statement that was issued before tax stood on lines: once for each seller.

    What was issued before rates were kept is proved without its tax.
    """
    if not statement.rates:
        return int(statement.tax)
    if statement.party == StatementParty.PROVIDER:
        return found.gross - net_of(found.gross, statement.rates[statement.party_id])
    return found.gross - sum(net_of(one.gross, statement.rates[one.key.counterparty]) for one in found.sections)


def shown(row: Row[Any]) -> Statement:
    """A statement as its readers see it."""
    fee = StatementFee.model_validate(row.fee) if row.fee else None
    redemptions = tuple(_redemption(one) for one in row.redemptions or ())
    paid = sum(one.on_lines.fen + one.earlier.fen for one in redemptions)
    return Statement(
        id=row.id,
        number=row.number,
        party=StatementParty(row.party),
        party_id=row.party_id,
        party_name=row.party_name,
        period=row.period,
        period_name=row.period_name,
        starts_at=row.starts_at,
        ends_at=row.ends_at,
        gross=Money(row.gross),
        tax=Money(row.tax),
        tax_rates=row.rates,
        net=Money(row.gross - row.tax),
        sections=tuple(_section(row, section) for section in row.sections or ()),
        redemptions=redemptions,
        due=Money(row.gross - paid) if row.party == StatementParty.ORGANIZATION else None,
        fee=fee,
        payout=Money(row.gross) - (fee.amount if fee else ZERO) if row.party != StatementParty.ORGANIZATION else None,
        adjustments=Money(row.adjustments),
        borne_by_provider=Money(row.borne_by_provider),
        notional=Money(row.notional),
        late_sites=tuple(row.late_sites),
        set_aside=row.set_aside,
        line_count=row.line_count,
        issued_at=row.issued_at,
        lines_sha256=row.lines_sha256,
    )


def _redemption(kept: dict[str, Any]) -> StatementRedemption:
    money = {name: Money(kept[name]) for name in ("on_lines", "earlier")}
    return StatementRedemption.model_validate(kept | money)


def _section(row: Row[Any], section: dict[str, Any]) -> StatementSection:
    gross, tax = Money(section["gross"]), Money(section["tax"])
    return StatementSection(
        counterparty=section["counterparty"],
        counterparty_name=row.names[section["counterparty"]],
        treatment=section["treatment"],
        rate=section["rate"],
        gross=gross,
        net=gross - tax,
        tax=tax,
    )


def _parties(caller: Caller) -> frozenset[str] | None:
    return None if caller.is_finance else caller.organizations() | caller.providers()


def _statement(tx: Session, statement: str) -> Row[Any] | None:
    return tx.execute(select(*StatementRow.__table__.c).where(StatementRow.id == statement)).one_or_none()


def _statements(
    tx: Session, listing: Listing, parties: frozenset[str] | None, period: str | None, party_id: str | None
) -> list[Row[Any]]:
    query = select(*StatementRow.__table__.c)
    if parties is not None:
        query = query.where(StatementRow.party_id.in_(parties))
    if party_id is not None:
        query = query.where(StatementRow.party_id == party_id)
    if period is not None:
        query = query.where(StatementRow.period == period)
    if listing.after:
        query = query.where(StatementRow.id < listing.after[0])
    return list(tx.execute(query.order_by(StatementRow.id.desc()).limit(listing.fetch)).all())
