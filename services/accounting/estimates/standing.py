"""Reading how a programme stands in a year, and what a forecast says of it."""

from collections import Counter
from collections.abc import Iterator
from datetime import datetime

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import Session

from caravan.contracts.base import Words
from caravan.contracts.estimates import Forecast, ForecastMonth
from caravan.contracts.programmes import Programme
from caravan.contracts.statements import PeriodState
from caravan.kernel.money import Money
from services.accounting.credit_notes.models import CreditNoteRow
from services.accounting.estimates.forecasting import Outlook, Standing, outlook
from services.accounting.periods import service as periods
from services.accounting.periods.models import PeriodRow
from services.accounting.programmes.service import find
from services.accounting.redemptions.models import ClawbackRow, SettlementRow
from services.accounting.reimbursements.models import DueRow
from services.accounting.vouchers.models import VoucherRow


def forecast(tx: Session, programme: str, at: datetime) -> Forecast:
    """Of the year in the platform's zone. Raises NotFound."""
    found = find(tx, programme)
    of = standing(tx, found, at)
    return _shown(found, of, outlook(of))


def standing(tx: Session, programme: Programme, at: datetime) -> Standing:
    zone = periods.zone(tx)
    today = at.astimezone(zone).date()
    mine = (VoucherRow.programme == programme.id, VoucherRow.year == today.year)
    issued: Counter[int] = Counter()
    for row in tx.execute(select(VoucherRow.issued_at, VoucherRow.amount - VoucherRow.released).where(*mine)):
        issued[row[0].astimezone(zone).month] += row[1]
    redeemed: Counter[int] = Counter()
    for of in SettlementRow, DueRow:
        settled = (
            select(PeriodRow.month, func.sum(of.on_lines + of.earlier))
            .join(PeriodRow, PeriodRow.id == of.period)
            .join(VoucherRow, VoucherRow.id == of.voucher)
            .where(*mine, PeriodRow.month.startswith(f"{today.year:04d}-"))
            .group_by(PeriodRow.month)
        )
        for month, fen in tx.execute(settled):
            redeemed[int(month[5:])] += int(fen)
    for taken_at, fen in _taken_back(tx, *mine):
        redeemed[taken_at.astimezone(zone).month] -= fen
    published = programme.published_at.astimezone(zone).date() if programme.published_at is not None else None
    return Standing(
        today=today,
        pool=sum(pool.amount.fen for pool in programme.pools if pool.year == today.year),
        committed=sum(pool.committed.fen for pool in programme.pools if pool.year == today.year),
        begins=None if published is None else published.month if published.year == today.year else 1,
        closed=_closed(tx, today.year, today.month),
        issued=issued,
        redeemed=redeemed,
    )


def _taken_back(tx: Session, *which: ColumnElement[bool]) -> Iterator[tuple[datetime, int]]:
    """When, and how much of what these vouchers had paid: by clawbacks, and by credit notes."""
    clawed = select(ClawbackRow.made_at, ClawbackRow.amount).join(VoucherRow, VoucherRow.id == ClawbackRow.voucher)
    noted = (
        select(CreditNoteRow.issued_at, -of.earlier)
        .join(of, of.period == CreditNoteRow.id)
        .join(VoucherRow, VoucherRow.id == of.voucher)
        for of in (SettlementRow, DueRow)
    )
    for query in (clawed, *noted):
        yield from ((at, int(fen)) for at, fen in tx.execute(query.where(*which)))


def _closed(tx: Session, year: int, month: int) -> int:
    """The last month of the year, before this one, up to which all periods are closed."""
    first = select(func.min(PeriodRow.month)).where(
        PeriodRow.month.between(f"{year:04d}-01", f"{year:04d}-12"), PeriodRow.state != PeriodState.CLOSED
    )
    waits = tx.execute(first).scalar()
    return min(month, month if waits is None else int(waits[5:])) - 1


def _shown(programme: Programme, of: Standing, found: Outlook) -> Forecast:
    return Forecast(
        programme=programme.id,
        programme_name=programme.name,
        year=of.today.year,
        pool=Money(of.pool),
        committed=Money(of.committed),
        months=tuple(
            ForecastMonth(
                month=_named(of, month),
                issued=Money(of.issued.get(month, 0)),
                redeemed=Money(of.redeemed.get(month, 0)),
            )
            for month in range(1, of.today.month + 1)
        ),
        issued_a_month=None if found.issued is None else Money(found.issued.a_month),
        used_up_in=None if found.used_up is None else _named(of, found.used_up),
        redeemed_a_month=None if found.redeemed is None else Money(found.redeemed.a_month),
        redeemed_by_year_end=None if found.by_year_end is None else Money(found.by_year_end),
        words=(_of_pool(of, found), _of_redeemed(of, found)),
    )


def _named(of: Standing, month: int) -> str:
    return f"{of.today.year:04d}-{month:02d}"


def _of_pool(of: Standing, found: Outlook) -> Words:
    if of.pool <= of.committed:
        return Words(zh="本年度资金池已无余额。", en="This year's pool has nothing left.")
    if found.issued is None:
        return Words(
            zh="尚无完整月份，无法推算资金池何时用完。",
            en="No month is over yet: nothing says how long the pool lasts.",
        )
    months, rate = found.issued.months, Money(found.issued.a_month)
    if found.used_up is None:
        zh, en = "资金池可用到年底", "the pool lasts the year"
    else:
        month = _named(of, found.used_up)
        zh, en = f"资金池将在 {month} 用完", f"the pool is used up in {month}"
    return Words(
        zh=f"按前 {months} 个月平均每月发放 {rate} 元直线推算，{zh}。未计季节变化和待审申请。",
        en=f"A straight line at {rate} CNY issued a month, as over the {_months(months)} before this one: {en}. "
        "It knows no seasons, and no applications that wait.",
    )


def _of_redeemed(of: Standing, found: Outlook) -> Words:
    if found.redeemed is None or found.by_year_end is None:
        return Words(zh="尚无已结账月份，无法推算兑付。", en="No month is closed yet: nothing says what is redeemed.")
    months, rate, most = found.redeemed.months, Money(found.redeemed.a_month), Money(found.by_year_end)
    return Words(
        zh=f"按最近 {months} 个已结账月份平均每月兑付 {rate} 元直线推算，本年度资金到年底约兑付 {most} 元，不超过资金池。",
        en=f"A straight line at {rate} CNY redeemed a month, as in the {_months(months)} that closed last: "
        f"{most} CNY of this year's pool by the year's end, and never more than it has.",
    )


def _months(number: int) -> str:
    return f"{number} months" if number > 1 else "month"
