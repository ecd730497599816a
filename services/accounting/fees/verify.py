"""Holding the fees on statements against their agreements, and what was posted for them."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from functools import cache, partial

from sqlalchemy import select
from sqlalchemy.orm import Session

from caravan.contracts.fees import StatementFee
from caravan.contracts.statements import EntryKind
from caravan.contracts.tax import PLATFORM
from caravan.kernel.money import Money
from services.accounting.fees import paying
from services.accounting.fees.arithmetic import due_of
from services.accounting.fees.models import FeeAgreementRow
from services.accounting.fees.taking import of_gross, waits
from services.accounting.ledger import postings
from services.accounting.ledger.models import Entry, EntryPosting
from services.accounting.periods import dated
from services.accounting.statements.models import StatementRow
from services.accounting.tax.models import SupplyTax
from services.accounting.tax.supplies import Tax


def verify(tx: Session) -> Iterator[tuple[str, str]]:
    """(a statement's number or an entry's reference, what is wrong) of each fee that isn't what was agreed, or isn't posted as it is."""
    posted: defaultdict[str, Counter[str]] = defaultdict(Counter)
    query = select(Entry.reference, EntryPosting.account, EntryPosting.amount)
    booked = Entry.kind.in_((EntryKind.FEE.value, EntryKind.FEE_DUE.value))
    for row in tx.execute(query.join(EntryPosting, EntryPosting.entry == Entry.id).where(booked)):
        posted[row.reference][row.account] += row.amount
    kept = tx.execute(select(*SupplyTax.__table__.c).where(SupplyTax.seller == PLATFORM))
    taxes = {row.period: Tax(row.treatment, row.rate) for row in kept}
    covered = cache(partial(paying.coverage, tx))
    statements = select(*StatementRow.__table__.c).where(StatementRow.fee.is_not(None)).order_by(StatementRow.id)
    for statement in tx.execute(statements).all():
        fee = StatementFee.model_validate(statement.fee)
        agreement = dated.of_period(tx, FeeAgreementRow, statement.ends_at, provider=statement.party_id)
        tax = taxes.get(statement.period)
        if agreement is None or tax is None or fee != of_gross(agreement, statement.gross, tax):
            yield statement.number, f"the fee of {fee.amount} is not what its gross makes by the agreement"
        due = fee.amount.fen
        if waits(fee):
            found = paying.shares(statement.period, statement.sections, covered)
            due = due_of(fee.amount.fen, [*found.values()])
        net, part = paying.split(due, fee.tax_rate)
        right = postings.fee(statement.party_id, net, part, fee.amount.fen - due)
        sums = {account: amount for account, amount in posted.pop(statement.id, Counter()).items() if amount}
        if sums != {posting.account: posting.amount for posting in right}:
            yield statement.number, f"its fee is {fee.amount}, of it {Money(due)} due, and something else was posted"
    for reference in sorted(posted):
        yield reference, "a fee was posted that no statement has"
