"""Holding the totals of funds against what they sum up."""

from collections import Counter
from collections.abc import Collection, Iterator
from types import SimpleNamespace
from typing import Any, Final

from sqlalchemy import ColumnElement, func, select, true
from sqlalchemy.orm import Session

from caravan.contracts.funds import HoldStatus
from caravan.contracts.statements import LineKind
from services.accounting.charging.models import LineRow
from services.accounting.credit_notes.models import CreditNoteRow
from services.accounting.funds.budgets import CHARGED, sums
from services.accounting.funds.models import BudgetRow, DepositRow, Fund, HoldRow
from services.accounting.ledger import service as ledger
from services.accounting.redemptions import verify as redemptions

Fault = tuple[str, str]
"""An organization, a budget or a job, and what is wrong with it in words."""

_NOTHING: Final[Any] = SimpleNamespace(deposited=0, charged=0, held=0, granted=0, redeemed=0)
"""The totals of an organization that has none."""


def verify(tx: Session) -> list[Fault]:
    """What is wrong; empty when all totals are the sums they stand for. Costs as much as there are holds and lines."""
    return [*_funds(tx), *_budgets(tx), *_holds(tx)]


def _funds(tx: Session) -> Iterator[Fault]:
    deposited = _by(tx, DepositRow.organization, func.sum(DepositRow.amount))
    discounts = select(LineRow.organization, func.sum(LineRow.amount)).where(LineRow.kind == LineKind.VOLUME_DISCOUNT)
    charged = Counter(_by(tx, HoldRow.organization, func.sum(CHARGED)))
    given_back = select(CreditNoteRow.organization, -func.sum(CreditNoteRow.amount)).group_by(
        CreditNoteRow.organization
    )
    for query in (discounts.group_by(LineRow.organization), given_back):
        for organization, amount in tx.execute(query):
            charged[organization] += int(amount)
    left = func.sum(HoldRow.amount - HoldRow.captured).filter(HoldRow.status == HoldStatus.OPEN.value)
    held = _by(tx, HoldRow.organization, left)
    granted = redemptions.granted(tx)
    funds = {fund.organization: fund for fund in tx.execute(select(Fund.__table__))}
    for who in sorted({*funds, *deposited, *charged}):
        fund = funds.get(who, _NOTHING)
        for name, total, right in (
            ("deposited", fund.deposited, deposited.get(who, 0)),
            ("charged", fund.charged, charged.get(who, 0)),
            ("held", fund.held, held.get(who, 0)),
            ("granted", fund.granted, granted.get(who, (0, 0))[0]),
            ("redeemed", fund.redeemed, granted.get(who, (0, 0))[1]),
            ("deposited and redeemed less charged, by the ledger", net_of(fund), ledger.net(tx, who)),
        ):
            if total != right:
                yield who, f"{name} is {total} fen, and should be {right}"


def net_of(fund: Any) -> int:
    """What an organization has with the platform by its totals, in fen."""
    return int(fund.deposited + fund.redeemed - fund.charged)


def _budgets(tx: Session) -> Iterator[Fault]:
    for budget in tx.execute(select(BudgetRow.id, BudgetRow.charged, BudgetRow.held)).all():
        right = sums(tx, budget.id)
        if (budget.charged, budget.held) != right:
            yield budget.id, f"charged and held are {(budget.charged, budget.held)} fen, and should be {right}"


def _holds(tx: Session) -> Iterator[Fault]:
    yield from _captures(tx, true(), true())


def of_jobs(tx: Session, jobs: Collection[str]) -> Iterator[Fault]:
    """Of some jobs alone: what their holds captured, against their lines."""
    yield from _captures(tx, HoldRow.job.in_(jobs), LineRow.job.in_(jobs))


def _captures(tx: Session, holds: ColumnElement[bool], lines: ColumnElement[bool]) -> Iterator[Fault]:
    billed = (
        select(LineRow.job, LineRow.organization, func.sum(LineRow.amount).label("amount"))
        .where(LineRow.bearer == "organization", lines)
        .group_by(LineRow.job, LineRow.organization)
        .subquery()
    )
    wrong = (
        select(HoldRow.job, CHARGED.label("charged"), func.coalesce(billed.c.amount, 0).label("billed"))
        .outerjoin(billed, (billed.c.job == HoldRow.job) & (billed.c.organization == HoldRow.organization))
        .where(holds, func.coalesce(billed.c.amount, 0) != CHARGED)
    )
    for row in tx.execute(wrong):
        yield row.job, f"captured and corrected {row.charged} fen, and its lines come to {row.billed}"


def _by(tx: Session, column: object, value: object) -> dict[str, int]:
    rows = tx.execute(select(column, value).group_by(column)).all()  # type: ignore[call-overload]
    return {row[0]: int(row[1] or 0) for row in rows}
