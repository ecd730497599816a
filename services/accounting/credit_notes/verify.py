"""Holding credit notes against their numbers, their lines, and what was posted for them."""

from collections import defaultdict
from collections.abc import Iterator

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from caravan.contracts.statements import EntryKind
from caravan.kernel.money import Money
from services.accounting.charging.models import LineRow
from services.accounting.credit_notes.models import CreditNoteRow
from services.accounting.credit_notes.service import KIND, number_of
from services.accounting.ledger.models import Entry, EntryPosting
from services.accounting.ledger.postings import payable
from services.accounting.statements.models import Counter


def verify(tx: Session) -> Iterator[tuple[str, str]]:
    """(number or reference, what is wrong) of notes that are gone, that give back more than their line, or are not posted as they are."""
    notes = {row.number: row for row in tx.execute(select(*CreditNoteRow.__table__.c).order_by(CreditNoteRow.number))}
    for counter in tx.execute(select(*Counter.__table__.c).where(Counter.kind == KIND).order_by(Counter.year)):
        for number in range(1, counter.last + 1):
            if number_of(counter.year, number) not in notes:
                yield number_of(counter.year, number), "there is no such credit note"
    posted: dict[str, dict[str, int]] = defaultdict(dict)
    query = select(Entry.reference, EntryPosting.account, EntryPosting.amount).join(
        EntryPosting, EntryPosting.entry == Entry.id
    )
    for row in tx.execute(query.where(Entry.kind == EntryKind.CREDIT_NOTE)):
        posted[row.reference][row.account] = row.amount
    for number, note in notes.items():
        if posted.pop(note.id, {}).get(payable(note.reseller or note.provider)) != note.amount:
            yield number, f"it gives back {Money(note.amount)}, and something else was posted"
    for reference in sorted(posted):
        yield reference, "a credit note was posted that is not there"
    given_back = (
        select(CreditNoteRow.line, func.sum(CreditNoteRow.amount).label("noted"))
        .group_by(CreditNoteRow.line)
        .subquery()
    )
    over = select(given_back.c.line, given_back.c.noted).outerjoin(LineRow, LineRow.id == given_back.c.line)
    for line, noted in tx.execute(over.where(func.coalesce(LineRow.amount, 0) < given_back.c.noted)):
        yield line, f"{Money(int(noted))} was given back of it, which is more than it is"
