"""Settling vouchers as a period closes: what its lines are claimed, and one entry for each voucher by how much that differs from what was
redeemed before. Within the transaction that closes the period, when its lines are all there.

What a job has redeemed before is taken from its redemption then: it stands in settlements from there on. Of vouchers whose programme
reimburses nothing is posted: what they pay is due then, and may be filed.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

from sqlalchemy import Row, func, insert, select, update
from sqlalchemy.orm import Session

from caravan.contracts.programmes import Mode, ProgrammeTerms
from caravan.contracts.statements import BearerKind, LineKind, PeriodState
from caravan.kernel import clock
from caravan.kernel.bulk import ChangeMany, InsertMany, SelectMany
from caravan.kernel.database import table_of
from services.accounting.funds import holds
from services.accounting.ledger import service as ledger
from services.accounting.periods import service as periods
from services.accounting.periods.models import PeriodRow
from services.accounting.programmes.models import ProgrammeRow
from services.accounting.redemptions import clawing, closed_lines, placing
from services.accounting.redemptions.claiming import (
    DiscountLine,
    Group,
    Past,
    Settled,
    Span,
    Voucher,
    settled,
)
from services.accounting.redemptions.closed_lines import LINES, group
from services.accounting.redemptions.holders import holder_of
from services.accounting.redemptions.models import LineShareRow, RedemptionRow, SettlementRow
from services.accounting.redemptions.service import Moved, keep_open, move
from services.accounting.reimbursements import dues
from services.accounting.usage.models import PriceListCopy
from services.accounting.vouchers.models import VoucherRow

SHARES, SETTLEMENTS = table_of(LineShareRow), table_of(SettlementRow)
_SHARE: Final = InsertMany(SHARES)
_SUBSIDY: Final = ChangeMany(
    {"line": LINES.c.id.type, "fen": LINES.c.subsidy.type},
    lambda given: update(LINES).where(LINES.c.id == given.line).values(subsidy=given.fen),
)
_BEFORE: Final = SelectMany(
    {"job": LINES.c.job.type},
    lambda given: (
        select(
            LINES,
            PriceListCopy.offering,
            SHARES.c.voucher,
            SHARES.c.rate,
            dues.DUE_SHARES.c.voucher.label("reimbursing"),
            dues.DUE_SHARES.c.rate.label("reimbursing_rate"),
        )
        .join(given, LINES.c.job == given.c.job)
        .join(PriceListCopy, PriceListCopy.id == LINES.c.price_list)
        .join(PeriodRow, PeriodRow.id == LINES.c.period)
        .outerjoin(SHARES, SHARES.c.line == LINES.c.id)
        .outerjoin(dues.DUE_SHARES, dues.DUE_SHARES.c.line == LINES.c.id)
        .where(
            LINES.c.kind == LineKind.USAGE.value, LINES.c.bearer == BearerKind.ORGANIZATION.value, LINES.c.amount != 0
        )
        .where(PeriodRow.state == PeriodState.CLOSED.value)
        .order_by(PeriodRow.closed_at, PeriodRow.ends_at)
    ),
)
"""Lines of jobs that were closed before, as they were closed, with each of their vouchers."""


def settle(tx: Session, period: Row[Any], at: datetime) -> None:
    """Bring the claims of all vouchers up to the lines of `period` (a row of `periods`), which is closing, and to what credit notes have
    given back and jobs have let go of since another was."""
    buyers = select(LINES.c.organization).where(LINES.c.period == period.id).distinct()
    unsettled = select(VoucherRow.organization).where(VoucherRow.unsettled)
    rows = tx.execute(
        select(VoucherRow.__table__, ProgrammeRow.terms)
        .join(ProgrammeRow, ProgrammeRow.id == VoucherRow.programme)
        .where(VoucherRow.organization.in_(buyers) | VoucherRow.organization.in_(unsettled))
        .order_by(VoucherRow.organization, VoucherRow.id)
    ).all()
    of_organization: defaultdict[str, list[Row[Any]]] = defaultdict(list)
    for row in rows:
        of_organization[row.organization].append(row)
    kept_short = set[str]()
    for organization, own in of_organization.items():
        kept_short |= _Closing(tx, period, organization, own).settle(at)
    tx.execute(update(VoucherRow).where(VoucherRow.unsettled).values(unsettled=False))
    if kept_short:
        tx.execute(update(VoucherRow).where(VoucherRow.id.in_(kept_short)).values(unsettled=True))
    clawing.carry_over(tx, period.id)


class _Closing:
    """Of one organization. `vouchers`: rows, with the terms of their programmes, of all that it has."""

    def __init__(self, tx: Session, period: Row[Any], organization: str, vouchers: Sequence[Row[Any]]) -> None:
        self._tx = tx
        self._period = period
        self._organization = organization
        self._rows = {row.id: row for row in vouchers}
        self._terms = {row.id: ProgrammeTerms.model_validate(row.terms) for row in vouchers}
        self._lines = closed_lines.read(tx, period.id, organization)

    def settle(self, at: datetime) -> set[str]:
        """Returns the vouchers of which jobs still have what their claims may need."""
        tx, zone = self._tx, periods.zone(self._tx)
        open_ = keep_open(tx, {line.job for line in self._lines if line.job}, self._period.id)
        pledged = self._pledged()
        vouchers = [self._voucher(row, pledged.get(row.id, 0)) for row in self._rows.values()]
        used = closed_lines.used(tx, self._period, self._lines)
        past = self._past(zone)
        discounts = self._discounts()
        moved = settled(vouchers, used, discounts, past, zone)
        ends = {line.id: line.ends_at for line in used}
        self._write(moved, ends | {off.id: clock.to_seconds(off.starts_at) for off in discounts})
        self._place(moved, past, zone)
        of_voucher: defaultdict[str, Moved] = defaultdict(lambda: Moved(0, 0))
        for voucher, taken in open_.items():
            of_voucher[voucher] = Moved(-taken.pledged, -taken.redeemed)
        for span, one in moved.items():
            if self._reimburses(span):
                continue
            before = of_voucher[span.voucher]
            of_voucher[span.voucher] = Moved(before.pledged + one.pays, before.redeemed + one.pays)
        for voucher, less in sorted(of_voucher.items()):
            undone = clawing.undo(tx, self._rows[voucher], self._period.id, at)
            more = Moved(less.pledged + undone, less.redeemed + undone)
            move(tx, self._rows[voucher], more)
            holds.add_grants(tx, self._organization, more)
            if more.redeemed:
                ledger.redemption(
                    tx,
                    organization=self._organization,
                    programme=self._rows[voucher].programme,
                    delta_fen=more.redeemed,
                    reference=voucher,
                    at=at,
                )
        for due in sorted({span.voucher for span in moved if self._reimburses(span)}):
            clawing.undo(tx, self._rows[due], dues.NO_PAPER, at)
            dues.restate(tx, due)
        pays = Counter[str]()
        for span, fen in (*past.paid.items(), *((span, one.pays) for span, one in moved.items())):
            pays[span.voucher] += fen
        return {one.id for one in vouchers if pledged.get(one.id) and pays[one.id] >= one.most}

    def _reimburses(self, span: Span) -> bool:
        return self._terms[span.voucher].mode is Mode.REIMBURSED

    def _pledged(self) -> Mapping[str, int]:
        """What of each voucher is with jobs' holds, in fen."""
        sums = select(RedemptionRow.voucher, func.sum(RedemptionRow.pledged)).where(
            RedemptionRow.voucher.in_(self._rows)
        )
        return {voucher: int(fen) for voucher, fen in self._tx.execute(sums.group_by(RedemptionRow.voucher))}

    def _voucher(self, row: Row[Any], pledged: int) -> Voucher:
        terms = self._terms[row.id]
        return Voucher(
            id=row.id,
            programme=row.programme,
            terms=terms,
            holder=holder_of(self._tx, row, terms),
            most=row.amount - row.released + row.clawed_back - pledged,
            issued_at=clock.to_seconds(row.issued_at),
            expires_at=clock.to_seconds(row.expires_at),
            revoked_at=row.revoked_at,
        )

    def _discounts(self) -> list[DiscountLine]:
        """With what all of each comes to, over the periods in which it stands."""
        found = []
        for line in closed_lines.discounts(self._lines):
            same = (
                (LINES.c.organization == line.organization)
                & (LINES.c.kind == LineKind.VOLUME_DISCOUNT.value)
                & (PriceListCopy.offering == line.offering)
                & (LINES.c.component == line.component)
                & (LINES.c.reseller == line.reseller)
            )
            of = line.corrects or line.period
            stands = (LINES.c.period == of) & (LINES.c.corrects == "") | (LINES.c.corrects == of)
            sums = select(func.sum(LINES.c.amount), func.sum(LINES.c.basis)).where(same, stands)
            of_offering = sums.join(PriceListCopy, PriceListCopy.id == LINES.c.price_list)
            amount, basis = self._tx.execute(of_offering).one()
            starts_at = line.starts_at or self._period.starts_at
            found.append(DiscountLine(line.id, group(line), starts_at, int(amount), int(basis)))
        return found

    def _past(self, zone: ZoneInfo) -> Past:
        claimed: Counter[Span] = Counter()
        paid: Counter[Span] = Counter()
        for of in SETTLEMENTS, dues.DUES:
            for row in self._tx.execute(select(of).where(of.c.voucher.in_(self._rows))):
                span = Span(row.voucher, row.starts_at, row.year)
                claimed[span] += row.claimed
                paid[span] += row.on_lines + row.earlier
        used: Counter[tuple[Group, str]] = Counter()
        discounted: Counter[tuple[Group, str]] = Counter()
        of_groups = {group(line).period for line in closed_lines.discounts(self._lines)}
        if of_groups:
            for shares in SHARES, dues.DUE_SHARES:
                rows = self._tx.execute(
                    select(LINES, shares.c.voucher, shares.c.share, PriceListCopy.offering)
                    .join(shares, shares.c.line == LINES.c.id)
                    .join(PriceListCopy, PriceListCopy.id == LINES.c.price_list)
                    .where(LINES.c.organization == self._organization)
                    .where(LINES.c.period.in_(of_groups) | LINES.c.corrects.in_(of_groups))
                )
                for row in rows:
                    to = used if row.kind == LineKind.USAGE else discounted
                    to[group(row), row.voucher] += row.share
        return Past(claimed, paid, used, discounted, self._judged())

    def _judged(self) -> Mapping[tuple[str, Group], Mapping[str, int]]:
        """Of the jobs and groups that the period's lines correct, at which rates vouchers pay, as the first close with lines of them
        judged. What was judged before rates were kept is not among them."""
        jobs = {line.job for line in self._lines if line.kind == LineKind.USAGE and line.corrects}
        found: defaultdict[tuple[str, Group], dict[str, int | None]] = defaultdict(dict)
        first: dict[tuple[str, Group], str] = {}
        for row in _BEFORE.all(self._tx, [{"job": job} for job in jobs]):
            judged = row.job, group(row)
            if row.organization != self._organization or first.setdefault(judged, row.period) != row.period:
                continue
            rates = found[judged]
            for voucher, rate in ((row.voucher, row.rate), (row.reimbursing, row.reimbursing_rate)):
                if voucher is not None:
                    rates[voucher] = rate
        kept = {judged: {one: rate for one, rate in of.items() if rate is not None} for judged, of in found.items()}
        return {judged: rates for judged, rates in kept.items() if len(rates) == len(found[judged])}

    def _place(self, moved: Mapping[Span, Settled], past: Past, zone: ZoneInfo) -> None:
        """Where lines of earlier periods may have more or less now."""
        rests = placing.rests(self._tx, self._rows)
        for span in {**past.claimed, **moved}:
            of = moved.get(span)
            noted = self._rows[span.voucher].unsettled
            if noted or (of is not None and of.earlier) or (span.voucher, span.start) in rests:
                placing.place(self._tx, self._period.id, span, self._terms[span.voucher], zone)

    def _write(self, moved: Mapping[Span, Settled], ends: Mapping[str, int]) -> None:
        subsidies: Counter[str] = Counter()
        rows: defaultdict[bool, list[dict[str, Any]]] = defaultdict(list)
        shares: defaultdict[bool, list[dict[str, Any]]] = defaultdict(list)
        for span, one in moved.items():
            reimburses = self._reimburses(span)
            rows[reimburses].append(
                {
                    "period": self._period.id,
                    "voucher": span.voucher,
                    "starts_at": span.start,
                    "year": span.year,
                    "organization": self._organization,
                    "programme": self._rows[span.voucher].programme,
                    "claimed": one.claimed,
                    "on_lines": one.pays - one.earlier,
                    "earlier": one.earlier,
                }
            )
            for line, (share, stands) in one.lines.items():
                rate = one.rates.get(line)
                of_line = {"line": line, "voucher": span.voucher, "share": share, "paid": stands, "rate": rate}
                of_line["ends_at"] = ends[line]
                if reimburses:
                    shares[True].append(of_line | {"starts_at": span.start})
                else:
                    shares[False].append(of_line)
                    subsidies[line] += stands
        if rows[False]:
            self._tx.execute(insert(SETTLEMENTS), rows[False])
        _SHARE.run(self._tx, shares[False])
        _SUBSIDY.run(self._tx, [{"line": line, "fen": fen} for line, fen in subsidies.items()])
        dues.keep(self._tx, rows[True], shares[True])
