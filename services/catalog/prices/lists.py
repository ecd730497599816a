"""Price lists within a transaction: the newest of an offering, and what it covers."""

from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from caravan.contracts.prices import PriceList
from services.catalog.prices.models import PriceListRow


def newest(tx: Session, offering: str) -> PriceList | None:
    """The last revision, which prices what is placed from now on."""
    last = select(PriceListRow).where(PriceListRow.offering == offering).order_by(PriceListRow.revision.desc()).limit(1)
    row = tx.scalars(last).one_or_none()
    return row.shown() if row else None


def covers(price_list: PriceList, instant: datetime) -> bool:
    """Whether a tariff holds at `instant`."""
    return any(t.starts_at <= instant and (t.ends_at is None or instant < t.ends_at) for t in price_list.tariffs)
