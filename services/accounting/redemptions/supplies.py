"""What lines are of, as programmes see it: the tier of an offering, and where its accelerators are from."""

from collections.abc import Collection
from typing import Final, NamedTuple

from sqlalchemy import select
from sqlalchemy.orm import Session

from caravan.contracts.offerings import Tier
from caravan.contracts.prices import Component
from caravan.contracts.programmes import Origin
from caravan.contracts.statements import BearerKind
from caravan.kernel.bulk import SelectMany
from caravan.kernel.database import table_of
from services.accounting.charging.models import LineRow
from services.accounting.programmes.claims import Used
from services.accounting.usage.models import AcceleratorCopy, OfferingCopy, PriceListCopy
from services.accounting.vouchers.models import VoucherRow

_PRICE_LISTS: Final = table_of(PriceListCopy)
_OFFERINGS: Final = SelectMany(
    {"price_list": _PRICE_LISTS.c.id.type},
    lambda given: select(_PRICE_LISTS.c.id, _PRICE_LISTS.c.offering).join(
        given, _PRICE_LISTS.c.id == given.c.price_list
    ),
)


_WITHOUT_ACCELERATOR: Final = OfferingCopy.accelerator.is_not(None) & AcceleratorCopy.id.is_(None)
"""Whether the catalog has told of an offering, and not of its accelerator."""


class Supply(NamedTuple):
    """What an offering is of. Each of its components is of the same origin as its accelerators."""

    provider: str
    tier: Tier
    origin: Origin | None

    def used(self, component: Component, reseller: str) -> Used:
        """`reseller`: who sells it; '': the provider does."""
        return Used(component, self.tier, self.origin, reseller or self.provider)


def of_offerings(tx: Session, offerings: Collection[str]) -> dict[str, Supply]:
    """Those of them that are known here, with their accelerators."""
    query = select(OfferingCopy.id, OfferingCopy.provider, OfferingCopy.tier, AcceleratorCopy.domestic)
    rows = tx.execute(
        query.outerjoin(AcceleratorCopy, AcceleratorCopy.id == OfferingCopy.accelerator).where(
            OfferingCopy.id.in_(offerings), ~_WITHOUT_ACCELERATOR
        )
    )
    origins = {None: None, True: Origin.DOMESTIC, False: Origin.FOREIGN}
    return {row.id: Supply(row.provider, Tier(row.tier), origins[row.domestic]) for row in rows}


def of_price_lists(tx: Session, price_lists: Collection[str]) -> dict[str, Supply]:
    """By price list, those whose offerings are known here."""
    offering = {row.id: row.offering for row in _OFFERINGS.all(tx, [{"price_list": one} for one in price_lists])}
    found = of_offerings(tx, {*offering.values()})
    return {price_list: found[one] for price_list, one in offering.items() if one in found}


def unknown(tx: Session, period: str) -> tuple[str, ...]:
    """Offerings of which organizations that have vouchers used something in a period, and which aren't known here: what programmes support
    of that can't be said."""
    untold = tx.execute(
        select(_PRICE_LISTS.c.id, _PRICE_LISTS.c.offering)
        .outerjoin(OfferingCopy, OfferingCopy.id == _PRICE_LISTS.c.offering)
        .outerjoin(AcceleratorCopy, AcceleratorCopy.id == OfferingCopy.accelerator)
        .where(OfferingCopy.id.is_(None) | _WITHOUT_ACCELERATOR)
    )
    offerings = {row.id: row.offering for row in untold}
    if not offerings:
        return ()
    own = (LineRow.period == period) & (LineRow.bearer == BearerKind.ORGANIZATION.value)
    holders = LineRow.organization.in_(select(VoucherRow.organization))
    used = select(LineRow.price_list).where(own, holders, LineRow.price_list.in_(offerings)).distinct()
    return tuple(sorted({offerings[price_list] for price_list in tx.scalars(used)}))
