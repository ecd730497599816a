"""What a price correction does to the volume discounts of the periods in its span."""

from collections.abc import Iterator
from typing import Any

from sqlalchemy import Row
from sqlalchemy.orm import Session

from caravan.contracts.base import Words
from caravan.contracts.corrections import CorrectedDiscounts
from services.accounting.corrections.approved import CORRECTIONS, correction_of
from services.accounting.discounts.totals import in_force, of_lists, schedules
from services.accounting.periods import service as periods
from services.accounting.usage.models import PriceListCopy


def concerned(tx: Session, row: Row[Any]) -> Iterator[CorrectedDiscounts]:
    """Of `row` of `price_corrections`: the periods whose discounts it changes, or would if it covered them whole."""
    correction = correction_of(row)
    priced, right = of_lists(tx, [correction.price_list])[correction.price_list]
    before = () if row.number is None else (CORRECTIONS.c.number < row.number,)
    same = PriceListCopy.offering == priced.offering, PriceListCopy.reseller == priced.reseller
    for period in periods.within(tx, correction.start, correction.end):
        newest = in_force(tx, period.ends_at, *same).get(priced)
        if newest is None or not correction.concerns(priced.offering, newest.price_list):
            continue
        if schedules(tx, period, *before)[priced].tiers != right.tiers:
            whole = correction.covers(period.starts_at, period.ends_at)
            words = _whole(period.name) if whole else _in_part(period.name)
            yield CorrectedDiscounts(period=period.id, period_name=period.name, whole=whole, words=words)


def _whole(name: str) -> Words:
    return Words(
        zh=f"{name} 整个账期都被更正：其用量折扣改按正确的价目表计算；该账期已关账的，差额随下一个关账的账期结算",
        en=f"all of {name} is corrected: its volume discounts go by the right list; if it is closed, the difference is settled as the next "
        "period closes",
    )


def _in_part(name: str) -> Words:
    return Words(
        zh=f"{name} 只有一部分被更正：其用量折扣仍按原来的档位计算；要一并更正，请让更正覆盖整个账期",
        en=f"{name} is corrected in part: its volume discounts keep their tiers; to correct them too, let the span cover all of the period",
    )
