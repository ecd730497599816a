"""HTTP for lines and explanations."""

from typing import Annotated

from caravan.contracts.explanations import DiscountExplanation, Explanation, LineExplanation
from caravan.contracts.ids import JobId, LineId, OrganizationId, PeriodId, ProviderId
from caravan.contracts.statements import Line, PartyId
from caravan.kernel.pages import Page, PageParams
from caravan.kernel.web import Caller, Router, allow, provided
from services.accounting.charging.explaining import ExplanationService, Sees
from services.accounting.charging.reading import LineService

router = Router(prefix="/v1", tags=["charging"])
Lines = Annotated[LineService, provided(LineService)]
Explanations = Annotated[ExplanationService, provided(ExplanationService)]
PartyReader = Annotated[
    Caller,
    allow(
        "a party or finance",
        lambda caller: caller.is_finance or bool(caller.organizations() or caller.providers()),
        *("org/<id>:admin", "org/<id>:member", "provider/<id>:admin", "platform:finance"),
    ),
]


@router.get("/lines")
async def list_lines(
    page: PageParams,
    caller: PartyReader,
    lines: Lines,
    period: PeriodId | None = None,
    organization: OrganizationId | None = None,
    provider: ProviderId | None = None,
    seller: PartyId | None = None,
    job: JobId | None = None,
) -> Page[Line]:
    """List lines in the order they were made: all to finance; to others what their organizations buy or sell, or their providers sell."""
    filters = {"period": period, "organization": organization, "provider": provider, "job": job}
    listing = page.listing("lines", caller, (str,), **filters, seller=seller)
    parties = None if caller.is_finance else (caller.organizations(), caller.providers())
    return await lines.list_lines(listing, parties, seller, **filters)


@router.get("/lines/{line}/explanation")
async def explain_line(
    line: LineId, caller: PartyReader, explanations: Explanations
) -> LineExplanation | DiscountExplanation:
    """Explain a line day by day: which times at which price, what they sum up to, and who bears it. In Chinese and English.

    A volume discount is explained by what of the period's total lies above which threshold.
    """
    return await explanations.line(line, *_sight(caller))


@router.get("/jobs/{job}/explanation")
async def explain_job(job: JobId, caller: PartyReader, explanations: Explanations) -> Explanation:
    """Explain what a job costs, down to the second. A seller sees its own lines only."""
    return await explanations.job(job, *_sight(caller))


def _sight(caller: Caller) -> tuple[Sees, Sees]:
    return (
        lambda organization: caller.is_finance or caller.is_org_member(organization),
        lambda provider: provider in caller.providers(),
    )
