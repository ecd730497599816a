"""The most that a voucher may be issued for. Pure; amounts are fen."""

from collections.abc import Iterable, Iterator

from caravan.contracts.base import Words
from caravan.contracts.programmes import WHOLE, ProgrammeDraft
from caravan.contracts.vouchers import Cap, Limit, SupplyContract
from caravan.kernel.money import Money, divide_half_away, percent


def limits(programme: ProgrammeDraft, *, first: bool, issued: int, contract: SupplyContract | None) -> Iterator[Limit]:
    """By the programme's caps. `first`: it would be the enterprise's first voucher; `issued`: what it has been issued in the year, and what
    else it has applied for.
    """
    caps = programme.caps
    if caps.voucher is not None:
        yield _limit(Cap.VOUCHER, caps.voucher.fen, "单张券面额最高", "A voucher is for at most")
    if caps.first_voucher is not None and first:
        yield _limit(Cap.FIRST_VOUCHER, caps.first_voucher.fen, "首张券面额最高", "A first voucher is for at most")
    if caps.contract is not None and contract is not None:
        most, rate = divide_half_away(contract.amount.fen * caps.contract, WHOLE), percent(caps.contract)
        yield _limit(
            Cap.CONTRACT, most, f"最高为合同金额的 {rate}，即", f"At most {rate} of the contract is paid, which is"
        )
    if caps.issued_in_year is not None:
        left = max(0, caps.issued_in_year.fen - issued)
        zh, en = (
            "扣除已发放和正在申请的，本年度还可申请",
            "Less what is issued and applied for, it may apply in this year for",
        )
        yield _limit(Cap.ISSUED_IN_YEAR, left, zh, en)


def of_pool(left: int) -> Limit:
    """By what is left of the year's pool."""
    return _limit(Cap.POOL, left, "本年度资金池剩余", "This year's pool has left")


def tightest(found: Iterable[Limit]) -> Limit | None:
    """The one that allows the least; of equal ones the first."""
    return min(found, key=lambda limit: limit.most, default=None)


def _limit(cap: Cap, most: int, zh: str, en: str) -> Limit:
    money = Money(most)
    return Limit(cap=cap, most=money, words=Words(zh=f"{zh} {money} 元", en=f"{en} {money} CNY"))
