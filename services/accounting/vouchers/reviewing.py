"""Reviewing applications, in two stages by two persons. Who applied is neither."""

from collections.abc import Collection
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Row, insert, select
from sqlalchemy.orm import Session

from caravan.contracts.problems import SameReviewer
from caravan.contracts.vouchers import ApplicationState, Review, ReviewDraft
from caravan.kernel import audit
from caravan.kernel.database import table_of
from caravan.kernel.tokens import Caller
from services.accounting.vouchers.models import ReviewRow

REVIEWS = table_of(ReviewRow)
STAGES: Final = {
    ApplicationState.APPLIED: ApplicationState.UNDER_REVIEW,
    ApplicationState.UNDER_REVIEW: ApplicationState.APPROVED,
}
"""What an application becomes that passes."""


def record(tx: Session, application: Row[Any], draft: ReviewDraft, caller: Caller, at: datetime) -> ApplicationState:
    """Keep the review of an application in one of STAGES, and give what that becomes. Raises SameReviewer."""
    earlier = reviews_of(tx, [application.id])[application.id]
    if caller.subject in {application.applied_by, *(one.reviewed_by for one in earlier)}:
        raise SameReviewer
    made = Review(**dict(draft), stage=len(earlier) + 1, reviewed_at=at, reviewed_by=caller.subject)
    tx.execute(insert(REVIEWS).values(dict(made) | {"application": application.id}))
    audit.record(tx, caller.subject, "review_voucher_application", application.id, draft)
    return STAGES[ApplicationState(application.state)] if draft.passed else ApplicationState.REFUSED


def reviews_of(tx: Session, applications: Collection[str]) -> dict[str, list[Review]]:
    """The reviews of each application, in order."""
    found: dict[str, list[Review]] = {one: [] for one in applications}
    query = select(REVIEWS).where(REVIEWS.c.application.in_(applications))
    for row in tx.execute(query.order_by(REVIEWS.c.application, REVIEWS.c.stage)):
        values = row._asdict()
        found[values.pop("application")].append(Review(**values))
    return found
