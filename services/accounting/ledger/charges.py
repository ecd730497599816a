"""Posting many charges at once: the entries, in their order, that posting them one after another would write."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from caravan.contracts.statements import EntryKind
from caravan.kernel import ids
from caravan.kernel.bulk import ChangeMany, InsertMany, SelectMany
from caravan.kernel.database import table_of
from services.accounting.ledger import postings
from services.accounting.ledger.models import Balance, Entry, EntryPosting, Unsealed

_BALANCES = table_of(Balance)
_ACCOUNT: Final = _BALANCES.c.account.type
_FEN: Final = _BALANCES.c.debit.type
_KEPT: Final = SelectMany(
    {"account": _ACCOUNT}, lambda given: select(_BALANCES).join(given, _BALANCES.c.account == given.c.account)
)
_ADD: Final = ChangeMany(
    {"account": _ACCOUNT, "debit": _FEN, "credit": _FEN},
    lambda given: (
        update(_BALANCES)
        .where(_BALANCES.c.account == given.account)
        .values(debit=_BALANCES.c.debit + given.debit, credit=_BALANCES.c.credit + given.credit)
    ),
)
_BALANCE: Final = InsertMany(_BALANCES)
_POSTING: Final = InsertMany(table_of(EntryPosting))
_ENTRY: Final = InsertMany(table_of(Entry))
_UNSEALED: Final = InsertMany(table_of(Unsealed))


class Charge(NamedTuple):
    """`delta_fen` more (negative: less) is charged to `organization` in favour of `seller`; `reference` is the job.

    `description`: why, where usage isn't the reason.
    """

    organization: str
    seller: str
    delta_fen: int
    reference: str
    description: str = ""


def charge_many(tx: Session, charges: Iterable[Charge], at: datetime) -> None:
    """One entry for each, as `service.charge` writes it; none where `delta_fen` is 0."""
    real = [charge for charge in charges if charge.delta_fen]
    kept = _kept(tx, real)
    nets = {one.organization: _net(kept, one.organization) for one in real}
    moved: defaultdict[str, list[int]] = defaultdict(list)
    entries: list[dict[str, Any]] = []
    posted: list[dict[str, Any]] = []
    for organization, seller, delta, reference, description in real:
        entry = postings.charge(organization, seller, nets[organization], delta)
        nets[organization] -= delta
        entries.append(
            {
                "id": ids.new("ent"),
                "kind": (EntryKind.CHARGE if delta > 0 else EntryKind.REVERSAL).value,
                "at": at,
                "organization": organization,
                "reference": reference,
                "description": description,
                "posting_count": len(entry),
            }
        )
        for number, posting in enumerate(entry, start=1):
            place = {"entry": entries[-1]["id"], "number": number}
            posted.append({**place, "account": posting.account, "amount": posting.amount})
            moved[posting.account].append(posting.amount)
    _POSTING.run(tx, posted)
    _ENTRY.run(tx, entries)
    sums = [
        {
            "account": account,
            "debit": sum(max(one, 0) for one in amounts),
            "credit": sum(max(-one, 0) for one in amounts),
        }
        for account, amounts in sorted(moved.items())
    ]
    _ADD.run(tx, [one for one in sums if one["account"] in kept])
    _BALANCE.run(tx, [one for one in sums if one["account"] not in kept])
    _UNSEALED.run(tx, [{"entry": entry["id"]} for entry in entries])


def _kept(tx: Session, charges: Sequence[Charge]) -> dict[str, int]:
    """Account -> credit less debit, of those accounts of the charges that there are."""
    accounts = {
        account
        for one in charges
        for account in (
            postings.prepaid(one.organization),
            postings.receivable(one.organization),
            postings.payable(one.seller),
        )
    }
    rows = _KEPT.all(tx, [{"account": account} for account in sorted(accounts)])
    return {row.account: row.credit - row.debit for row in rows}


def _net(kept: dict[str, int], organization: str) -> int:
    return kept.get(postings.prepaid(organization), 0) + kept.get(postings.receivable(organization), 0)
