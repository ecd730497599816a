"""Whatever is used, corrected, given back, clawed back, filed and paid in which order: no limit is passed, and nothing is lost or stuck."""

from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from caravan.contracts.credit_notes import CreditNoteDraft
from caravan.contracts.programmes import Programme, Settles
from caravan.contracts.reimbursements import RepaymentDraft
from caravan.contracts.vouchers import ClawbackDraft, VoucherState
from caravan.kernel.database import Database
from caravan.kernel.money import Money
from services.accounting.charging.models import LineRow
from services.accounting.credit_notes import service as credit_notes
from services.accounting.credit_notes.left import Billed
from services.accounting.credit_notes.models import CreditNoteRow
from services.accounting.funds import holds
from services.accounting.periods import closing
from services.accounting.programmes.models import PoolRow
from services.accounting.redemptions import clawing
from services.accounting.redemptions import verify as redemptions
from services.accounting.redemptions.models import EarlierRow, LineShareRow, SettlementRow
from services.accounting.reimbursements import dues, filing
from services.accounting.reimbursements import verify as reimbursements
from services.accounting.reimbursements.models import DueRow, DueShareRow
from services.accounting.statements.models import StatementRow
from services.accounting.vouchers import ending
from services.accounting.vouchers.models import VoucherRow
from tests.accounting.books import AT, ORG, period_at
from tests.accounting.examples import examples
from tests.accounting.programmes_cases import programme
from tests.accounting.test_histories import Undone
from tests.accounting.test_reimbursement_rhythms import END, MONTHS, billed, claim, known, voucher

Step = tuple[str, int, int]

parts = st.integers(1, 4)
usage = st.tuples(st.just("use"), st.integers(-9000, 40_000).filter(bool), st.integers(0, MONTHS - 1))
"""Core-seconds, and which month they are of, if that was closed before."""
notes = st.tuples(st.just("note"), st.integers(0, 2), parts)
claws = st.tuples(st.just("claw"), st.integers(0, 1), parts)
claims = st.tuples(st.sampled_from(["paid", "refused", "withdrawn", "repaid"]), st.just(0), st.just(0))
ended = st.tuples(st.sampled_from(["expire", "revoke"]), st.integers(0, 1), st.just(0))
months = st.lists(
    st.lists(st.one_of(usage, notes, notes, claws, claims, ended), min_size=1, max_size=4),
    min_size=MONTHS,
    max_size=MONTHS,
)
"""The steps of each, before it is closed. Notes and clawbacks name which, and how many quarters of what is left."""
fen: Final = st.integers(1, 1500)
rules = st.fixed_dictionaries(
    {
        "mode": st.sampled_from(["deducted", "reimbursed"]),
        "settles": st.sampled_from(Settles),
        "floor": st.integers(50, 250).map(lambda least: str(Money(least))),
        "rates": st.integers(5000, 10_000).map(lambda rate: [{"rate": rate}]),
        "caps": st.fixed_dictionaries(
            {}, optional={name: fen.map(lambda most: str(Money(most))) for name in ("claim", "redeemed_in_year")}
        ),
    }
)


@settings(examples(10, 1000), suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(months=months, terms=rules, most=st.tuples(fen, fen))
async def test_limits_hold_and_closes_settle_whatever_is_given_back_when(
    db: Database, months: list[list[Step]], terms: dict[str, Any], most: tuple[int, int]
) -> None:
    """Two vouchers for `most` fen each, and two empty months at the end: the second of them finds nothing to settle."""

    def unit(tx: Session) -> None:
        holds.ensure_fund(tx, ORG)
        published = known(tx, programme(**terms))
        vouchers = [voucher(tx, number, ORG, published, fen) for number, fen in enumerate(most)]
        closed: list[str] = []
        number = 1
        billed(tx, number, ORG, period_at(tx, AT), 40_000, "")
        for month, steps in enumerate(months):
            period = period_at(tx, AT + timedelta(days=31 * month))
            for kind, what, more in steps:
                if kind == "use":
                    number += 1
                    billed(tx, number, ORG, period, what, closed[more] if more < len(closed) else "")
                elif kind == "note":
                    note(tx, what, more)
                elif kind == "claw":
                    claw(tx, vouchers[what], more)
                elif kind in ("expire", "revoke"):
                    end(tx, vouchers[what], kind)
                elif kind == "repaid":
                    repay(tx, published)
                elif closed and terms["mode"] == "reimbursed":
                    claim(tx, ORG, published, kind)
                sound(tx, published, vouchers)
            close(tx, period)
            closed.append(period)
            sound(tx, published, vouchers)
            placed(tx, vouchers)
        for month in range(MONTHS, MONTHS + 2):
            before = {one: settled(tx, one) for one in vouchers}
            close(tx, period_at(tx, AT + timedelta(days=31 * month)))
            sound(tx, published, vouchers)
        assert {one: settled(tx, one) for one in vouchers} == before
        raise Undone

    with pytest.raises(Undone):
        await db.write(unit)


def close(tx: Session, period: str) -> None:
    closing._start(tx, period, END, timedelta())
    assert closing.finish(tx, period, END)


def note(tx: Session, which: int, quarters: int) -> None:
    """On one of the lines that stand on a statement, if anything is left of it."""
    rows: Sequence[Any] = tx.execute(
        select(*LineRow.__table__.c, StatementRow.id.label("statement"))
        .join(StatementRow, StatementRow.period == LineRow.period)
        .where(StatementRow.party_id == ORG)
        .order_by(LineRow.id)
    ).all()
    if not rows:
        return
    line = rows[which % len(rows)]
    statement: Any = tx.execute(select(*StatementRow.__table__.c).where(StatementRow.id == line.statement)).one()
    noted = tx.execute(select(func.sum(CreditNoteRow.amount)).where(CreditNoteRow.line == line.id)).scalar_one()
    left = credit_notes.left_of(tx, statement, line, Billed(line.amount, int(noted or 0)))
    if left:
        amount = Money(max(1, left * quarters // 4))
        draft = CreditNoteDraft(statement=statement.id, line=line.id, amount=amount, reason="机房断电")
        credit_notes.issue(tx, draft, "finance", END)


def claw(tx: Session, voucher: str, quarters: int) -> None:
    """Of what closes have paid by it and nobody has taken back, if there is any."""
    back = tx.execute(select(VoucherRow.clawed_back).where(VoucherRow.id == voucher)).scalar_one()
    left = settled(tx, voucher) - back
    if left > 0:
        draft = ClawbackDraft(amount=Money(max(1, left * quarters // 4)), reason="材料不实")
        clawing.claw_back(tx, voucher, draft, "office", END)


def repay(tx: Session, of: Programme) -> None:
    """What is owed, if anything is."""
    owed = -dues.unfiled(tx, ORG, of, of.id, END).all.amount
    if owed > 0:
        draft = RepaymentDraft(
            organization=ORG, programme=of.id, amount=Money(owed), reference="XAFB-9", paid_on=END.date()
        )
        filing.repay(tx, draft, "finance", END)
        assert not dues.unfiled(tx, ORG, of, of.id, END).all.amount


def end(tx: Session, voucher: str, how: str) -> None:
    values: dict[str, Any] = {"state": VoucherState.EXPIRED.value}
    if how == "revoke":
        values = {
            "state": VoucherState.REVOKED.value,
            "revoked_at": END,
            "revoked_by": "office",
            "revoke_reason": "迁出",
        }
    tx.execute(update(VoucherRow).where(VoucherRow.id == voucher, VoucherRow.state == "issued").values(values))
    ending.release(tx, voucher)


def settled(tx: Session, voucher: str) -> int:
    """What it has paid, or made due, by closes, less credit notes."""
    sums = (select(func.sum(of.on_lines + of.earlier)).where(of.voucher == voucher) for of in (SettlementRow, DueRow))
    return sum(int(tx.execute(one).scalar_one() or 0) for one in sums)


def stands(tx: Session, voucher: str) -> Counter[str]:
    """What of it stands on each line, whichever close paid that; at '' what stands on none yet."""
    found: Counter[str] = Counter()
    for of, fen in ((LineShareRow, LineShareRow.paid), (DueShareRow, DueShareRow.paid), (EarlierRow, EarlierRow.fen)):
        for line, some in tx.execute(select(of.line, fen).where(of.voucher == voucher)):
            found[line] += some
    return found


def left(tx: Session, voucher: str) -> Counter[str]:
    """Its share of each line, less what credit notes gave back of it."""
    found: Counter[str] = Counter()
    for of, settlements in ((LineShareRow, SettlementRow), (DueShareRow, DueRow)):
        noted = select(CreditNoteRow.line, settlements.claimed).join(
            settlements, settlements.period == CreditNoteRow.id
        )
        for query in (
            select(of.line, of.share).where(of.voucher == voucher),
            noted.where(settlements.voucher == voucher),
        ):
            for line, fen in tx.execute(query):
                found[line] += fen
    return found


def placed(tx: Session, vouchers: list[str]) -> None:
    """As a close leaves it: all stands on lines, and on none more than its share."""
    for one in vouchers:
        on_lines, shares = stands(tx, one), left(tx, one)
        assert not on_lines.pop("", 0)
        for line, fen in on_lines.items():
            assert min(0, shares[line]) <= fen <= max(0, shares[line])


def sound(tx: Session, published: Programme, vouchers: list[str]) -> None:
    assert [*redemptions.verify(tx), *reimbursements.verify(tx)] == []
    rows = tx.execute(select(*VoucherRow.__table__.c)).all()
    committed = tx.execute(select(PoolRow.committed)).scalar_one()
    assert committed == sum(row.amount - row.released for row in rows)
    for row in rows:
        assert 0 <= settled(tx, row.id) <= row.amount
        assert sum(stands(tx, row.id).values()) == settled(tx, row.id), "all that is paid is kept by line"
    cap = published.caps.redeemed_in_year
    for of in (SettlementRow, DueRow):
        for _, fen in tx.execute(select(of.year, func.sum(of.on_lines + of.earlier)).group_by(of.year)):
            assert fen >= 0 and (cap is None or fen <= cap.fen)
