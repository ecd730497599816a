"""Explains stored lines: a job's, and one of them day by day. Their seconds are computed anew from the job's facts."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Row, select
from sqlalchemy.orm import Session

from caravan import pricing
from caravan.contracts.explanations import (
    DiscountExplanation,
    ExplainedLine,
    Explanation,
    Factor,
    LineExplanation,
    Moved,
)
from caravan.contracts.jobs import Outcome
from caravan.contracts.modes import SiteMode
from caravan.contracts.prices import Component
from caravan.contracts.statements import BearerKind, Line, LineKind
from caravan.kernel.clock import from_seconds
from caravan.kernel.money import Money
from caravan.kernel.prepared import Fetched
from caravan.kernel.problems import NotFound
from caravan.kernel.runtime import Runtime
from caravan.pricing import TopUp
from caravan.pricing.charge import LineKey
from caravan.pricing.explained import explained
from caravan.pricing.explained_days import Stretch
from caravan.pricing.explained_words import RETAIL, WHOLESALE, Kind, Unit, lacking
from services.accounting.charging.book import LINES, key_of
from services.accounting.charging.explanation import BORE, adjusted, arithmetic, bearer, correction, in_one, stretches
from services.accounting.charging.lines import Key, Portion, Record, by_buyer, mode_of
from services.accounting.charging.minimum import Minima
from services.accounting.charging.moves import moves
from services.accounting.charging.reading import shown_of_job
from services.accounting.charging.service import Calendar, amounts
from services.accounting.discounts import explaining as discounts
from services.accounting.funds import holds
from services.accounting.periods import service as periods
from services.accounting.usage import copies, records

Sees = Callable[[str], bool]
"""Whether a party's lines are for the caller's eyes."""


class ExplanationService:
    """Explains to those whose lines they are: the organization that bears them, and who sold."""

    def __init__(self, runtime: Runtime) -> None:
        self._db = runtime.db

    async def job(self, job: str, sees_organization: Sees, sees_provider: Sees) -> Explanation:
        """A job's lines down to the second; to a seller its own lines only. NotFound for who may see none.

        Where a reseller sells it, what that buys of the provider is another set of lines: explained to who may not see the first.
        """
        return await self._db.read(_job, job, sees_organization, sees_provider)

    async def line(
        self, line: str, sees_organization: Sees, sees_provider: Sees
    ) -> LineExplanation | DiscountExplanation:
        """A line day by day, or a volume discount by its tiers. NotFound for who may not see it."""
        return await self._db.read(_line, line, sees_organization, sees_provider)


def _job(tx: Session, job: str, sees_organization: Sees, sees_provider: Sees) -> Explanation:
    rows = tx.execute(select(LINES).where(LINES.c.job == job).order_by(LINES.c.id)).all()
    held = holds.of_job(tx, job)
    for hold in held:
        own = [row for row in rows if row.organization == hold.organization]
        if not sees_organization(hold.organization):
            own = [row for row in own if _sells(row, sees_organization, sees_provider)]
            if not own:
                continue
        found = _explanation(tx, hold, own, amounts(held))
        return found if len(held) == 1 else found.model_copy(update={"words": WHOLESALE if hold.resale else RETAIL})
    raise NotFound


def _sells(row: Row[Any], sees_organization: Sees, sees_provider: Sees) -> bool:
    return sees_organization(row.reseller) if row.reseller else sees_provider(row.provider)


def _explanation(tx: Session, hold: Fetched, rows: Sequence[Row[Any]], held: Mapping[str, int]) -> Explanation:
    portions: dict[Key, list[Portion]] = defaultdict(list)
    facts = records.of_job(tx, hold.job)
    calendar = Calendar(tx, facts)
    for portion in _portions(calendar, facts, held):
        portions[portion.key].append(portion)
    by_key: dict[Key, list[Row[Any]]] = defaultdict(list)
    for row in rows:
        by_key[key_of(row)].append(row)
    kinds = copies.kinds(tx, {key.accelerator for key in by_key})
    minima = _minima(by_key, calendar, facts)
    lines = [
        line
        for key, own in by_key.items()
        for line in _explained(key, own, portions[key], kinds, _minimum(key, minima))
    ]
    return Explanation(
        job=hold.job,
        organization=hold.organization,
        project=hold.project,
        charged=_sum(one.line for one in lines if one.line.bearer is BearerKind.ORGANIZATION),
        borne_by_provider=_sum(one.line for one in lines if one.line.bearer is BearerKind.PROVIDER),
        notional=_sum(one.line for one in lines if one.line.bearer is BearerKind.NOBODY),
        lines=tuple(lines),
    )


def _line(
    tx: Session, line: str, sees_organization: Sees, sees_provider: Sees
) -> LineExplanation | DiscountExplanation:
    row = tx.execute(select(LINES).where(LINES.c.id == line)).one_or_none()
    if row is None or not (sees_organization(row.organization) or _sells(row, sees_organization, sees_provider)):
        raise NotFound
    if row.kind == LineKind.VOLUME_DISCOUNT:
        return discounts.explained(tx, row)
    key, held, facts = key_of(row), amounts(holds.of_job(tx, row.job)), records.of_job(tx, row.job)
    of_job = tx.execute(select(LINES).where(LINES.c.job == row.job)).all()
    in_order = _in_order(one for one in of_job if key_of(one) == key)
    earlier = in_order[: in_order.index(row)]
    newest = row.id == in_order[-1].id
    calendar = Calendar(tx, facts)
    own = [portion for portion in _portions(calendar, facts, held) if portion.key == key] if newest else []
    kind = copies.kinds(tx, {key.accelerator}).get(key.accelerator)
    quantity, minimum = row.quantity + sum(one.quantity for one in earlier), None
    if newest:
        minimum = _minimum(key, _minima([key], calendar, facts))
    price = explained(
        LineKey(key.component, key.accelerator or None, key.tariff, key.window, mode_of(key)),
        stretches(own),
        records.price_list_of(tx, key.price_list),
        key.unit_price,
        kind,
        quantity=quantity,
        minimum=minimum,
    )
    preempted = {record.run for record in facts if record.outcome is Outcome.PREEMPTED}
    who = bearer(BearerKind(row.bearer), shown_of_job(row).reason, any(portion.run in preempted for portion in own))
    corrected, words = None, [price.words]
    moved: tuple[Moved, ...] = ()
    if minimum is not None and not own:
        words.append(lacking(minimum, quantity))
    if row.corrects:
        before = Money(sum(one.amount for one in earlier))
        corrected = correction(row.corrects, periods.find(tx, row.corrects).name, before, before + Money(row.amount))
        bought = by_buyer(facts).get(row.organization, ())
        moved = moves(tx, row, of_job, bought, Unit(key.component, kind and kind.unit))
        words.append(corrected.words)
    if price.mode is SiteMode.BILLED:  # else it is said with the price already
        words.append(who.words if quantity or not row.corrects else BORE[key.bearer])
    words += [one.words for one in moved]
    return LineExplanation(
        **{name: value for name, value in price if name != "words"},
        line=shown_of_job(row),
        restated_in=None if newest else in_order[-1].id,
        bearer=who,
        correction=corrected,
        moved=moved,
        words=in_one(words),
    )


def _minima(keys: Iterable[Key], calendar: Calendar, facts: Sequence[Record]) -> Mapping[str, Minima]:
    """What the minimum charges among them are made of now, for each who buys."""
    if all(key.component is not Component.MINIMUM_CHARGE for key in keys):
        return {}
    return calendar.minimum_charges(facts)


def _minimum(key: Key, minima: Mapping[str, Minima]) -> TopUp[Key] | None:
    """None: it is no minimum charge, or nothing of its attempt is billed any more."""
    return minima.get(key.organization, {}).get(key.attempt)


def _portions(calendar: Calendar, facts: Sequence[Record], held: Mapping[str, int]) -> list[Portion]:
    """For all who buy of the job, whose `facts` these are."""
    return [portion for one in calendar.charged(facts, held).values() for portion in one.portions]


def _in_order(rows: Iterable[Row[Any]]) -> list[Row[Any]]:
    """The lines of one key: the plain one, then what corrects it."""
    return sorted(rows, key=lambda row: (row.corrects != "", row.id))


def _sum(lines: Iterable[Line]) -> Money:
    return Money(sum(line.amount.fen for line in lines))


def _explained(
    key: Key, rows: Sequence[Row[Any]], portions: Sequence[Portion], kinds: dict[str, Kind], minimum: TopUp[Key] | None
) -> list[ExplainedLine]:
    """The lines of one key: what its seconds make now stands with the newest of them, the others with what was billed then."""
    factors, kind = stretches(portions), kinds.get(key.accelerator)
    unit = Unit(key.component, kind and kind.unit)
    in_order = _in_order(rows)
    out, quantity, billed = [], 0, Money(0)
    for row in in_order:
        quantity += row.quantity
        newest = row is in_order[-1]
        words = arithmetic(unit, factors if newest and not row.corrects else (), quantity, key.unit_price)
        if row.corrects:
            words = adjusted(words, billed, Money(row.amount))
        if minimum is not None and newest:
            words = in_one([lacking(minimum, quantity), words])
        out.append(
            ExplainedLine(
                line=shown_of_job(row),
                divisor=pricing.DIVISOR[key.component],
                arithmetic=words,
                factors=tuple(_factor(row.id, factor) for factor in factors) if newest else (),
            )
        )
        billed += Money(row.amount)
    return out


def _factor(line: str, factor: Stretch) -> Factor:
    assert factor.run is not None  # of a line
    return Factor(
        run=factor.run,
        line=line,
        start=from_seconds(factor.start),
        end=from_seconds(factor.end),
        seconds=factor.end - factor.start,
        units=factor.units,
        quantity=factor.quantity,
    )
