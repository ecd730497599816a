"""Proves the books from what is stored: entries, balances, seals, that the lines are what the usage comes to, and that the money moved
is what the lines and statements say.

Reads all of history once, on one snapshot; for an auditor and `caravan ledger verify`, not for a request.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from sqlalchemy import case, func, select
from sqlalchemy.orm import Session

from caravan.contracts.base import Model
from caravan.contracts.reconciliations import Finding
from caravan.contracts.statements import BearerKind, EntryKind
from caravan.kernel.database import Database
from caravan.kernel.money import Money
from services.accounting.charging import recomputing
from services.accounting.charging import verify as charging
from services.accounting.charging.models import LineRow
from services.accounting.charging.reading import seller_of
from services.accounting.credit_notes import verify as credit_notes
from services.accounting.discounts import verify as discounts
from services.accounting.fees import verify as fees
from services.accounting.funds import verify as funds
from services.accounting.ledger import sealing
from services.accounting.ledger.models import Balance, Entry, EntryPosting, Seal, Unsealed
from services.accounting.ledger.postings import payable
from services.accounting.redemptions import verify as redemptions
from services.accounting.reimbursements import verify as reimbursements
from services.accounting.statements import service as statements
from services.accounting.statements.models import StatementRow
from services.accounting.tax import verify as tax

SHOWN: Final = 1000
"""How many findings a report lists at most."""


class VerifyReport(Model):
    """What was looked at, and what was found. The books are right when nothing was."""

    entries: int
    postings: int
    accounts: int
    seals: int
    unsealed: int
    lines: int
    jobs: int
    statements: int
    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        return not self.findings


class _Sums(NamedTuple):
    debit: int
    credit: int


async def verify_ledger(db: Database) -> VerifyReport:
    """Verify one accounting database. It may be in use, or opened read-only."""
    return await db.read(report)


def verify(tx: Session) -> Iterator[Finding]:
    """All findings, check by check."""
    yield from _entries(tx)
    yield from _balances(tx)
    yield from _chain(tx)
    yield from _charges(tx)
    yield from (Finding(check="line", subject=job, detail=words) for job, words in charging.verify(tx))
    yield from (Finding(check="usage", subject=job, detail=words) for job, words in recomputing.verify(tx))
    yield from (Finding(check="discount", subject=who, detail=words) for who, words in discounts.verify(tx))
    yield from (Finding(check="tax", subject=line, detail=words) for line, words in tax.verify(tx))
    yield from (Finding(check="funds", subject=subject, detail=words) for subject, words in funds.verify(tx))
    yield from (Finding(check="voucher", subject=subject, detail=words) for subject, words in redemptions.verify(tx))
    yield from (Finding(check="reimbursement", subject=who, detail=words) for who, words in reimbursements.verify(tx))
    yield from (Finding(check="credit note", subject=note, detail=words) for note, words in credit_notes.verify(tx))
    yield from (Finding(check="fee", subject=subject, detail=words) for subject, words in fees.verify(tx))
    yield from (Finding(check="statement", subject=number, detail=words) for number, words in statements.verify(tx))


def report(tx: Session) -> VerifyReport:
    """The whole proof, in this transaction."""

    def count(table: type) -> int:
        return tx.execute(select(func.count()).select_from(table)).scalar_one()

    findings = verify(tx)
    return VerifyReport(
        entries=count(Entry),
        postings=count(EntryPosting),
        accounts=count(Balance),
        seals=count(Seal),
        unsealed=count(Unsealed),
        lines=count(LineRow),
        jobs=tx.execute(select(func.count(LineRow.job.distinct()))).scalar_one(),
        statements=count(StatementRow),
        findings=tuple(finding for finding, _ in zip(findings, range(SHOWN), strict=False)),
    )


def _entries(tx: Session) -> Iterator[Finding]:
    """Each entry has its postings, and they sum to zero; no posting is without an entry."""
    count, total = func.count(EntryPosting.entry), func.coalesce(func.sum(EntryPosting.amount), 0)
    wrong = (
        select(Entry.id, Entry.posting_count, count.label("found"), total.label("total"))
        .outerjoin(EntryPosting, EntryPosting.entry == Entry.id)
        .group_by(Entry.id, Entry.posting_count)
        .having((count != Entry.posting_count) | (count < 2) | (total != 0))
    )
    for row in tx.execute(wrong):
        detail = f"{row.found} postings of {row.posting_count}, sum {Money(int(row.total))}"
        yield Finding(check="entry", subject=row.id, detail=detail)
    orphans = select(EntryPosting.entry).outerjoin(Entry, Entry.id == EntryPosting.entry).where(Entry.id.is_(None))
    for entry in tx.scalars(orphans.distinct()):
        yield Finding(check="entry", subject=entry, detail="postings without an entry")


def _balances(tx: Session) -> Iterator[Finding]:
    """Each balance is the sum of its account's postings; all sum to zero; no organization has both prepaid and receivable."""
    debit = func.sum(case((EntryPosting.amount > 0, EntryPosting.amount), else_=0))
    credit = func.sum(case((EntryPosting.amount < 0, -EntryPosting.amount), else_=0))
    posted = tx.execute(select(EntryPosting.account, debit, credit).group_by(EntryPosting.account))
    proved = {account: _Sums(int(debits), int(credits)) for account, debits, credits in posted}
    kept = {row.account: _Sums(row.debit, row.credit) for row in tx.execute(select(*Balance.__table__.c))}
    nothing = _Sums(0, 0)
    for account in sorted({*proved, *kept}):
        if proved.get(account, nothing) != kept.get(account, nothing):
            detail = f"kept {_words(kept, account)}, postings give {_words(proved, account)}"
            yield Finding(check="balance", subject=account, detail=detail)
    if total := sum(sums.debit - sums.credit for sums in kept.values()):
        yield Finding(check="trial balance", subject="sum", detail=f"{Money(total)} instead of 0.00")
    for account, sums in sorted(kept.items()):
        kind, _, organization = account.partition(":")
        owed = kept.get(f"receivable:{organization}", nothing)
        if kind == "prepaid" and sums.credit > sums.debit and owed.debit > owed.credit:
            yield Finding(check="balance", subject=organization, detail="both prepaid and receivable are above zero")


def _words(sums: Mapping[str, _Sums], account: str) -> str:
    debit, credit = sums.get(account, _Sums(0, 0))
    return f"debit {Money(debit)} credit {Money(credit)}"


def _chain(tx: Session) -> Iterator[Finding]:
    """Seals follow each other without a gap, each over its entry as it is; every entry has one or waits for it."""
    yield from chain(tx, 0)
    forgotten = (
        select(Entry.id)
        .outerjoin(Seal, Seal.entry == Entry.id)
        .outerjoin(Unsealed, Unsealed.entry == Entry.id)
        .where(Seal.entry.is_(None), Unsealed.entry.is_(None))
    )
    for identifier in tx.scalars(forgotten):
        yield Finding(check="seal", subject=identifier, detail="neither sealed nor waiting for a seal")


def chain(tx: Session, sequence: int) -> Iterator[Finding]:
    """What is wrong with the seals behind `sequence`; with 0, all of them."""
    sealed = tx.execute(select(Seal.hash).where(Seal.sequence == sequence)).scalar_one_or_none()
    previous = sealing.FIRST if sealed is None else sealed
    while seals := tx.execute(
        select(*Seal.__table__.c).where(Seal.sequence > sequence).order_by(Seal.sequence).limit(sealing.BATCH)
    ).all():
        entries = sealing.read_entries(tx, [seal.entry for seal in seals])
        for seal in seals:
            if seal.sequence != sequence + 1:
                yield Finding(check="seal", subject=str(sequence + 1), detail="there is no such seal")
            entry = entries.get(seal.entry)
            if entry is None:
                yield Finding(check="seal", subject=seal.entry, detail="the sealed entry is gone")
            elif sealing.link(previous, entry) != seal.hash:
                yield Finding(check="seal", subject=seal.entry, detail=f"seal {seal.sequence} is not of this entry")
            sequence, previous = seal.sequence, seal.hash


def _charges(tx: Session) -> Iterator[Finding]:
    """What each organization was charged in favour of each seller is the sum of the lines that it bears."""
    billed = (
        select(LineRow.organization, LineRow.provider, LineRow.reseller, func.sum(LineRow.amount).label("total"))
        .where(LineRow.bearer == BearerKind.ORGANIZATION)
        .group_by(LineRow.organization, LineRow.provider, LineRow.reseller)
    )
    lines: Counter[tuple[str | None, str]] = Counter()
    for row in tx.execute(billed):
        lines[row.organization, payable(seller_of(row))] += int(row.total)
    credited = (
        select(Entry.organization, EntryPosting.account, func.sum(-EntryPosting.amount))
        .join(Entry, Entry.id == EntryPosting.entry)
        .where(EntryPosting.account.like("payable:%"), Entry.kind.not_in((EntryKind.FEE, EntryKind.CREDIT_NOTE)))
        .group_by(Entry.organization, EntryPosting.account)
    )
    posted = {(organization, account): int(total) for organization, account, total in tx.execute(credited)}
    for key in sorted({*lines, *posted}, key=str):
        if lines[key] != posted.get(key, 0):
            detail = f"lines give {Money(lines[key])}, postings {Money(posted.get(key, 0))}"
            yield Finding(check="charge", subject=" ".join(map(str, key)), detail=detail)
