"""Explains the line of a volume discount. Pure of everything but what it reads."""

from typing import Any

from sqlalchemy import Row
from sqlalchemy.orm import Session

from caravan import pricing
from caravan.contracts.base import Words
from caravan.contracts.explanations import DiscountExplanation, TierShare
from caravan.kernel.money import Money
from caravan.pricing.volume_words import discounted
from services.accounting.charging.explanation import correction
from services.accounting.charging.reading import shown
from services.accounting.discounts.totals import Group, stored, totals_of
from services.accounting.periods import service as periods
from services.accounting.usage.records import price_list_of


def explained(tx: Session, row: Row[Any]) -> DiscountExplanation:
    """`row` of `lines`, with the totals that it and the lines before it come to."""
    price_list, of = price_list_of(tx, row.price_list), row.corrects or row.period
    line = shown(row)
    group = Group(row.organization, row.provider, price_list.offering, line.component, row.reseller)
    upto = [one for one in stored(tx, of, {row.organization}, row.period)[group] if one.id <= row.id]
    quantity, basis, amount = (sum(figures) for figures in zip(*totals_of(upto), strict=True))
    tiers = price_list.volume_discounts.get(line.component, ())
    words, corrected = discounted(line.component, tiers, quantity, Money(basis)), None
    if row.corrects:
        before = amount - row.amount
        corrected = correction(of, periods.find(tx, of).name, Money(before), Money(amount))
        words = Words(zh=f"{words.zh}；{corrected.words.zh}", en=f"{words.en}; {corrected.words.en}")
    return DiscountExplanation(
        line=line,
        quantity=quantity,
        basis=Money(basis),
        tiers=tuple(
            TierShare(above=tier.above, percent_off=tier.percent_off, quantity=part)
            for tier, part in pricing.tier_parts(line.component, tiers, quantity)
        ),
        discount=Money(-amount),
        correction=corrected,
        words=words,
    )
