"""Posting to the ledger and reading it.

`charge`, `discount`, `redemption`, `credit_note`, `deposit`, `fee` and `fee_due` are units within the caller's transaction: the entry
stands or falls with the fact that made it.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from sqlalchemy import bindparam, insert, select, update
from sqlalchemy.orm import Session

from caravan.contracts.statements import EntryKind
from caravan.kernel import ids
from caravan.kernel.database import table_of
from caravan.kernel.prepared import Prepared
from services.accounting.ledger import postings
from services.accounting.ledger.models import Balance, Entry, EntryPosting, Unsealed
from services.accounting.ledger.postings import Posting

_balances = table_of(Balance)
_NET: Final = Prepared(
    select(_balances.c.debit, _balances.c.credit).where(
        _balances.c.account.in_((bindparam("prepaid"), bindparam("receivable")))
    )
)
_ADD: Final = Prepared(
    update(_balances)
    .where(_balances.c.account == bindparam("known"))
    .values(debit=_balances.c.debit + bindparam("debits"), credit=_balances.c.credit + bindparam("credits"))
)
_BALANCE: Final = Prepared(insert(_balances))
_POSTING: Final = Prepared(insert(table_of(EntryPosting)))
_ENTRY: Final = Prepared(insert(table_of(Entry)))
_UNSEALED: Final = Prepared(insert(table_of(Unsealed)))


def charge(
    tx: Session,
    *,
    organization: str,
    seller: str,
    delta_fen: int,
    reference: str,
    at: datetime,
    description: str = "",
) -> str | None:
    """Charge `delta_fen` more (negative: less) to `organization` in favour of `seller`; `reference` is the job.

    Takes prepaid down to 0, then receivable. Returns the entry's id, or None when `delta_fen` is 0 and nothing is posted.
    """
    if not delta_fen:
        return None
    return post(
        tx,
        kind=EntryKind.CHARGE if delta_fen > 0 else EntryKind.REVERSAL,
        at=at,
        organization=organization,
        reference=reference,
        entry=postings.charge(organization, seller, net(tx, organization), delta_fen),
        description=description,
    )


def discount(tx: Session, *, organization: str, seller: str, delta_fen: int, period: str, at: datetime) -> str:
    """Book by how much volume discounts of `period` change (not 0; negative: more is taken off) what `organization` owes `seller`.

    Returns the entry's id.
    """
    return post(
        tx,
        kind=EntryKind.DISCOUNT,
        at=at,
        organization=organization,
        reference=period,
        entry=postings.charge(organization, seller, net(tx, organization), delta_fen),
    )


def redemption(tx: Session, *, organization: str, programme: str, delta_fen: int, reference: str, at: datetime) -> str:
    """Book that `programme` pays `delta_fen` (not 0; negative: less) of what `organization` was charged; `reference` is the job, or the
    voucher whose claim is settled. Returns the entry's id.
    """
    return post(
        tx,
        kind=EntryKind.REDEMPTION,
        at=at,
        organization=organization,
        reference=reference,
        entry=postings.redemption(organization, programme, net(tx, organization), delta_fen),
    )


def deposit(tx: Session, *, organization: str, amount_fen: int, reference: str, at: datetime) -> str:
    """Book `amount_fen` (positive) that came in; `reference` is the deposit. Returns the entry's id."""
    if amount_fen <= 0:
        raise ValueError("a deposit is positive")
    return post(
        tx,
        kind=EntryKind.DEPOSIT,
        at=at,
        organization=organization,
        reference=reference,
        entry=postings.deposit(organization, net(tx, organization), amount_fen),
    )


def credit_note(tx: Session, *, organization: str, seller: str, amount_fen: int, reference: str, at: datetime) -> str:
    """Book that `amount_fen` (positive) of what `seller` charged is given back to `organization`; `reference` is the note.

    Returns the entry's id.
    """
    return post(
        tx,
        kind=EntryKind.CREDIT_NOTE,
        at=at,
        organization=organization,
        reference=reference,
        entry=postings.charge(organization, seller, net(tx, organization), -amount_fen),
    )


def fee(
    tx: Session, *, provider: str, net_fen: int, tax_fen: int, later_fen: int, reference: str, at: datetime
) -> str | None:
    """Book the platform's fee and the tax in it, and what of it is due later; `reference` is the provider's statement.

    Returns the entry's id, None without a fee.
    """
    entry = postings.fee(provider, net_fen, tax_fen, later_fen)
    if not entry:
        return None
    return post(tx, kind=EntryKind.FEE, at=at, organization=None, reference=reference, entry=entry)


def fee_due(tx: Session, *, provider: str, net_fen: int, tax_fen: int, reference: str, at: datetime) -> str:
    """Book what has become due of the fee on a provider's statement (`reference`), not 0. Returns the entry's id."""
    entry = postings.fee_due(provider, net_fen, tax_fen)
    return post(tx, kind=EntryKind.FEE_DUE, at=at, organization=None, reference=reference, entry=entry)


def net(tx: Session, organization: str) -> int:
    """What the organization has with the platform, in fen: deposits less charges."""
    accounts = {"prepaid": postings.prepaid(organization), "receivable": postings.receivable(organization)}
    return sum(row.credit - row.debit for row in _NET.all(tx, **accounts))


def post(
    tx: Session,
    *,
    kind: EntryKind,
    at: datetime,
    organization: str | None,
    reference: str,
    entry: Sequence[Posting],
    description: str = "",
) -> str:
    """Write one entry. `entry` has at least two postings, one for each account, that sum to zero: else the database refuses."""
    identifier = ids.new("ent")
    _POSTING.run_each(
        tx,
        [
            {"entry": identifier, "number": number, "account": posting.account, "amount": posting.amount}
            for number, posting in enumerate(entry, start=1)
        ],
    )
    _ENTRY.run(
        tx,
        id=identifier,
        kind=kind.value,
        at=at,
        organization=organization,
        reference=reference,
        description=description,
        posting_count=len(entry),
    )
    for posting in sorted(entry, key=lambda posting: posting.account):
        _add(tx, posting)
    _UNSEALED.run(tx, entry=identifier)
    return identifier


def _add(tx: Session, posting: Posting) -> None:
    """Keep the account's sums. Not an upsert: its insert would be checked by itself, as if the account had no other postings."""
    debit, credit = max(posting.amount, 0), max(-posting.amount, 0)
    if not _ADD.run(tx, known=posting.account, debits=debit, credits=credit):
        _BALANCE.run(tx, account=posting.account, debit=debit, credit=credit)
