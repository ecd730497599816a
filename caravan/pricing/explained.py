"""Why a price is what it is, step by step: what was held on which days, what that sums up to, and what it costs. Pure.

The seconds come cut at the edges of windows (`charge.quantities`, or a job's lines), so that all of one price are of one window.
"""

from collections.abc import Sequence
from decimal import Decimal
from typing import Final

from caravan.contracts.base import Words
from caravan.contracts.explanations import Arithmetic, ClockSpan, ExplainedPrice, MoreDays, PricedDays, Rate
from caravan.contracts.prices import Buyer, Component, PriceList, Tariff
from caravan.contracts.usage import Span
from caravan.kernel.clock import to_seconds
from caravan.kernel.money import Money
from caravan.pricing import explained_words as words
from caravan.pricing.amounts import DIVISOR, amount, unit_price
from caravan.pricing.buyers import prices_for
from caravan.pricing.charge import LineKey, quantities
from caravan.pricing.explained_days import Days, Stretch, days_of
from caravan.pricing.explained_words import Kind, Unit

SHOWN: Final = 40
"""How many steps a price is explained in; what is left is summed up in one more."""


def explained(
    key: LineKey,
    stretches: Sequence[Stretch],
    price_list: PriceList,
    price: Decimal,
    kind: Kind | None,
    quantity: int | None = None,
) -> ExplainedPrice:
    """What one component comes to in one window of one tariff. `kind`: of its accelerator, where there is one and it is known.

    `quantity`: the sum, where the seconds are not known any more.
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
        steps=tuple(_step(one, counted, several) for one in shown),
        more=_more(left, counted),
        seconds=sum(one.seconds for one in days),
        arithmetic=costs,
        words=words.price(key, kind, costs),
    )


def explained_span(span: Span, price_list: PriceList, buyer: Buyer, kind: Kind | None) -> list[ExplainedPrice]:
    """What one run of `buyer` that holds `span` comes to, component by component; of each its rates, in the order of time."""
    own = prices_for(price_list, buyer)
    stretches: dict[LineKey, list[Stretch]] = {}
    for piece in quantities([span], own, to_seconds(span.start), ()):
        stretches.setdefault(piece.key, []).append(Stretch(None, piece.start, piece.end, piece.units))
    order = list(Component)
    return [
        explained(
            key,
            stretches[key],
            price_list,
            unit_price(own, key.tariff, key.window, key.component, key.mode),
            kind if key.accelerator else None,
        )
        for key in sorted(stretches, key=lambda key: order.index(key.component))
    ]


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


def _step(days: Days, unit: Unit, several_runs: bool) -> PricedDays:
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
        words=words.days(days, unit, days.run if several_runs else None),
    )


def _more(left: Sequence[Days], unit: Unit) -> MoreDays | None:
    if not left:
        return None
    days, seconds, quantity = (sum(getattr(one, name) for one in left) for name in ("days", "seconds", "quantity"))
    return MoreDays(days=days, seconds=seconds, quantity=quantity, words=words.more(days, seconds, quantity, unit))
