"""Whom an enterprise is affiliated with: whom it declares, by id or unified social credit code, and itself under whatever id."""

from collections.abc import Collection

from sqlalchemy import select
from sqlalchemy.orm import Session

from caravan.contracts.programmes import Enterprise
from services.accounting.usage.models import OrganizationCopy, ProviderCopy

_PARTIES = (ProviderCopy, OrganizationCopy)


def affiliates(tx: Session, organization: str, declared: Collection[str]) -> frozenset[str]:
    """With the ids of all providers and organizations that are known here by the same credit codes."""
    named = {organization, *declared}
    codes = set(named)
    for table in _PARTIES:
        codes.update(filter(None, tx.scalars(select(table.credit_code).where(table.id.in_(named)))))
    for table in _PARTIES:
        named.update(tx.scalars(select(table.id).where(table.credit_code.in_(codes))))
    return frozenset(named)


def resolved(tx: Session, organization: str, enterprise: Enterprise) -> Enterprise:
    """As it applies for `organization`, with all of its affiliates."""
    found = affiliates(tx, organization, enterprise.affiliates)
    return enterprise.model_copy(update={"affiliates": tuple(sorted(found))})
