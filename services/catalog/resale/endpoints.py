"""HTTP for resale agreements."""

from typing import Annotated

from caravan.contracts.ids import ResaleAgreementId
from caravan.contracts.problems import ResaleConflict, UnknownReference
from caravan.contracts.resale import ResaleAgreement, ResaleAgreementDraft, ResaleEnd
from caravan.kernel.pages import Page, PageParams
from caravan.kernel.web import OrgReader, PlatformAdmin, Router, problems, provided
from services.catalog.resale.service import ResaleService

Agreements = Annotated[ResaleService, provided(ResaleService)]

resale_agreements = Router(prefix="/v1", tags=["resale agreements"])


@resale_agreements.post("/resale-agreements", status_code=201, responses=problems(UnknownReference, ResaleConflict))
async def create_resale_agreement(
    draft: ResaleAgreementDraft, caller: PlatformAdmin, service: Agreements
) -> ResaleAgreement:
    """Let an organization sell to its members what it buys: jobs that they submit from then on, where it has a price list.

    At any second an organization has one reseller at most, by one agreement, and no reseller is a member.
    """
    return await service.create(draft, caller)


@resale_agreements.post("/resale-agreements/{agreement}/end", responses=problems(ResaleConflict))
async def end_resale_agreement(
    agreement: ResaleAgreementId, end: ResaleEnd, caller: PlatformAdmin, service: Agreements
) -> ResaleAgreement:
    """Say when an agreement ends; at its start, to cancel it before it begins. Until then that can be set anew; jobs that were
    submitted before it keep their reseller."""
    return await service.end(agreement, end, caller)


@resale_agreements.get("/resale-agreements")
async def list_resale_agreements(page: PageParams, caller: OrgReader, service: Agreements) -> Page[ResaleAgreement]:
    """List agreements: the platform sees all, others those of their organizations, as a member without the other members."""
    return await service.list(caller, page.listing("resale-agreements", caller, (str,)))


@resale_agreements.get("/resale-agreements/{agreement}")
async def get_resale_agreement(agreement: ResaleAgreementId, caller: OrgReader, service: Agreements) -> ResaleAgreement:
    """Read an agreement; as a member without the other members."""
    return await service.get(agreement, caller)
