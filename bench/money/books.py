"""What the books say, whatever ids and times they were given: equal for the same facts, wherever lives have ended in between."""

from collections import Counter
from typing import Any, Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from caravan.kernel.database import Database, table_of
from caravan.kernel.follow import parked_count
from services.accounting.charging.book import LINES
from services.accounting.charging.due import count, failed_count
from services.accounting.credit_notes.models import CreditNoteRow
from services.accounting.funds.models import HoldRow
from services.accounting.ledger.models import Balance, Entry, EntryPosting
from services.accounting.ledger.verify import verify_ledger
from services.accounting.periods.models import PeriodRow
from services.accounting.statements.models import StatementRow

_STATEMENT: Final = (
    "number",
    "party_id",
    "period_name",
    "gross",
    "tax",
    "adjustments",
    "borne_by_provider",
    "line_count",
)
_NOTE: Final = ("number", "statement_number", "organization", "provider", "amount", "tax", "reason")


async def books_of(db: Database) -> dict[str, Any]:
    """By what: rows as lists, in order. `wrong` is empty when the books are right."""
    report = await verify_ledger(db)
    return await db.read(_books) | {"wrong": [str(one) for one in report.findings], "left": await db.read(_left)}


def _left(tx: Session) -> dict[str, int]:
    return {"parked": parked_count(tx), "due": count(tx), "failed": failed_count(tx)}


def _books(tx: Session) -> dict[str, Any]:
    periods = {row.id: row.name for row in tx.execute(select(PeriodRow.id, PeriodRow.name))}
    periods[""] = ""
    lines = [row._asdict() for row in tx.execute(select(LINES))]
    for line in lines:
        del line["id"]
        line |= {"period": periods[line["period"]], "corrects": periods[line["corrects"]]}
    postings = Counter[tuple[str, str, str]]()
    query = select(Entry.kind, Entry.organization, EntryPosting.account, EntryPosting.amount)
    for row in tx.execute(query.join(EntryPosting, EntryPosting.entry == Entry.id)):
        postings[row.kind, row.organization or "", row.account] += row.amount
    return {
        "lines": sorted(([*line.values()] for line in lines), key=str),
        "statements": _rows(tx, StatementRow, _STATEMENT),
        "credit_notes": _rows(tx, CreditNoteRow, _NOTE),
        "balances": _rows(tx, Balance, ("account", "debit", "credit")),
        "postings": sorted([*key, amount] for key, amount in postings.items() if amount),
        "holds": _rows(tx, HoldRow, ("job", "amount", "captured", "corrected")),
    }


def _rows(tx: Session, model: Any, names: tuple[str, ...]) -> list[list[Any]]:
    columns = [table_of(model).c[name] for name in names]
    return [list(row) for row in tx.execute(select(*columns).order_by(columns[0]))]
