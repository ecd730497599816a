"""Reading the ledger: entries in pages, and the trial balance."""

from typing import Any

from sqlalchemy import Row, Select, select
from sqlalchemy.orm import Session

from caravan.contracts.statements import AccountBalance, EntryKind, LedgerEntry, Posting, TrialBalance
from caravan.kernel.database import Database, database_now
from caravan.kernel.money import Money
from caravan.kernel.pages import Listing, Page
from services.accounting.ledger.models import Balance, Entry, EntryPosting
from services.accounting.ledger.sealing import postings_of


class LedgerService:
    """What finance, and an organization of its own account, read in the books."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def list(
        self, listing: Listing, organizations: frozenset[str] | None, account: str | None, kind: EntryKind | None
    ) -> Page[LedgerEntry]:
        """Entries of these organizations (None: of all), the newest first."""
        entries = await self._db.read(_entries, listing, organizations, account, kind)
        return listing.page(entries, key=lambda entry: (entry.id,))

    async def trial_balance(self) -> TrialBalance:
        """Every account with its sums."""
        return await self._db.read(trial_balance)


def trial_balance(tx: Session) -> TrialBalance:
    """Every account with its sums, by name. Costs as much as there are accounts, whatever their history."""
    rows = tx.execute(select(Balance.account, Balance.debit, Balance.credit).order_by(Balance.account)).all()
    return TrialBalance(
        at=database_now(tx),
        accounts=tuple(
            AccountBalance(
                account=row.account,
                debit=Money(row.debit),
                credit=Money(row.credit),
                balance=Money(row.debit - row.credit),
            )
            for row in rows
        ),
        sum=Money(sum(row.debit - row.credit for row in rows)),
    )


def _entries(
    tx: Session,
    listing: Listing,
    organizations: frozenset[str] | None,
    account: str | None,
    kind: EntryKind | None,
) -> list[LedgerEntry]:
    rows = tx.execute(_query(listing, organizations, account, kind)).all()
    postings = postings_of(tx, [row.id for row in rows])
    return [_shown(row, [(posting.account, posting.amount) for posting in postings[row.id]]) for row in rows]


def _query(
    listing: Listing, organizations: frozenset[str] | None, account: str | None, kind: EntryKind | None
) -> Select[*tuple[Any, ...]]:
    query = select(*Entry.__table__.c)
    if account is None:
        order = Entry.id
    else:  # by the account's own index: a rare account costs no walk through the others' entries
        order = EntryPosting.entry
        query = query.join(EntryPosting, EntryPosting.entry == Entry.id).where(EntryPosting.account == account)
    if organizations is not None:
        query = query.where(Entry.organization.in_(organizations))
    if kind is not None:
        query = query.where(Entry.kind == kind.value)
    if listing.after:
        query = query.where(order < listing.after[0])
    return query.order_by(order.desc()).limit(listing.fetch)


def _shown(row: Row[Any], postings: list[tuple[str, int]]) -> LedgerEntry:
    return LedgerEntry(
        id=row.id,
        kind=EntryKind(row.kind),
        at=row.at,
        organization=row.organization,
        reference=row.reference,
        description=row.description,
        postings=tuple(Posting(account=account, amount=Money(amount)) for account, amount in postings),
    )
