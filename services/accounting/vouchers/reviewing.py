"""Reviewing, in two stages by two persons. Who applied is neither, nor who has attached evidence."""

from collections.abc import Collection, Iterable
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Row, Table, insert, select
from sqlalchemy.orm import Session

from caravan.contracts.problems import SameReviewer
from caravan.contracts.vouchers import ApplicationState, Evidence, Review, ReviewDraft
from caravan.kernel import audit
from caravan.kernel.database import table_of
from caravan.kernel.tokens import Caller
from services.accounting.vouchers.evidence import EVIDENCE
from services.accounting.vouchers.models import ReviewRow


class Reviews:
    """In `table`, whose column `of` names what they are of."""

    def __init__(self, table: Table, of: str) -> None:
        self._table = table
        self._of = table.c[of]

    def keep(
        self,
        tx: Session,
        of: str,
        asked_by: str,
        files: Iterable[Evidence],
        draft: ReviewDraft,
        subject: str,
        at: datetime,
    ) -> None:
        """Raises SameReviewer for who has asked for it, attached one of its files, or reviewed it before."""
        earlier = self.of(tx, [of])[of]
        if subject in {asked_by, *(one.stored_by for one in files), *(one.reviewed_by for one in earlier)}:
            raise SameReviewer
        made = Review(**dict(draft), stage=len(earlier) + 1, reviewed_at=at, reviewed_by=subject)
        tx.execute(insert(self._table).values(dict(made) | {self._of.name: of}))

    def of(self, tx: Session, these: Collection[str]) -> dict[str, list[Review]]:
        """The reviews of each, in order."""
        found: dict[str, list[Review]] = {one: [] for one in these}
        query = select(self._table).where(self._of.in_(these))
        for row in tx.execute(query.order_by(self._of, self._table.c.stage)):
            values = row._asdict()
            found[values.pop(self._of.name)].append(Review(**values))
        return found


REVIEWS: Final = Reviews(table_of(ReviewRow), "application")
STAGES: Final = {
    ApplicationState.APPLIED: ApplicationState.UNDER_REVIEW,
    ApplicationState.UNDER_REVIEW: ApplicationState.APPROVED,
}
"""What an application becomes that passes."""
LIVING: Final = (*STAGES, ApplicationState.APPROVED)
"""In which an application may still be withdrawn, or refused."""


def record(tx: Session, application: Row[Any], draft: ReviewDraft, caller: Caller, at: datetime) -> ApplicationState:
    """Keep the review of an application that may have it, and give what that becomes. Raises SameReviewer."""
    files = EVIDENCE.of(tx, [application.id])[application.id]
    REVIEWS.keep(tx, application.id, application.applied_by, files, draft, caller.subject, at)
    audit.record(tx, caller.subject, "review_voucher_application", application.id, draft)
    return STAGES[ApplicationState(application.state)] if draft.passed else ApplicationState.REFUSED
