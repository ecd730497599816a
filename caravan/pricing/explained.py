"""Why a price is what it is, step by step: what was held on which days, what that sums up to, and what it costs. Pure.

The seconds come cut at the edges of windows (`charge.quantities`, or a job's lines), so that all of one price are of one window.
"""

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any, Final, NamedTuple

from caravan.contracts.base import Words
from caravan.contracts.explanations import (
    Arithmetic,
    ClockSpan,
    ExplainedMinimum,
    ExplainedPrice,
    MoreDays,
    PricedDays,
    Rate,
)
from caravan.contracts.modes import SiteMode
from caravan.contracts.prices import Buyer, Component, PriceList, Tariff
from caravan.contracts.usage import Span
from caravan.kernel.clock import to_seconds
from caravan.kernel.money import Money
from caravan.pricing import explained_words as words
from caravan.pricing.amounts import DIVISOR, FEN, amount, unit_price
from caravan.pricing.buyers import prices_for
from caravan.pricing.charge import LineKey, quantities
from caravan.pricing.explained_days import Days, Stretch, days_of
from caravan.pricing.explained_words import Kind, Unit
from caravan.pricing.minimum import Billed, TopUp, top_up

SHOWN: Final = 40
"""How many steps a price is explained in; what is left is summed up in one more."""


def explained(
    key: LineKey,
    stretches: Sequence[Stretch],
    price_list: PriceList,
    price: Decimal,
    kind: Kind | None,
    quantity: int | None = None,
    minimum: TopUp[Any] | None = None,
) -> ExplainedPrice:
    """What one component comes to in one window of one tariff. `kind`: of its accelerator, where there is one and it is known.

    `quantity`: the sum, where the seconds are not known any more. `minimum`: of a minimum charge, whose seconds are known.
    """
    tariff = next((one for one in price_list.tariffs if one.name == key.tariff), None)
    counted = Unit(key.component, kind and kind.unit)
    days = list(days_of(stretches, price_list, tariff))
    shown, left = days[:SHOWN], days[SHOWN:]
    several = len({one.run for one in days}) > 1
    parts = [words.number(one.quantity) for one in shown] if len(days) > 1 else []
    total = sum(one.quantity for one in days) if quantity is None else quantity
    costs = arithmetic(counted, parts, len(left), total, price)
    return ExplainedPrice(
        component=key.component,
        accelerator=key.accelerator,
        unit=kind and kind.unit,
        rate=_rate(key, price_list, tariff),
        mode=key.mode,
        steps=tuple(_step(one, counted, several, minimum) for one in shown),
        more=_more(left, counted),
        seconds=sum(one.seconds for one in days),
        minimum_charge=minimum and _minimum(minimum),
        arithmetic=costs,
        words=words.price(key, kind, costs),
    )


class _Line(NamedTuple):
    """As a run would have it."""

    key: LineKey
    unit_price: Decimal

    @property
    def component(self) -> Component:
        return self.key.component

    @property
    def tariff(self) -> str:
        return self.key.tariff


def explained_span(span: Span, price_list: PriceList, buyer: Buyer, kind: Kind | None) -> list[ExplainedPrice]:
    """What one run of `buyer` that holds `span` comes to, component by component; of each its rates, in the order of time. Last what
    tops it up to the minimum charge, as the only run of its attempt.
    """
    own = prices_for(price_list, buyer)
    stretches: dict[_Line, list[Stretch]] = {}
    for piece in quantities([span], own, to_seconds(span.start), ()):
        key = piece.key
        line = _Line(key, unit_price(own, key.tariff, key.window, key.component, key.mode))
        stretches.setdefault(line, []).append(Stretch(None, piece.start, piece.end, piece.units))
    order = list(Component)
    found = [
        explained(line.key, stretches[line], price_list, line.unit_price, kind if line.key.accelerator else None)
        for line in sorted(stretches, key=lambda line: order.index(line.component))
    ]
    billed = [
        Billed(line, own, "", one.end, one.quantity)
        for line, some in stretches.items()
        if line.key.mode is SiteMode.BILLED
        for one in some
    ]
    of_attempt = top_up(billed)
    return [*found, _topped_up(of_attempt, price_list)] if of_attempt and of_attempt.lacking else found


def _topped_up(of_attempt: TopUp[_Line], price_list: PriceList) -> ExplainedPrice:
    last = of_attempt.last
    key = replace(last.line.key, component=Component.MINIMUM_CHARGE, accelerator=None)
    return explained(
        key, [Stretch(None, last.end - 1, last.end, of_attempt.lacking)], price_list, FEN, None, minimum=of_attempt
    )


def arithmetic(unit: Unit, parts: Sequence[Words], more: int, quantity: int, price: Decimal) -> Arithmetic:
    """`quantity` as the sum of `parts` and of so many `more`, and what it costs."""
    return Arithmetic(
        quantity=quantity,
        unit_price=price,
        divisor=DIVISOR[unit.component],
        exact=words.exact(unit.component, quantity, price),
        amount=Money(amount(unit.component, quantity, price)),
        words=words.summed(unit, parts, more, quantity, price),
    )


def _rate(key: LineKey, price_list: PriceList, tariff: Tariff | None) -> Rate:
    window = next((one for one in tariff.windows if one.name == key.window), None) if tariff else None
    return Rate(
        price_list=price_list.id,
        revision=price_list.revision,
        zone=price_list.zone,
        tariff=key.tariff,
        starts_at=tariff.starts_at if tariff else None,
        ends_at=tariff.ends_at if tariff else None,
        window=key.window,
        days=window.days if window else (),
        times=window.times if window else (),
        words=words.rate(price_list.zone, tariff, window),
    )


def _step(days: Days, unit: Unit, several_runs: bool, minimum: TopUp[Any] | None) -> PricedDays:
    return PricedDays(
        run=days.run,
        first=days.first,
        last=days.last,
        days=days.days,
        kinds=days.kinds,
        holiday=days.holiday,
        reason=days.reason,
        times=tuple(ClockSpan(starts=words.clock_time(start), ends=words.clock_time(end)) for start, end in days.times),
        seconds=days.seconds,
        units=days.units,
        quantity=days.quantity,
        words=words.last_second(days, minimum)
        if minimum
        else words.days(days, unit, days.run if several_runs else None),
    )


def _minimum(found: TopUp[Any]) -> ExplainedMinimum:
    return ExplainedMinimum(
        minimum=Money(found.minimum),
        seconds=Money(found.seconds),
        per_job=Money(found.per_job),
        lacking=Money(found.lacking),
        words=words.lacking(found, found.lacking),
    )


def _more(left: Sequence[Days], unit: Unit) -> MoreDays | None:
    if not left:
        return None
    days, seconds, quantity = (sum(getattr(one, name) for one in left) for name in ("days", "seconds", "quantity"))
    return MoreDays(days=days, seconds=seconds, quantity=quantity, words=words.more(days, seconds, quantity, unit))
