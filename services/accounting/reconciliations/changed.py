"""What has changed since a reconciliation, and what doesn't hold of it. Costs as much as has changed."""

from collections.abc import Collection, Iterator
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from caravan.contracts.reconciliations import Finding
from caravan.contracts.statements import EntryKind
from caravan.kernel import clock
from services.accounting.charging import recomputing
from services.accounting.charging import verify as amounts
from services.accounting.funds import verify as funds
from services.accounting.funds.models import Fund
from services.accounting.ledger import service as ledger
from services.accounting.ledger.models import Entry, Seal
from services.accounting.usage.records import RECORDS

CHARGES: Final = (EntryKind.CHARGE, EntryKind.REVERSAL)
LATE: Final = timedelta(days=1)
"""So old may usage be that comes: what comes later moves money, or is seen when all is looked at."""


def last_seal(tx: Session) -> int:
    """0: there is none."""
    return tx.execute(select(func.coalesce(func.max(Seal.sequence), 0))).scalar_one()


def jobs(tx: Session, seal: int, at: datetime) -> list[str]:
    """Those charged more or less behind that seal, or that used something since a day before `at`."""
    charged = (
        select(Entry.reference).join(Seal, Seal.entry == Entry.id).where(Seal.sequence > seal, Entry.kind.in_(CHARGES))
    )
    used = select(RECORDS.c.job).where(RECORDS.c.hour >= clock.to_seconds(clock.floor_hour(at - LATE)))
    return sorted({*tx.scalars(charged.distinct()), *tx.scalars(used.distinct())})


def of_jobs(tx: Session, some: Collection[str]) -> list[Finding]:
    """Their usage against their lines, these against their amounts, and these against what their holds captured."""
    proofs = (("usage", recomputing.wrong), ("line", amounts.of_jobs), ("funds", funds.of_jobs))
    return [
        Finding(check=check, subject=job, detail=words) for check, proof in proofs for job, words in proof(tx, some)
    ]


def of_funds(tx: Session, seal: int) -> Iterator[Finding]:
    """The totals of the organizations whose money moved behind that seal, against their accounts."""
    moved = select(Entry.organization).join(Seal, Seal.entry == Entry.id).where(Seal.sequence > seal)
    for fund in tx.execute(select(*Fund.__table__.c).where(Fund.organization.in_(moved))).all():
        net = ledger.net(tx, fund.organization)
        if (own := funds.net_of(fund)) != net:
            words = f"deposited and redeemed less charged is {own} fen, and by the ledger {net}"
            yield Finding(check="funds", subject=fund.organization, detail=words)
