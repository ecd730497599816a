"""Which applications and reimbursements of a programme reviewers have refused, by which rule. Reads alone."""

from itertools import groupby
from typing import Any, Final

from sqlalchemy import Row, Select, Table, func, null, select, union_all
from sqlalchemy.orm import Session

from caravan.contracts.programme_reports import ProgrammeRefusals, RefusedReview, RuleRefusals
from caravan.kernel.database import table_of
from services.accounting.programmes.service import find
from services.accounting.reimbursements.models import ReimbursementReviewRow
from services.accounting.reimbursements.reading import REIMBURSEMENTS
from services.accounting.vouchers.evidence import APPLICATIONS
from services.accounting.vouchers.models import ReviewRow

LAST: Final = 5


def refusals(tx: Session, programme: str) -> ProgrammeRefusals:
    """Raises NotFound."""
    find(tx, programme)
    both = union_all(
        _refused(programme, APPLICATIONS, table_of(ReviewRow), "application"),
        _refused(programme, REIMBURSEMENTS, table_of(ReimbursementReviewRow), "reimbursement"),
    ).subquery()
    rule = func.coalesce(both.c.rule, "")
    newest = both.c.reviewed_at.desc(), func.coalesce(both.c.application, both.c.reimbursement).desc()
    ranked = select(
        both,
        func.count().over(partition_by=rule).label("of_rule"),
        func.row_number().over(partition_by=rule, order_by=newest).label("place"),
    ).subquery()
    order = ranked.c.of_rule.desc(), func.coalesce(ranked.c.rule, ""), ranked.c.place
    rows = tx.execute(select(ranked).where(ranked.c.place <= LAST).order_by(*order)).all()
    by_rule = ((rule, list(own)) for rule, own in groupby(rows, key=lambda row: row.rule))
    items = tuple(
        RuleRefusals(rule=rule, count=own[0].of_rule, last=tuple(_shown(row) for row in own)) for rule, own in by_rule
    )
    return ProgrammeRefusals(programme=programme, items=items)


def _refused(programme: str, asked: Table, reviews: Table, of: str) -> Select[Any]:
    """The reviews that refused something of `asked`, whose id their column `of` has."""
    ids = {"application": null(), "reimbursement": null(), of: reviews.c[of]}
    own = (reviews.c[name] for name in ("stage", "reason", "rule", "remedy", "reviewed_at", "reviewed_by"))
    return (
        select(*(id.label(name) for name, id in ids.items()), asked.c.organization, *own)
        .join(asked, asked.c.id == reviews.c[of])
        .where(asked.c.programme == programme, ~reviews.c.passed)
    )


def _shown(row: Row[Any]) -> RefusedReview:
    return RefusedReview(**{name: getattr(row, name) for name in RefusedReview.model_fields})
