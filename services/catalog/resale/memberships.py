"""Who buys from which reseller, within a transaction."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from caravan.pricing.resale import holds
from services.catalog.resale.models import ResaleAgreementRow, ResaleMemberRow


@dataclass(frozen=True)
class Membership:
    """An organization buys from a reseller in [starts_at, ends_at)."""

    organization: str
    reseller: str
    starts_at: datetime
    ends_at: datetime | None


def memberships(tx: Session, organizations: Collection[str], at: datetime) -> tuple[Membership, ...]:
    """Those of these organizations that have begun, the ended ones included."""
    query = (
        select(
            ResaleMemberRow.organization,
            ResaleAgreementRow.reseller,
            ResaleAgreementRow.starts_at,
            ResaleAgreementRow.ends_at,
        )
        .join(ResaleAgreementRow, ResaleAgreementRow.id == ResaleMemberRow.agreement)
        .where(ResaleMemberRow.organization.in_(sorted(organizations)))
        .where(ResaleAgreementRow.starts_at <= at, ResaleAgreementRow.stands())
    )
    return tuple(Membership(*row) for row in tx.execute(query))


def reseller_of(tx: Session, organization: str | None, at: datetime) -> str | None:
    """Whom it buys from at `at`, of what that sells; None: the providers alone."""
    mine = memberships(tx, (organization,), at) if organization is not None else ()
    return next((one.reseller for one in mine if holds(one, at)), None)
