"""Which applications of a programme reviewers have refused, by which rule. Reads alone."""

from itertools import groupby
from typing import Any, Final

from sqlalchemy import Row, func, select
from sqlalchemy.orm import Session

from caravan.contracts.programme_reports import ProgrammeRefusals, RefusedReview, RuleRefusals
from caravan.kernel.database import table_of
from services.accounting.programmes.service import find
from services.accounting.vouchers.evidence import APPLICATIONS
from services.accounting.vouchers.models import ReviewRow

REVIEWS = table_of(ReviewRow)
LAST: Final = 5


def refusals(tx: Session, programme: str) -> ProgrammeRefusals:
    """Raises NotFound."""
    find(tx, programme)
    rule = func.coalesce(REVIEWS.c.rule, "")
    newest = REVIEWS.c.reviewed_at.desc(), REVIEWS.c.application.desc()
    ranked = (
        select(REVIEWS, APPLICATIONS.c.organization)
        .add_columns(
            func.count().over(partition_by=rule).label("of_rule"),
            func.row_number().over(partition_by=rule, order_by=newest).label("place"),
        )
        .join(APPLICATIONS, APPLICATIONS.c.id == REVIEWS.c.application)
        .where(APPLICATIONS.c.programme == programme, ~REVIEWS.c.passed)
        .subquery()
    )
    order = ranked.c.of_rule.desc(), func.coalesce(ranked.c.rule, ""), ranked.c.place
    rows = tx.execute(select(ranked).where(ranked.c.place <= LAST).order_by(*order)).all()
    by_rule = ((rule, list(own)) for rule, own in groupby(rows, key=lambda row: row.rule))
    items = tuple(
        RuleRefusals(rule=rule, count=own[0].of_rule, last=tuple(_shown(row) for row in own)) for rule, own in by_rule
    )
    return ProgrammeRefusals(programme=programme, items=items)


def _shown(row: Row[Any]) -> RefusedReview:
    return RefusedReview(**{name: getattr(row, name) for name in RefusedReview.model_fields})
