"""HTTP for price corrections."""

from typing import Annotated

from fastapi import Response

from caravan.contracts.corrections import Correction, CorrectionDetail, CorrectionDraft
from caravan.contracts.ids import CorrectionId, OfferingId
from caravan.contracts.problems import SecondPersonNeeded, UnknownReference, WrongState
from caravan.kernel.pages import Page, PageParams
from caravan.kernel.web import Finance, IdempotencyKey, Router, problems, provided, stored
from services.accounting.charging.endpoints import PartyReader
from services.accounting.corrections.service import CorrectionService

router = Router(prefix="/v1", tags=["price corrections"])
Corrections = Annotated[CorrectionService, provided(CorrectionService)]


@router.post(
    "/price-corrections", status_code=201, response_model=CorrectionDetail, responses=problems(UnknownReference)
)
async def propose_price_correction(
    draft: CorrectionDraft, caller: Finance, corrections: Corrections, key: IdempotencyKey
) -> Response:
    """Propose that a span of an offering's time is priced by another of its price lists. Its preview says what that comes to."""
    return stored(await corrections.propose(draft, caller, key))


@router.get("/price-corrections")
async def list_price_corrections(
    page: PageParams, caller: PartyReader, corrections: Corrections, offering: OfferingId | None = None
) -> Page[Correction]:
    """List corrections, the newest first: all to finance, those of its offerings to a provider, to an organization approved ones
    that change what it pays.
    """
    listing = page.listing("price_corrections", caller, (str,), offering=offering)
    return await corrections.list(listing, caller, offering)


@router.get("/price-corrections/{correction}")
async def get_price_correction(
    correction: CorrectionId, caller: PartyReader, corrections: Corrections
) -> CorrectionDetail:
    """Read a correction with its preview: who pays how much more or less. An organization sees its own share."""
    return await corrections.get(correction, caller)


@router.post("/price-corrections/{correction}/approve", responses=problems(SecondPersonNeeded, WrongState))
async def approve_price_correction(
    correction: CorrectionId, caller: Finance, corrections: Corrections
) -> CorrectionDetail:
    """Approve what another person has proposed, once its preview is complete. Jobs are then charged anew, one after another."""
    return await corrections.approve(correction, caller)


@router.post("/price-corrections/{correction}/reject", responses=problems(WrongState))
async def reject_price_correction(
    correction: CorrectionId, caller: Finance, corrections: Corrections
) -> CorrectionDetail:
    """Drop a proposal. One that is approved is undone by another correction, to the list that was right."""
    return await corrections.reject(correction, caller)
