"""What vouchers have paid as periods closed, as statements have it."""

from collections import defaultdict
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from services.accounting.periods.models import PeriodRow
from services.accounting.programmes.models import ProgrammeRow
from services.accounting.redemptions.models import ClawbackRow, SettlementRow
from services.accounting.vouchers.models import VoucherRow


def of_period(tx: Session, period: str) -> dict[str, list[dict[str, Any]]]:
    """By organization, of each voucher: what a period's close has paid on its lines, and for earlier ones, in fen; what was clawed back in
    the period is less of the latter."""
    sums = func.sum(SettlementRow.on_lines), func.sum(SettlementRow.earlier)
    query = (
        select(SettlementRow.organization, SettlementRow.voucher, SettlementRow.programme, ProgrammeRow.terms, *sums)
        .join(ProgrammeRow, ProgrammeRow.id == SettlementRow.programme)
        .where(SettlementRow.period == period)
        .group_by(SettlementRow.organization, SettlementRow.voucher, SettlementRow.programme, ProgrammeRow.terms)
        .order_by(SettlementRow.voucher)
    )
    found: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
    back = clawed_back(tx, period)
    for organization, voucher, programme, terms, on_lines, earlier in tx.execute(query):
        less = back.pop((organization, voucher), 0)
        found[organization].append(_shown(voucher, programme, terms, int(on_lines), int(earlier) - less))
    for (organization, voucher), less in sorted(back.items()):
        of = select(VoucherRow.programme, ProgrammeRow.terms).join(
            ProgrammeRow, ProgrammeRow.id == VoucherRow.programme
        )
        programme, terms = tx.execute(of.where(VoucherRow.id == voucher)).one()
        found[organization].append(_shown(voucher, programme, terms, 0, -less))
    return found


def clawed_back(tx: Session, period: str) -> dict[tuple[str, str], int]:
    """By organization and voucher: what was taken back in a period, in fen."""
    query = select(ClawbackRow.organization, ClawbackRow.voucher, func.sum(ClawbackRow.amount))
    rows = tx.execute(query.where(ClawbackRow.period == period).group_by(ClawbackRow.organization, ClawbackRow.voucher))
    return {(organization, voucher): int(fen) for organization, voucher, fen in rows}


def _shown(voucher: str, programme: str, terms: Any, on_lines: int, earlier: int) -> dict[str, Any]:
    names = {"voucher": voucher, "programme": programme, "programme_name": terms["name"]}
    return names | {"on_lines": on_lines, "earlier": earlier}


def paid(tx: Session, organization: str) -> int:
    """What vouchers have paid of the organization's statements in all, less what was clawed back, in fen."""
    sums = select(func.sum(SettlementRow.on_lines + SettlementRow.earlier))
    on_statements = ClawbackRow.period.in_(select(PeriodRow.id))
    back = select(func.sum(ClawbackRow.amount)).where(ClawbackRow.organization == organization, on_statements)
    settled = tx.execute(sums.where(SettlementRow.organization == organization)).scalar_one() or 0
    return int(settled) - int(tx.execute(back).scalar_one() or 0)
