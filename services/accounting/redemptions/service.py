"""Pledging a voucher with a job's hold, and redeeming what the job was charged. Functions within a transaction.

What an organization is granted by vouchers is what is pledged of them, so it can spend that, and what was redeemed stays spent.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

from sqlalchemy import Row, bindparam, func, insert, select, update
from sqlalchemy.orm import Session

from caravan.contracts.funds import HoldRequest, HoldUse
from caravan.contracts.prices import Component
from caravan.contracts.programmes import WHOLE, Mode, ProgrammeTerms
from caravan.contracts.statements import BearerKind, PeriodState
from caravan.contracts.vouchers import VoucherState
from caravan.kernel.bulk import SelectMany
from caravan.kernel.database import table_of
from caravan.kernel.prepared import Fetched, Prepared
from services.accounting.charging.book import LINES, key_of
from services.accounting.charging.lines import Key
from services.accounting.ledger import service as ledger
from services.accounting.periods.models import PeriodRow
from services.accounting.programmes.claims import Holder, rate_of
from services.accounting.programmes.models import ProgrammeRow
from services.accounting.redemptions import supplies
from services.accounting.redemptions.holders import holder_of
from services.accounting.redemptions.models import LineShareRow, RedemptionRow
from services.accounting.redemptions.pledges import Supported, pledge, redeemed
from services.accounting.redemptions.supplies import Supply
from services.accounting.vouchers.models import VoucherRow

REDEMPTIONS, VOUCHERS, PROGRAMMES = table_of(RedemptionRow), table_of(VoucherRow), table_of(ProgrammeRow)
SHARES: Final = table_of(LineShareRow)

_WITH_TERMS: Final = select(VOUCHERS, PROGRAMMES.c.terms).join(PROGRAMMES, PROGRAMMES.c.id == VOUCHERS.c.programme)
_VALID: Final = Prepared(
    _WITH_TERMS.where(
        VOUCHERS.c.organization == bindparam("its_organization"),
        VOUCHERS.c.state == VoucherState.ISSUED.value,
        VOUCHERS.c.issued_at <= bindparam("submitted_at"),
        VOUCHERS.c.expires_at > bindparam("submitted_at"),
    ).order_by(VOUCHERS.c.id)
)
_VOUCHER: Final = Prepared(_WITH_TERMS.where(VOUCHERS.c.id == bindparam("its_id")))
_OF_JOB: Final = Prepared(select(REDEMPTIONS).where(REDEMPTIONS.c.job == bindparam("its_job")))
_OF_JOBS: Final = SelectMany(
    {"job": REDEMPTIONS.c.job.type}, lambda given: select(REDEMPTIONS).join(given, REDEMPTIONS.c.job == given.c.job)
)
_OPEN_LINES: Final = SelectMany(
    {"job": LINES.c.job.type, "closing": LINES.c.period.type},
    lambda given: (
        select(LINES)
        .join(given, LINES.c.job == given.c.job)
        .where(LINES.c.bearer == BearerKind.ORGANIZATION.value, LINES.c.period != given.c.closing)
        .where(LINES.c.period.not_in(select(PeriodRow.id).where(PeriodRow.state == PeriodState.CLOSED)))
    ),
)
"""What organizations bear of jobs in periods that stay open as one is closed."""
_ADD: Final = Prepared(
    update(VOUCHERS)
    .where(VOUCHERS.c.id == bindparam("its_id"))
    .values(
        pledged=VOUCHERS.c.pledged + bindparam("more_pledged"),
        redeemed=VOUCHERS.c.redeemed + bindparam("more_redeemed"),
    )
)
_INSERT: Final = Prepared(insert(REDEMPTIONS))
_CHANGE: Final = Prepared(
    update(REDEMPTIONS)
    .where(REDEMPTIONS.c.job == bindparam("its_job"))
    .values(pledged=bindparam("now_pledged"), redeemed=bindparam("now_redeemed"), settled=bindparam("now_settled"))
)


class Pledge(NamedTuple):
    """What a voucher is to pay of a hold: `pledged` in all, `more` than before, in fen."""

    voucher: str
    current: Fetched | None
    pledged: int

    @property
    def more(self) -> int:
        return self.pledged - (self.current.pledged if self.current is not None else 0)


class _Voucher(NamedTuple):
    """What it pays for, of whom."""

    programme: str
    terms: ProgrammeTerms
    holder: Holder

    def rate(self, supply: Supply | None, component: Component, reseller: str) -> int:
        """0 also for what isn't known here."""
        return rate_of(self.terms, self.holder, supply.used(component, reseller)) if supply is not None else 0


def offered(tx: Session, job: str, request: HoldRequest, *, new: bool) -> Pledge | None:
    """What vouchers would pay of the hold that is asked for; None: there are none for it. `new`: it's the job's first.

    A job keeps the voucher that it was given first. That is the one that pays most of it: of equal ones the one that was issued first.
    """
    current = None if new else _OF_JOB.first(tx, its_job=job)
    if current is not None:
        rows = _VOUCHER.all(tx, its_id=current.voucher)
    else:
        rows = _VALID.all(tx, its_organization=request.organization, submitted_at=request.submitted_at)
    if not rows:
        return None
    found = supplies.of_offerings(tx, {use.offering for use in request.ahead})
    own, mine = (current.redeemed, current.pledged) if current is not None else (0, 0)
    # what is ahead last hasn't begun; others may run, and be redeemed already
    had = own + _claimed(tx, job, current.voucher) if current is not None and len(request.ahead) > 1 else 0
    pledges = [
        Pledge(
            row.id,
            current,
            pledge(
                _parts(voucher, request.ahead, found, first=current is None),
                own,
                _unpledged(row) + mine - own,
                had,
            ),
        )
        for row in rows
        if (voucher := _voucher(tx, row)).terms.mode is Mode.DEDUCTED
    ]
    best = max(pledges, key=lambda one: one.pledged, default=None)
    return best if best is not None and (best.pledged or current is not None) else None


def _unpledged(row: Fetched) -> int:
    """What of a voucher (its row) may still be pledged, in fen: nothing once it is revoked."""
    return 0 if row.state == VoucherState.REVOKED else int(row.amount - row.released - row.pledged)


def _claimed(tx: Session, job: str, voucher: str) -> int:
    """The voucher's shares of what closed periods have of a job, in fen."""
    shares = select(func.sum(SHARES.c.share)).join(LINES, LINES.c.id == SHARES.c.line)
    of_job = shares.where(LINES.c.job == job, SHARES.c.voucher == voucher)
    return max(0, int(tx.execute(of_job).scalar_one() or 0))


def keep(tx: Session, job: str, organization: str, offer: Pledge) -> None:
    """Pledge what was offered, now that the hold is granted. The organization's fund is the caller's."""
    own = offer.current.redeemed if offer.current is not None else 0
    if offer.current is None:
        _INSERT.run(
            tx,
            job=job,
            organization=organization,
            voucher=offer.voucher,
            pledged=offer.pledged,
            redeemed=own,
            settled=False,
        )
    else:
        _CHANGE.run(tx, its_job=job, now_pledged=offer.pledged, now_redeemed=own, now_settled=False)
    _ADD.run(tx, its_id=offer.voucher, more_pledged=offer.more, more_redeemed=0)


def of_jobs(tx: Session, jobs: Collection[str]) -> dict[str, Fetched]:
    """Of those of the jobs that a voucher counts for."""
    return {row.job: row for row in _OF_JOBS.all(tx, [{"job": job} for job in jobs])}


class Moved(NamedTuple):
    """How much more (negative: less) of a voucher is pledged and redeemed, in fen."""

    pledged: int
    redeemed: int


def redeem(tx: Session, row: Fetched, charged: Iterable[tuple[Key, int]], at: datetime) -> Moved:
    """Let a job's redemption (`row`, as it is stored) be what its lines in open periods make it: `charged` are these, with what they come
    to in fen."""
    lines = [(key, amount) for key, amount in charged if key.billed and key.organization == row.organization]
    voucher = _voucher(tx, _VOUCHER.one(tx, its_id=row.voucher))
    found = supplies.of_price_lists(tx, {key.price_list for key, _ in lines})
    now = redeemed(_supported(voucher, lines, found), row.pledged)
    if now == row.redeemed:
        return Moved(0, 0)
    pledged = now if row.settled else row.pledged
    moved = Moved(pledged - row.pledged, now - row.redeemed)
    _CHANGE.run(tx, its_job=row.job, now_pledged=pledged, now_redeemed=now, now_settled=row.settled)
    _ADD.run(tx, its_id=row.voucher, more_pledged=moved.pledged, more_redeemed=moved.redeemed)
    ledger.redemption(
        tx,
        organization=row.organization,
        programme=voucher.programme,
        delta_fen=moved.redeemed,
        reference=row.job,
        at=at,
    )
    return moved


def settle(tx: Session, jobs: Collection[str]) -> dict[str, int]:
    """Of jobs that are settled, let go of what wasn't redeemed. Returns how much less is pledged, by organization, in fen."""
    let_go: Counter[str] = Counter()
    for row in of_jobs(tx, jobs).values():
        if not row.settled:
            _CHANGE.run(tx, its_job=row.job, now_pledged=row.redeemed, now_redeemed=row.redeemed, now_settled=True)
            _ADD.run(tx, its_id=row.voucher, more_pledged=row.redeemed - row.pledged, more_redeemed=0)
            let_go[row.organization] += row.pledged - row.redeemed
    return let_go


def move(tx: Session, voucher: Row[Any], moved: Moved) -> None:
    """Change what of a voucher (its row) is pledged and redeemed."""
    if any(moved):
        _ADD.run(tx, its_id=voucher.id, more_pledged=moved.pledged, more_redeemed=moved.redeemed)


def keep_open(tx: Session, jobs: Collection[str], period: str) -> dict[str, Moved]:
    """Of jobs with lines in a period that closes, leave in their redemptions what they redeem by the lines of periods that stay open.

    Returns what was taken out, by voucher, in fen; the vouchers' totals are the caller's. As much pledge goes as was redeemed.
    """
    taken: defaultdict[str, Moved] = defaultdict(lambda: Moved(0, 0))
    rows = of_jobs(tx, jobs)
    if not rows:
        return taken
    lines: defaultdict[str, list[Fetched]] = defaultdict(list)
    for line in _OPEN_LINES.all(tx, [{"job": job, "closing": period} for job in rows]):
        lines[line.job].append(line)
    found = supplies.of_price_lists(tx, {line.price_list for some in lines.values() for line in some})
    vouchers = {id: _voucher(tx, _VOUCHER.one(tx, its_id=id)) for id in {row.voucher for row in rows.values()}}
    for job, row in rows.items():
        own = [(key_of(line), line.amount) for line in lines[job] if line.organization == row.organization]
        now = min(row.redeemed, redeemed(_supported(vouchers[row.voucher], own, found), row.pledged))
        less = row.redeemed - now
        if less:
            pledged = row.pledged - less
            _CHANGE.run(tx, its_job=job, now_pledged=pledged, now_redeemed=now, now_settled=row.settled)
            before = taken[row.voucher]
            taken[row.voucher] = Moved(before.pledged + less, before.redeemed + less)
    return taken


def _supported(voucher: _Voucher, charged: Iterable[tuple[Key, int]], found: Mapping[str, Supply]) -> list[Supported]:
    """At which rates the voucher pays for what was charged. `found`: what the price lists are of."""
    return [(voucher.rate(found.get(key.price_list), key.component, key.reseller), amount) for key, amount in charged]


def _voucher(tx: Session, row: Fetched) -> _Voucher:
    """Of a row of `vouchers` with the terms of its programme."""
    terms = ProgrammeTerms.model_validate(row.terms)
    return _Voucher(row.programme, terms, holder_of(tx, row, terms))


def _parts(
    voucher: _Voucher, ahead: Sequence[HoldUse], found: Mapping[str, Supply], *, first: bool
) -> Iterator[Supported]:
    """What of a hold the voucher supports. Where there is a minimum charge, which may take the place of all else, all is at the lowest
    of the rates. The price per job is held for once, whichever attempt it falls in: so it's counted where there is one, the `first`."""
    once = first and len(ahead) == 1
    for use in ahead:
        supply, reseller = found.get(use.offering), use.reseller or ""
        rates = {one: voucher.rate(supply, one, reseller) for one in use.components}
        lowest = min(rates.values()) if Component.MINIMUM_CHARGE in rates else WHOLE
        for component, most in use.components.items():
            if component is not Component.JOB or once:
                yield min(rates[component], lowest), most.fen
