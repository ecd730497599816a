"""Issuing credit notes and reading them. Both parties on one may read it; finance reads all."""

from datetime import datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, Row, Select, func, insert, select
from sqlalchemy.orm import Session

from caravan.contracts.credit_notes import CreditNote, CreditNoteDraft
from caravan.contracts.statements import BearerKind, LineKind, StatementParty
from caravan.kernel import audit, idempotency, ids
from caravan.kernel.money import Money
from caravan.kernel.pages import Listing, Page
from caravan.kernel.problems import FieldError, Invalid, NotFound
from caravan.kernel.runtime import Runtime
from caravan.kernel.tokens import Caller
from caravan.kernel.web import answer_of
from services.accounting.charging.book import LINES, key_of
from services.accounting.charging.reading import parties_see, seller_of
from services.accounting.credit_notes.left import Billed, left, part_in
from services.accounting.credit_notes.models import CreditNoteRow
from services.accounting.fees import paying
from services.accounting.funds import holds
from services.accounting.funds.service import check_amount, unknown
from services.accounting.ledger import service as ledger
from services.accounting.periods import service as periods
from services.accounting.redemptions import returning
from services.accounting.statements import numbers
from services.accounting.statements.models import StatementRow

KIND: Final = "credit_note"
"""Of the counter."""


class CreditNoteService:
    """What finance gives back, and the parties read."""

    def __init__(self, runtime: Runtime) -> None:
        self._db = runtime.db
        self._now = runtime.now
        self._owner = runtime.owner

    async def issue(self, draft: CreditNoteDraft, caller: Caller, key: idempotency.Key) -> idempotency.Answer:
        """One transaction: the key, the note, its number, its ledger entry, the totals. Raises Invalid, UnknownReference."""
        check_amount(draft.amount, "/amount", 1)
        return await self._db.write(self._issue, draft, caller.subject, key, self._now())

    def _issue(
        self, tx: Session, draft: CreditNoteDraft, subject: str, key: idempotency.Key, at: datetime
    ) -> idempotency.Answer:
        claimed = idempotency.claim(tx, key, self._owner.id)
        if isinstance(claimed, idempotency.Answer):
            return claimed
        answer = answer_of(issue(tx, draft, subject, at))
        idempotency.answer(tx, key, answer)
        return answer

    async def get(self, note: str, caller: Caller) -> CreditNote:
        """Raises NotFound, also for a note of others."""
        row = await self._db.read(lambda tx: tx.execute(_notes(caller).where(CreditNoteRow.id == note)).one_or_none())
        if row is None:
            raise NotFound
        return _shown(row)

    async def list(self, listing: Listing, caller: Caller, statement: str | None) -> Page[CreditNote]:
        """The caller's own notes (finance: all), the newest first."""
        query = _notes(caller).order_by(CreditNoteRow.id.desc()).limit(listing.fetch)
        if statement is not None:
            query = query.where(CreditNoteRow.statement == statement)
        if listing.after:
            query = query.where(CreditNoteRow.id < listing.after[0])
        rows = await self._db.read(lambda tx: tx.execute(query).all())
        return listing.page([_shown(row) for row in rows], key=lambda note: (note.id,))


def issue(tx: Session, draft: CreditNoteDraft, subject: str, at: datetime) -> CreditNote:
    """Raises Invalid for what can't be given back, UnknownReference for a statement that isn't an organization's, or hasn't the line."""
    statement = tx.execute(select(*StatementRow.__table__.c).where(StatementRow.id == draft.statement)).one_or_none()
    if statement is None or statement.party != StatementParty.ORGANIZATION:
        raise unknown("/statement")
    stands = (LINES.c.period == statement.period) & (LINES.c.organization == statement.party_id)
    line = tx.execute(select(LINES).where(LINES.c.id == draft.line, stands)).one_or_none()
    if line is None:
        raise unknown("/line")
    own = Billed(line.amount, _noted(tx, CreditNoteRow.line == line.id))
    _check(draft.amount, left_of(tx, statement, line, own))
    note = CreditNote(
        **dict(draft),
        id=ids.new("crn"),
        number=_number(tx, at),
        statement_number=statement.number,
        period=statement.period,
        organization=statement.party_id,
        organization_name=statement.party_name,
        provider=line.provider,
        provider_name=statement.names[line.provider],
        seller=seller_of(line),
        seller_name=statement.names[seller_of(line)],
        tax=None if line.tax is None else Money(part_in(own, line.tax, draft.amount.fen)),
        issued_at=at,
        issued_by=subject,
    )
    money = {"amount": note.amount.fen, "tax": None if note.tax is None else note.tax.fen}
    resold = {"reseller": line.reseller, "reseller_name": note.seller_name if line.reseller else ""}
    values = note.model_dump(exclude={"seller", "seller_name", "subsidy"})
    tx.execute(insert(CreditNoteRow).values(values | money | resold))
    ledger.credit_note(
        tx,
        organization=note.organization,
        seller=note.seller,
        amount_fen=note.amount.fen,
        reference=note.id,
        at=at,
    )
    holds.add_to_fund(tx, note.organization, charged=-note.amount.fen)
    back = returning.give_back(tx, line, note.id, lambda whole: part_in(own, whole, note.amount.fen), at)
    paying.bring_up(tx, note.organization, at)
    audit.record(tx, subject, "issue_credit_note", note.id, draft)
    return note.model_copy(update={"subsidy": back})


def left_of(tx: Session, statement: Row[Any], line: Row[Any], own: Billed) -> int:
    """What may still be given back of `line` on `statement`, in fen: nothing where the organization doesn't bear usage by it."""
    if line.kind != LineKind.USAGE or line.bearer != BearerKind.ORGANIZATION:
        return 0
    of_job = tx.execute(select(LINES).where(LINES.c.job == line.job)).all()
    same = [one for one in of_job if key_of(one) == key_of(line)]
    noted = _noted(tx, CreditNoteRow.line.in_([one.id for one in same]))
    return left(
        own,
        Billed(sum(one.amount for one in same), noted),
        Billed(statement.gross, _noted(tx, CreditNoteRow.statement == statement.id)),
    )


def _check(amount: Money, most: int) -> None:
    if amount.fen > most:
        detail = f"Give at most {Money(most)}, which is left of the line" if most else "Nothing is left of this line"
        raise Invalid(errors=[FieldError(pointer="/amount" if most else "/line", code="too_large", detail=detail)])


def _number(tx: Session, at: datetime) -> str:
    year = at.astimezone(periods.zone(tx)).year
    return number_of(year, numbers.take(tx, KIND, year, 1))


def number_of(year: int, number: int) -> str:
    """The number of a credit note, as it stands on it."""
    return f"CN-{year:04d}-{number:06d}"


def _noted(tx: Session, which: ColumnElement[bool]) -> int:
    return int(tx.execute(select(func.coalesce(func.sum(CreditNoteRow.amount), 0)).where(which)).scalar_one())


def _notes(caller: Caller) -> Select[*tuple[Any, ...]]:
    query = select(*CreditNoteRow.__table__.c, returning.given_back(CreditNoteRow.id).label("subsidy"))
    if caller.is_finance:
        return query
    return query.where(parties_see(CreditNoteRow, caller.organizations(), caller.providers()))


def _shown(row: Row[Any]) -> CreditNote:
    parts = {
        name: None if getattr(row, name) is None else Money(int(getattr(row, name))) for name in ("tax", "subsidy")
    }
    values = row._asdict() | {"amount": Money(row.amount)} | parts
    reseller, name = values.pop("reseller"), values.pop("reseller_name")
    seller = {"seller": reseller or row.provider, "seller_name": name or row.provider_name}
    return CreditNote.model_validate(values | seller)
