"""Holding the fees on statements against their agreements, and what was posted for them."""

from collections import defaultdict
from collections.abc import Iterator

from sqlalchemy import select
from sqlalchemy.orm import Session

from caravan.contracts.fees import StatementFee
from caravan.contracts.statements import EntryKind
from caravan.contracts.tax import PLATFORM
from services.accounting.fees.models import FeeAgreementRow
from services.accounting.fees.taking import of_gross
from services.accounting.ledger import postings
from services.accounting.ledger.models import Entry, EntryPosting
from services.accounting.ledger.postings import Posting
from services.accounting.periods import dated
from services.accounting.statements.models import StatementRow
from services.accounting.tax.models import SupplyTax
from services.accounting.tax.supplies import Tax


def verify(tx: Session) -> Iterator[tuple[str, str]]:
    """(a statement's number or an entry's reference, what is wrong) of each fee that isn't what was agreed, or isn't posted as it is."""
    posted: dict[str, set[Posting]] = defaultdict(set)
    query = select(Entry.reference, EntryPosting.account, EntryPosting.amount)
    for row in tx.execute(query.join(EntryPosting, EntryPosting.entry == Entry.id).where(Entry.kind == EntryKind.FEE)):
        posted[row.reference].add(Posting(row.account, row.amount))
    kept = tx.execute(select(*SupplyTax.__table__.c).where(SupplyTax.seller == PLATFORM))
    taxes = {row.period: Tax(row.treatment, row.rate) for row in kept}
    statements = select(*StatementRow.__table__.c).where(StatementRow.fee.is_not(None)).order_by(StatementRow.id)
    for statement in tx.execute(statements).all():
        fee = StatementFee.model_validate(statement.fee)
        agreement = dated.of_period(tx, FeeAgreementRow, statement.ends_at, provider=statement.party_id)
        tax = taxes.get(statement.period)
        if agreement is None or tax is None or fee != of_gross(agreement, statement.gross, tax):
            yield statement.number, f"the fee of {fee.amount} is not what its gross makes by the agreement"
        if posted.pop(statement.id, set()) != {*postings.fee(statement.party_id, fee.net.fen, fee.tax.fen)}:
            yield statement.number, f"its fee is {fee.amount}, and something else was posted"
    for reference in sorted(posted):
        yield reference, "a fee was posted that no statement has"
