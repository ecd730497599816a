"""What vouchers pay of each job, for those who have them. Reads alone."""

from collections.abc import Iterator

from sqlalchemy import ColumnElement, func, or_, select, union_all
from sqlalchemy.orm import Session

from caravan.contracts.programmes import Mode
from caravan.contracts.redemptions import JobRedemption, VoucherRedemption
from caravan.kernel.money import Money
from caravan.kernel.problems import NotFound
from caravan.kernel.runtime import Runtime
from caravan.kernel.tokens import Caller
from services.accounting.charging.models import LineRow
from services.accounting.funds import holds
from services.accounting.programmes.models import ProgrammeRow
from services.accounting.redemptions.models import EarlierRow, LineShareRow, RedemptionRow
from services.accounting.reimbursements.models import DueShareRow
from services.accounting.vouchers.models import VoucherRow
from services.accounting.vouchers.reading import seen_by, sees


class RedemptionService:
    """What the organization, the office and finance read."""

    def __init__(self, runtime: Runtime) -> None:
        self._db = runtime.db

    async def of_job(self, job: str, caller: Caller) -> JobRedemption:
        """Raises NotFound, also where only others' vouchers pay."""
        return await self._db.read(of_job, job, caller)


def of_job(tx: Session, job: str, caller: Caller) -> JobRedemption:
    """By the vouchers that the caller sees, the one that was issued first before the others; none, where none counts for it. Raises
    NotFound where the job isn't the caller's either."""
    found = tuple(_of_job(tx, job, seen_by(caller)))
    if not found and not any(sees(caller, hold.organization) for hold in holds.of_job(tx, job)):
        raise NotFound
    return JobRedemption(job=job, saved=Money(sum(one.saved.fen for one in found)), vouchers=found)


def _of_job(tx: Session, job: str, which: ColumnElement[bool]) -> Iterator[VoucherRedemption]:
    of_lines = (
        select(of.voucher, fen.label("fen")).join(LineRow, LineRow.id == of.line).where(LineRow.job == job)
        for of, fen in (
            (LineShareRow, LineShareRow.paid),
            (DueShareRow, DueShareRow.paid),
            (EarlierRow, EarlierRow.fen),
        )
    )
    all_ = union_all(*of_lines).subquery()
    closed = select(all_.c.voucher, func.sum(all_.c.fen).label("fen")).group_by(all_.c.voucher).subquery()
    open_ = select(*RedemptionRow.__table__.c).where(RedemptionRow.job == job).subquery()
    query = (
        select(VoucherRow.id, VoucherRow.programme, VoucherRow.organization, ProgrammeRow.terms)
        .add_columns(open_.c.pledged, open_.c.redeemed, closed.c.fen)
        .join(ProgrammeRow, ProgrammeRow.id == VoucherRow.programme)
        .outerjoin(open_, open_.c.voucher == VoucherRow.id)
        .outerjoin(closed, closed.c.voucher == VoucherRow.id)
        .where(which, or_(open_.c.job.is_not(None), closed.c.voucher.is_not(None)))
        .order_by(VoucherRow.id)
    )
    for row in tx.execute(query):
        redeemed, closed_fen = Money(row.redeemed or 0), Money(int(row.fen or 0))
        reimburses = row.terms["mode"] == Mode.REIMBURSED
        yield VoucherRedemption(
            voucher=row.id,
            programme=row.programme,
            programme_name=row.terms["name"],
            organization=row.organization,
            pledged=Money(row.pledged or 0),
            redeemed=redeemed,
            paid=Money(0) if reimburses else closed_fen,
            due=closed_fen if reimburses else Money(0),
            saved=redeemed + closed_fen,
        )
