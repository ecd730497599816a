"""Numbers of documents, without gaps within their kind and year."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from caravan.kernel.feed import upsert
from services.accounting.statements.models import Counter


def take(tx: Session, kind: str, year: int, count: int) -> int:
    """The first of `count` numbers, which are taken with this transaction or not at all."""
    mine = (Counter.kind == kind) & (Counter.year == year)
    last = tx.execute(select(Counter.last).where(mine)).scalar_one_or_none() or 0
    tx.execute(
        upsert(tx, Counter)
        .values(kind=kind, year=year, last=last + count)
        .on_conflict_do_update(index_elements=["kind", "year"], set_={"last": last + count})
    )
    return last + 1
