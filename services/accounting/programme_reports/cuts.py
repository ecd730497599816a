"""By how much each rule of a programme has cut the claims that closes have settled. Computed as it is read; reads alone."""

from collections.abc import Iterator, Mapping
from itertools import groupby
from operator import attrgetter
from typing import Any

from sqlalchemy import Row, func, select, union_all
from sqlalchemy.orm import Session

from caravan.contracts.programme_reports import CutRule, ProgrammeCuts, RuleCut
from caravan.contracts.programmes import ProgrammeTerms
from caravan.kernel.money import Money
from caravan.kernel.tokens import Caller
from services.accounting.programmes.claims import Claim
from services.accounting.programmes.cuts import Limits, cut, total
from services.accounting.programmes.service import find, seen_by
from services.accounting.redemptions.models import SettlementRow
from services.accounting.reimbursements.models import DueRow
from services.accounting.vouchers.models import VoucherRow


def cuts(tx: Session, id: str, year: int | None, caller: Caller) -> ProgrammeCuts:
    """Of the claims in a calendar year; None: of all. Raises NotFound."""
    claims = {
        claim: found
        for claim, found in _claims(tx, id, find(tx, id, seen_by(caller)))
        if year is None or claim.year == year
    }
    all_cut = total(limits for limits, _ in claims.values())
    claimed, paid = sum(max(0, claim.full) for claim in claims), sum(fen for _, fen in claims.values())
    return ProgrammeCuts(
        programme=id,
        year=year,
        claims=len(claims),
        claimed=Money(claimed),
        items=tuple(
            RuleCut(
                rule=CutRule(name),
                claims=sum(getattr(limits, name) > 0 for limits, _ in claims.values()),
                amount=Money(getattr(all_cut, name)),
            )
            for name in Limits._fields
        ),
        paid=Money(paid),
        waits=Money(claimed - sum(all_cut) - paid),
    )


def _claims(tx: Session, id: str, terms: ProgrammeTerms) -> Iterator[tuple[Claim, tuple[Limits, int]]]:
    """Each, with what cuts it, and what of it was paid."""
    vouchers = _vouchers(tx, id)
    for organization, rows in groupby(_settled(tx, id), key=attrgetter("organization")):
        paid = {Claim(row.voucher, row.starts_at, row.year, int(row.claimed)): int(row.paid) for row in rows}
        for claim, limits in cut(terms, vouchers[organization], [*paid]).items():
            yield claim, (limits, paid[claim])


def _vouchers(tx: Session, id: str) -> Mapping[str, Mapping[str, int]]:
    """By organization, what the claims of each of its vouchers may come to in all, in fen. What jobs have pledged of that only waits."""
    most = (VoucherRow.amount - VoucherRow.released + VoucherRow.clawed_back).label("most")
    query = select(VoucherRow.organization, VoucherRow.id, most).where(VoucherRow.programme == id)
    rows = tx.execute(query.order_by(VoucherRow.organization))
    return {
        organization: {row.id: row.most for row in own}
        for organization, own in groupby(rows, attrgetter("organization"))
    }


def _settled(tx: Session, id: str) -> Iterator[Row[Any]]:
    """What was claimed and paid in each span of each voucher, by organization."""
    each = (
        select(
            VoucherRow.organization,
            of.voucher,
            of.starts_at,
            of.year,
            of.claimed,
            (of.on_lines + of.earlier).label("paid"),
        )
        .join(of, of.voucher == VoucherRow.id)
        .where(VoucherRow.programme == id)
        for of in (SettlementRow, DueRow)
    )
    both = union_all(*each).subquery()
    by = both.c.organization, both.c.voucher, both.c.starts_at, both.c.year
    sums = func.sum(both.c.claimed).label("claimed"), func.sum(both.c.paid).label("paid")
    return iter(tx.execute(select(*by, *sums).group_by(*by).order_by(*by)))
