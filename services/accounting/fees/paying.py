"""When fees become due that are agreed so: as what they were taken of is paid.

What is paid is a function of what an organization has paid in all and of its statements, oldest first; what is due of a fee is one of
what is paid. So only how far it has come is kept, and nothing depends on in which amounts or when money came.
"""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from functools import partial
from typing import Any, Final, NamedTuple

from sqlalchemy import func, insert, select, update
from sqlalchemy.orm import Session

from caravan.contracts.fees import StatementFee
from caravan.contracts.statements import StatementParty
from services.accounting.credit_notes.models import CreditNoteRow
from services.accounting.fees.arithmetic import Share, due_of, paid
from services.accounting.fees.models import FeeDueRow, FeeShareRow
from services.accounting.funds.models import Fund
from services.accounting.ledger import service as ledger
from services.accounting.redemptions import reading as redemptions
from services.accounting.statements.models import StatementRow
from services.accounting.tax.spreading import tax_of


class Covered(NamedTuple):
    """Of an organization's statement: `paid` of `gross`, above zero, in fen."""

    paid: int
    gross: int


NOTHING_OWED: Final = Covered(1, 1)


def coverage(tx: Session, organization: str) -> dict[str, Covered]:
    """Of its statements by their period. What a credit note gave back counts as paid, and so does what vouchers pay; a statement that owes
    nothing is."""
    notes = select(func.coalesce(func.sum(CreditNoteRow.amount), 0)).where(CreditNoteRow.organization == organization)
    deposited = select(Fund.deposited).where(Fund.organization == organization)
    money = (tx.execute(deposited).scalar_one_or_none() or 0) + int(tx.execute(notes).scalar_one())
    money += redemptions.paid(tx, organization)
    own = (StatementRow.party == StatementParty.ORGANIZATION.value) & (StatementRow.party_id == organization)
    statements = tx.execute(select(StatementRow.period, StatementRow.gross).where(own).order_by(StatementRow.id)).all()
    parts = paid([row.gross for row in statements], money)
    return {
        row.period: Covered(part, row.gross) if row.gross > 0 else NOTHING_OWED
        for row, part in zip(statements, parts, strict=True)
    }


def weights(sections: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """By organization: what a provider's statement, by its sections, bills it, where that is above zero."""
    found: dict[str, int] = {}
    for section in sections:
        found[section["counterparty"]] = found.get(section["counterparty"], 0) + section["gross"]
    return {organization: gross for organization, gross in sorted(found.items()) if gross > 0}


def shares(
    period: str, sections: Iterable[Mapping[str, Any]], covered: Callable[[str], Mapping[str, Covered]]
) -> dict[str, Share]:
    """Of a provider's statement for `period`, as they stand by `coverage` of each organization."""
    return {
        organization: Share(weight, *covered(organization)[period])
        for organization, weight in weights(sections).items()
    }


def begin(tx: Session, statement: Mapping[str, Any], fee: StatementFee) -> int:
    """Keep how far a fee has come that is due when paid, and return what of it is due now. `statement`: the provider's, as it's written."""
    found = shares(statement["period"], statement["sections"], partial(coverage, tx))
    due = due_of(fee.amount.fen, [*found.values()])
    tx.execute(
        insert(FeeDueRow).values(
            statement=statement["id"],
            provider=statement["party_id"],
            amount=fee.amount.fen,
            tax_rate=fee.tax_rate,
            due=due,
        )
    )
    common = {"statement": statement["id"], "period": statement["period"]}
    rows = [common | {"organization": organization} | share._asdict() for organization, share in found.items()]
    tx.execute(insert(FeeShareRow), rows)
    return due


def bring_up(tx: Session, organization: str, at: datetime) -> None:
    """Post what has become due, now that the organization has paid more. Costs as much as there are fees that wait for it to pay."""
    owes = FeeShareRow.paid < FeeShareRow.gross
    mine = select(FeeShareRow.statement).where(FeeShareRow.organization == organization, owes)
    waiting = select(*FeeDueRow.__table__.c).where(FeeDueRow.statement.in_(mine), FeeDueRow.due < FeeDueRow.amount)
    fees = tx.execute(waiting.order_by(FeeDueRow.statement)).all()
    covered = coverage(tx, organization) if fees else {}
    for fee in fees:
        of_fee = select(*FeeShareRow.__table__.c).where(FeeShareRow.statement == fee.statement)
        now = {row.organization: row for row in tx.execute(of_fee)}
        paid = covered[now[organization].period].paid
        own = (FeeShareRow.statement == fee.statement) & (FeeShareRow.organization == organization)
        tx.execute(update(FeeShareRow).where(own).values(paid=paid))
        due = due_of(
            fee.amount,
            [Share(row.weight, paid if who == organization else row.paid, row.gross) for who, row in now.items()],
        )
        more = split(due, fee.tax_rate), split(fee.due, fee.tax_rate)
        net, tax = (after - before for after, before in zip(*more, strict=True))
        if net + tax:
            ledger.fee_due(tx, provider=fee.provider, net_fen=net, tax_fen=tax, reference=fee.statement, at=at)
            tx.execute(update(FeeDueRow).where(FeeDueRow.statement == fee.statement).values(due=due))


def split(due: int, tax_rate: int) -> tuple[int, int]:
    """Net and tax in what is due of a fee, each of which grows only."""
    tax = tax_of(due, tax_rate)
    return due - tax, tax
