"""Making fee agreements and reading them."""

from datetime import datetime
from typing import Any

from sqlalchemy import Row, insert, select
from sqlalchemy.orm import Session

from caravan.contracts.fees import FeeAgreement, FeeAgreementDraft
from caravan.kernel import audit, ids
from caravan.kernel.money import Money
from caravan.kernel.pages import Listing, Page
from caravan.kernel.runtime import Runtime
from caravan.kernel.tokens import Caller
from services.accounting.fees.models import FeeAgreementRow
from services.accounting.funds.service import check_amount, unknown
from services.accounting.periods import dated
from services.accounting.tax.supplies import check_platform_is_taxed
from services.accounting.usage import copies


class FeeService:
    """What finance agrees with providers."""

    def __init__(self, runtime: Runtime) -> None:
        self._db = runtime.db
        self._now = runtime.now

    async def make(self, draft: FeeAgreementDraft, caller: Caller) -> FeeAgreement:
        """Raises Invalid, UnknownReference, PeriodFrozen, TaxRuleMissing."""
        check_amount(draft.floor, "/floor", 0)
        return await self._db.write(make, draft, caller.subject, self._now())

    async def list(
        self, listing: Listing, providers: frozenset[str] | None, provider: str | None
    ) -> Page[FeeAgreement]:
        """Agreements with these providers (None: with all), the last made first."""
        rows = await self._db.read(_agreements, listing, providers, provider)
        return listing.page([_shown(row) for row in rows], key=lambda agreement: (agreement.id,))


def make(tx: Session, draft: FeeAgreementDraft, subject: str, at: datetime) -> FeeAgreement:
    """Keep an agreement. Raises UnknownReference, PeriodFrozen, TaxRuleMissing."""
    if not copies.is_provider(tx, draft.provider):
        raise unknown("/provider")
    dated.check(tx, draft.starts_at, draft.ends_at)
    check_platform_is_taxed(tx, draft.starts_at)
    agreement = FeeAgreement(id=ids.new("fee"), made_at=at, made_by=subject, **dict(draft))
    tx.execute(insert(FeeAgreementRow).values(dict(agreement) | {"floor": draft.floor.fen, "due": draft.due.value}))
    audit.record(tx, subject, "make_fee_agreement", agreement.id, draft)
    return agreement


def _agreements(
    tx: Session, listing: Listing, providers: frozenset[str] | None, provider: str | None
) -> list[Row[Any]]:
    query = select(*FeeAgreementRow.__table__.c).order_by(FeeAgreementRow.id.desc()).limit(listing.fetch)
    if providers is not None:
        query = query.where(FeeAgreementRow.provider.in_(providers))
    if provider is not None:
        query = query.where(FeeAgreementRow.provider == provider)
    if listing.after:
        query = query.where(FeeAgreementRow.id < listing.after[0])
    return list(tx.execute(query).all())


def _shown(row: Row[Any]) -> FeeAgreement:
    return FeeAgreement.model_validate(row._asdict() | {"floor": Money(row.floor)})
