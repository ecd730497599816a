"""What vouchers have paid as periods closed, as statements have it."""

from collections import defaultdict
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from services.accounting.programmes.models import ProgrammeRow
from services.accounting.redemptions.models import SettlementRow


def of_period(tx: Session, period: str) -> dict[str, list[dict[str, Any]]]:
    """By organization, of each voucher: what a period's close has paid on its lines, and for earlier ones, in fen."""
    sums = func.sum(SettlementRow.on_lines), func.sum(SettlementRow.earlier)
    query = (
        select(SettlementRow.organization, SettlementRow.voucher, SettlementRow.programme, ProgrammeRow.terms, *sums)
        .join(ProgrammeRow, ProgrammeRow.id == SettlementRow.programme)
        .where(SettlementRow.period == period)
        .group_by(SettlementRow.organization, SettlementRow.voucher, SettlementRow.programme, ProgrammeRow.terms)
        .order_by(SettlementRow.voucher)
    )
    found: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
    for organization, voucher, programme, terms, on_lines, earlier in tx.execute(query):
        names = {"voucher": voucher, "programme": programme, "programme_name": terms["name"]}
        found[organization].append(names | {"on_lines": int(on_lines), "earlier": int(earlier)})
    return found


def paid(tx: Session, organization: str) -> int:
    """What vouchers have paid of the organization's statements in all, in fen."""
    sums = select(func.sum(SettlementRow.on_lines + SettlementRow.earlier))
    return int(tx.execute(sums.where(SettlementRow.organization == organization)).scalar_one() or 0)
