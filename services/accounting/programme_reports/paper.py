"""A programme's vouchers as CSV, for the bureau that pays. Pure.

UTF-8 with a byte order mark, CRLF, one header row, Chinese first; a row for each voucher and span of claims, and one for a voucher without
claims. What is of the voucher stands on each of its rows, its amounts on the first alone: so each column of amounts sums to what all
vouchers have. Dates are days in the platform's zone. What was paid is what closed periods have.
"""

from datetime import datetime
from itertools import chain, repeat
from typing import Any, Final, NamedTuple
from zoneinfo import ZoneInfo

from sqlalchemy import Row

from caravan.contracts.vouchers import Review, VoucherState
from caravan.kernel import clock
from caravan.kernel.money import Money
from services.accounting.statements.paper import BOM, encode, typed
from services.accounting.vouchers.states import state_of

HEADERS: Final = (
    "算力券 Voucher",
    "申请 Application",
    "企业 Organization",
    "企业名称 Organization name",
    "统一社会信用代码 Credit code",
    "面额(元) Amount (CNY)",
    "资金年度 Pool year",
    "状态 State",
    "申请日期 Applied on",
    "申请人 Applied by",
    "初审日期 First review on",
    "初审人 First reviewer",
    "复审日期 Second review on",
    "复审人 Second reviewer",
    "发放日期 Issued on",
    "发放人 Issued by",
    "有效期至(不含) Good until (exclusive)",
    "撤销日期 Revoked on",
    "撤销人 Revoked by",
    "撤销原因 Why it was revoked",
    "未关账期已兑付(元) Redeemed in open periods (CNY)",
    "追回(元) Clawed back (CNY)",
    "退回资金池(元) Released to the pool (CNY)",
    "结算周期起 Claim span from",
    "分摊额合计(元) Claimed (CNY)",
    "已补贴(元) Paid (CNY)",
)
STATES: Final = {
    VoucherState.ISSUED: "有效 issued",
    VoucherState.REDEEMED: "兑付完毕 redeemed",
    VoucherState.EXPIRED: "到期 expired",
    VoucherState.REVOKED: "撤销 revoked",
}


class Enterprise(NamedTuple):
    """`credit_code`: its unified social credit code; '': it has none."""

    name: str
    credit_code: str


class Span(NamedTuple):
    """Of claims, from `start` (seconds since the epoch) on; amounts are fen."""

    start: int
    claimed: int
    paid: int


def header() -> bytes:
    """The first bytes of the file."""
    return BOM + encode(HEADERS)


def voucher(row: Row[Any], enterprise: Enterprise, reviews: list[Review], spans: list[Span], zone: ZoneInfo) -> bytes:
    """The rows of a voucher (a row of `vouchers` with ALL_PAID, `applied_at`, `applied_by`, `issued_by`, and `in_open`: what jobs redeem of
    it in open periods). `enterprise`: whose it is."""

    def day(at: datetime | None) -> str:
        return "" if at is None else at.astimezone(zone).date().isoformat()

    by_stage = {review.stage: review for review in reviews}
    stages = (by_stage.get(stage) for stage in (1, 2))
    reviewed = (("", "") if one is None else (day(one.reviewed_at), typed(one.reviewed_by)) for one in stages)
    about = (row.id, row.application, row.organization, typed(enterprise.name), enterprise.credit_code)
    of_it = (
        str(row.year),
        STATES[state_of(row.state, all_paid=row.all_paid)],
        day(row.applied_at),
        typed(row.applied_by),
        *(cell for pair in reviewed for cell in pair),
        day(row.issued_at),
        typed(row.issued_by or ""),
        day(row.expires_at),
        day(row.revoked_at),
        typed(row.revoked_by or ""),
        typed(row.revoke_reason or ""),
    )
    claims = [(day(clock.from_seconds(one.start)), *_money(*one[1:])) for one in spans] or [("", *_money(0, 0))]
    amounts = _money(row.amount, int(row.in_open), row.clawed_back, row.released)
    stands = chain([amounts], repeat([""] * len(amounts)))
    return b"".join(
        encode((*about, amount, *of_it, *moved, *claim))
        for claim, (amount, *moved) in zip(claims, stands, strict=False)
    )


def _money(*fens: int) -> list[str]:
    return [str(Money(fen)) for fen in fens]
