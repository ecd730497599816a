"""Quotes over HTTP."""

from typing import Annotated

from fastapi import Path

from caravan.contracts.ids import QuoteId
from caravan.contracts.problems import NotSupportedHere, UnknownReference
from caravan.contracts.quotes import Quote
from caravan.contracts.spec import JobSpec
from caravan.kernel.pages import Page, PageParams
from caravan.kernel.web import OrgMember, Router, problems, provided
from services.broker.placement.service import QuoteService

router = Router(prefix="/v1", tags=["quotes"])
Quotes = Annotated[QuoteService, provided(QuoteService)]


@router.post("/quotes", status_code=201, responses=problems(NotSupportedHere, UnknownReference))
async def create_quote(spec: JobSpec, caller: OrgMember, quotes: Quotes) -> Quote:
    """Ask where a job could run: candidates with their worst case, and every other offering with the reasons against it."""
    return await quotes.create(spec, caller)


@router.get("/quotes")
async def list_quotes(page: PageParams, caller: OrgMember, quotes: Quotes) -> Page[Quote]:
    """List your organizations' quotes, the newest first."""
    return await quotes.list(caller, page)


@router.get("/quotes/{quote}")
async def get_quote(quote: Annotated[QuoteId, Path()], caller: OrgMember, quotes: Quotes) -> Quote:
    """Read a quote again."""
    return await quotes.get(quote, caller)
