"""Posting tax rules, and which of them a supply goes by."""

from datetime import datetime
from typing import Any

from sqlalchemy import Row, insert, select
from sqlalchemy.orm import Session

from caravan.contracts.tax import PLATFORM, SupplyCategory, TaxRule, TaxRuleDraft, TaxTreatment
from caravan.kernel import audit, ids
from caravan.kernel.pages import Listing, Page
from caravan.kernel.problems import FieldError, Invalid
from caravan.kernel.runtime import Runtime
from caravan.kernel.tokens import Caller
from services.accounting.funds.service import unknown
from services.accounting.periods import dated
from services.accounting.tax.models import TaxRuleRow
from services.accounting.usage import copies


class TaxService:
    """What finance posts, and sellers read."""

    def __init__(self, runtime: Runtime) -> None:
        self._db = runtime.db
        self._now = runtime.now

    async def post(self, draft: TaxRuleDraft, caller: Caller) -> TaxRule:
        """Raises Invalid, UnknownReference, PeriodFrozen."""
        _check(draft)
        return await self._db.write(post, draft, caller.subject, self._now())

    async def list(self, listing: Listing, sellers: frozenset[str] | None, seller: str | None) -> Page[TaxRule]:
        """Rules of these sellers (None: of all), the last posted first."""
        rows = await self._db.read(_rules, listing, sellers, seller)
        return listing.page([_shown(row) for row in rows], key=lambda rule: (rule.id,))


def post(tx: Session, draft: TaxRuleDraft, subject: str, at: datetime) -> TaxRule:
    """Keep a rule. Raises UnknownReference for a seller that isn't known here, PeriodFrozen."""
    if draft.seller != PLATFORM and not copies.is_party(tx, draft.seller):
        raise unknown("/seller")
    dated.check(tx, draft.starts_at, draft.ends_at)
    rule = TaxRule(id=ids.new("tax"), posted_at=at, posted_by=subject, **dict(draft))
    tx.execute(insert(TaxRuleRow).values(dict(rule)))
    audit.record(tx, subject, "post_tax_rule", rule.id, draft)
    return rule


def _check(draft: TaxRuleDraft) -> None:
    """Raises Invalid for a rule that nothing could go by."""
    if (draft.treatment is TaxTreatment.TAXED) != (draft.rate is not None):
        detail = "Give a rate in hundredths of a percent with treatment taxed, and none with the others"
        raise Invalid(errors=[FieldError(pointer="/rate", code="rate", detail=detail)])
    if (draft.seller == PLATFORM) != (draft.category is SupplyCategory.PLATFORM_SERVICE):
        detail = "Give platform_service for the platform, and compute_service for all other sellers"
        raise Invalid(errors=[FieldError(pointer="/category", code="category", detail=detail)])


def _rules(tx: Session, listing: Listing, sellers: frozenset[str] | None, seller: str | None) -> list[Row[Any]]:
    query = select(*TaxRuleRow.__table__.c).order_by(TaxRuleRow.id.desc()).limit(listing.fetch)
    if sellers is not None:
        query = query.where(TaxRuleRow.seller.in_(sellers))
    if seller is not None:
        query = query.where(TaxRuleRow.seller == seller)
    if listing.after:
        query = query.where(TaxRuleRow.id < listing.after[0])
    return list(tx.execute(query).all())


def _shown(row: Row[Any]) -> TaxRule:
    return TaxRule.model_validate(row._asdict())
