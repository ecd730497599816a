"""What a run would cost, explained by the newest price list of an offering."""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

from sqlalchemy.orm import Session

from caravan.contracts.explanations import ExplainedPrice, PriceExplanation, PriceQuestion, TimeSpan
from caravan.contracts.modes import SiteMode
from caravan.contracts.problems import NotPriced
from caravan.contracts.usage import Span
from caravan.kernel.clock import from_seconds, to_seconds
from caravan.kernel.database import Database, database_now
from caravan.kernel.money import Money
from caravan.kernel.problems import FieldError, Invalid
from caravan.kernel.tokens import Caller
from caravan.pricing import options_of, prices_for, uncovered
from caravan.pricing.explained import explained_span
from caravan.pricing.explained_words import Kind, whole
from services.catalog.offerings.models import OfferingRow
from services.catalog.offerings.service import sees_offering
from services.catalog.prices.lists import selling
from services.catalog.prices.seeing import buyer_of
from services.catalog.reading import referred
from services.catalog.sites.models import AcceleratorRow


class PriceExplanationService:
    """Explains prices before anything runs."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def explain(self, question: PriceQuestion, caller: Caller) -> PriceExplanation:
        """Raises UnknownReference for an offering that the caller may not see or an organization that he isn't in, Invalid for
        accelerators or options that the offering doesn't have or where he must name one, NotPriced.
        """
        return await self._db.read(self._explain, question, caller)

    def _explain(self, tx: Session, question: PriceQuestion, caller: Caller) -> PriceExplanation:
        offering = referred(tx, OfferingRow, question.offering, "/offering", lambda row: sees_offering(caller, row))
        shape = question.shape
        if shape.accelerators and offering.accelerator is None:
            detail = "This offering has no accelerators: ask for 0."
            raise Invalid(errors=[FieldError(pointer="/shape/accelerators", code="no_accelerators", detail=detail)])
        accelerator = offering.accelerator if shape.accelerators else None
        span = Span(
            start=question.start,
            end=_end(question),
            accelerator=accelerator,
            **shape.model_dump(),
        )
        start, end = to_seconds(span.start), to_seconds(span.end)
        now = database_now(tx)
        buyer = buyer_of(tx, question.organization, caller, "/organization", now)
        price_list = selling(tx, offering.id, buyer.organization, now)
        if price_list is not None:
            target = {**offering.target, **_chosen(question, offering)}
            buyer = buyer.model_copy(update={"options": options_of(price_list, target)})
        gaps = [(start, end)] if price_list is None else uncovered(prices_for(price_list, buyer), start, end)
        if price_list is None or gaps:
            raise NotPriced(uncovered=tuple(TimeSpan(start=from_seconds(a), end=from_seconds(b)) for a, b in gaps))
        row = tx.get(AcceleratorRow, accelerator) if accelerator else None
        kind = row.shown() if row else None
        found = explained_span(span, price_list, buyer, Kind(kind.name, kind.unit) if kind else None)
        prices = tuple(one for one in found if one.arithmetic.unit_price or one.mode is SiteMode.TRACKED)
        priced = {one.component for one in prices}
        free = tuple(dict.fromkeys(one.component for one in found if one.component not in priced))
        total = _sum(one for one in prices if one.mode is SiteMode.BILLED)
        notional = _sum(one for one in prices if one.mode is not SiteMode.BILLED)
        return PriceExplanation(
            offering=offering.id,
            start=span.start,
            end=span.end,
            price_list=price_list.id,
            revision=price_list.revision,
            prices=prices,
            free=free,
            total=total,
            notional=notional,
            words=whole(start, question.seconds, price_list, total, notional, free),
        )


def _sum(prices: Iterable[ExplainedPrice]) -> Money:
    return Money(sum(one.arithmetic.amount.fen for one in prices))


def _chosen(question: PriceQuestion, offering: OfferingRow) -> Mapping[str, str]:
    errors = [
        FieldError(
            pointer=f"/options/{field}",
            code="option",
            detail="This offering doesn't leave that to jobs: choose of its `choices`, or leave it out.",
        )
        for field, value in question.options.items()
        if value not in offering.choices.get(field, ())
    ]
    if errors:
        raise Invalid(errors=errors)
    return question.options


def _end(question: PriceQuestion) -> datetime:
    try:
        return question.start + timedelta(seconds=question.seconds)
    except OverflowError:
        detail = "That ends after the year 9999: begin earlier."
        raise Invalid(errors=[FieldError(pointer="/start", code="datetime_range", detail=detail)]) from None
