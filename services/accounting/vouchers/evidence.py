"""Files that bear applications out: replaced while nobody reviews them, and then kept as they are."""

from datetime import datetime
from typing import Final

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from caravan.contracts.problems import WrongState
from caravan.contracts.vouchers import ApplicationState, Evidence
from caravan.kernel import audit
from caravan.kernel.database import table_of
from caravan.kernel.problems import NotFound
from caravan.kernel.tokens import Caller
from services.accounting.vouchers.files import Files
from services.accounting.vouchers.models import ApplicationRow, EvidenceRow

APPLICATIONS = table_of(ApplicationRow)
EVIDENCE: Final = Files(table_of(EvidenceRow), "application")


def store(tx: Session, application: str, name: str, content: bytes, caller: Caller, at: datetime) -> Evidence:
    """Keep a file, in place of one of that name. Raises NotFound unless the caller may apply for the organization; WrongState, Invalid."""
    row = tx.execute(select(APPLICATIONS).where(APPLICATIONS.c.id == application)).one_or_none()
    if row is None or not caller.is_org_admin(row.organization):
        raise NotFound
    if row.state != ApplicationState.APPLIED:
        raise WrongState(state=row.state, allowed=(ApplicationState.APPLIED.value,))
    stored = EVIDENCE.keep(tx, application, name, content, caller.subject, at)
    moved = {"version": row.version + 1}
    tx.execute(update(APPLICATIONS).where(APPLICATIONS.c.id == application).values(moved))
    audit.record(tx, caller.subject, "store_voucher_evidence", application, stored)
    return stored
