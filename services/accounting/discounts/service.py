"""Brings the volume discounts of a closing period up to what is billed, and moves the money that differs.

A period's discount is a function of all that is billed for it. Where late usage has corrected a closed period, its discount is computed
anew when the adjustments' own period closes: the difference to what was taken off before stands there too, as an adjustment. So it is
where a price correction of the whole period has been approved, by whose list it is discounted then. So the discounts of a period always
sum to that of its totals, in whichever order its usage came.
"""

from collections import Counter, defaultdict
from collections.abc import Collection
from datetime import datetime
from typing import Any

from sqlalchemy import delete, insert, select
from sqlalchemy.orm import Session

from caravan.contracts.statements import BearerKind, LineKind, PeriodState
from caravan.kernel import ids
from services.accounting.charging.models import LineRow
from services.accounting.corrections import approved
from services.accounting.discounts.totals import ADJUSTS, Group, Schedule, Totals, schedules, stored, totals_of, wanted
from services.accounting.funds import holds
from services.accounting.ledger import service as ledger
from services.accounting.periods import service as periods


def organizations(tx: Session, period: str) -> list[str]:
    """Whose discounts `bring_up` would look at: those with lines in the period, where any offering has discounts, or in one that is
    corrected whole."""
    own = schedules(tx, periods.find(tx, period))
    among = [*([period] if any(one.tiers for one in own.values()) else []), *_whole(tx, period)]
    lines = select(LineRow.organization).where(LineRow.period.in_(among))
    return list(tx.scalars(lines.distinct().order_by(LineRow.organization)))


def bring_up(tx: Session, period: str, at: datetime, organization: str | None = None) -> None:
    """Let the discounts in `period` be what its lines make them, where it is closing; of one organization, or all.

    Done again, it changes what has changed. Money moves by one entry for each organization and seller.
    """
    closing = periods.find(tx, period)
    if closing.state != PeriodState.CLOSING:
        return
    moved: Counter[tuple[str, str]] = Counter()
    own = None if organization is None else {organization}
    whose_of = _corrected(tx, period, own) | dict.fromkeys([period, *_whole(tx, period)], own)
    for of, whose in sorted(whose_of.items()):
        for group, fen in _bring_up(tx, period, of, whose).items():
            moved[group.organization, group.seller] += fen
    for (who, seller), fen in sorted(moved.items()):
        if fen:
            ledger.discount(tx, organization=who, seller=seller, delta_fen=fen, period=period, at=at)
            holds.add_to_fund(tx, who, charged=fen)


def settle(tx: Session, period: str, at: datetime) -> None:
    """Bring up all discounts as the period closes: nothing has to be settled again for what was corrected until now."""
    bring_up(tx, period, at)
    approved.settle(tx)


def _whole(tx: Session, period: str) -> list[str]:
    """The closed periods that corrections since the last close cover whole."""
    corrections = approved.found(tx, ~approved.SETTLED)
    return [
        one.id for one in periods.closed(tx) if any(each.covers(one.starts_at, one.ends_at) for each in corrections)
    ]


def _corrected(tx: Session, period: str, whose: Collection[str] | None) -> dict[str, set[str]]:
    """The closed periods that usage in `period` corrects, and whose."""
    query = select(LineRow.corrects, LineRow.organization).where(
        LineRow.period == period, LineRow.kind == LineKind.USAGE, ADJUSTS
    )
    if whose is not None:
        query = query.where(LineRow.organization.in_(whose))
    found: defaultdict[str, set[str]] = defaultdict(set)
    for of, organization in tx.execute(query.distinct().order_by(LineRow.corrects)):
        found[of].add(organization)
    return found


def _bring_up(tx: Session, period: str, of: str, whose: Collection[str] | None) -> Counter[Group]:
    """By how much the discounts of the period `of` that stand in `period` have grown, in fen."""
    by = schedules(tx, periods.find(tx, of))
    there, now = stored(tx, of, whose, period), wanted(tx, of, by, whose, period)
    moved: Counter[Group] = Counter()
    for group in sorted({*there, *now}):
        lines = there.get(group, [])
        rest = now.get(group, Totals()).less(totals_of(line for line in lines if line.period != period))
        own = next((line for line in lines if line.period == period), None)
        was = totals_of([own])[0] if own else Totals()
        if rest == was:
            continue
        moved[group] = rest.amount - was.amount
        if own:
            tx.execute(delete(LineRow).where(LineRow.id == own.id))
        if any(rest):
            tx.execute(insert(LineRow).values(_line(group, by[group.priced], period, of, rest)))
    return moved


def _line(group: Group, schedule: Schedule, period: str, of: str, total: Totals) -> dict[str, Any]:
    return {
        "id": ids.new("lin"),
        "kind": LineKind.VOLUME_DISCOUNT.value,
        "period": period,
        "organization": group.organization,
        "provider": group.provider,
        "reseller": group.reseller,
        "project": "",
        "job": "",
        "component": group.component.value,
        "accelerator": "",
        "price_list": schedule.price_list,
        "price_list_revision": schedule.revision,
        "tariff": "",
        "window": "",
        "bearer": BearerKind.ORGANIZATION.value,
        "reason": "",
        "unit_price": "",
        **total._asdict(),
        "corrects": of if of != period else "",
    }
