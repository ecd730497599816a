"""HTTP for what programmes reimburse."""

from typing import Annotated

from caravan.contracts.ids import OrganizationId, ProgrammeId, ReimbursementId
from caravan.contracts.problems import (
    AlreadyExists,
    EvidenceNeeded,
    NothingDue,
    NothingOwed,
    SameReviewer,
    UnknownReference,
    WrongState,
)
from caravan.contracts.reimbursements import (
    Reimbursables,
    ReimbursedLine,
    Reimbursement,
    ReimbursementDraft,
    ReimbursementPaymentDraft,
    ReimbursementState,
    RepaymentDraft,
)
from caravan.contracts.vouchers import Evidence, EvidenceName, ReviewDraft
from caravan.kernel.pages import Page, PageParams
from caravan.kernel.web import (
    Finance,
    IdempotencyKey,
    IfMatch,
    Office,
    OrgAdmin,
    Request,
    Response,
    Router,
    etag,
    problems,
    provided,
    stored,
)
from services.accounting.reimbursements.service import ReimbursementService
from services.accounting.vouchers.endpoints import CONTENT, FILE, VoucherReader, download
from services.accounting.vouchers.files import MAX_BYTES

router = Router(prefix="/v1", tags=["reimbursements"])
Service = Annotated[ReimbursementService, provided(ReimbursementService)]


def tagged(found: Reimbursement, response: Response) -> Reimbursement:
    """With its ETag."""
    response.headers["ETag"] = etag(found.version)
    return found


@router.get("/reimbursable/{organization}")
async def get_reimbursable(organization: OrganizationId, caller: VoucherReader, service: Service) -> Reimbursables:
    """Read what an organization may claim now of programmes that reimburse, and what waits until a span of claims is over."""
    return await service.reimbursable(organization, caller)


@router.post(
    "/reimbursements",
    status_code=201,
    response_model=Reimbursement,
    responses=problems(UnknownReference, AlreadyExists, NothingDue),
)
async def file_reimbursement(
    draft: ReimbursementDraft, caller: OrgAdmin, service: Service, key: IdempotencyKey
) -> Response:
    """Claim all that is due now by a programme. Its amounts stay as they are; one at a time is reviewed and paid.

    Add proof of payment then, before the review begins.
    """
    return stored(await service.file(draft, caller, key))


@router.post(
    "/reimbursements/repay",
    status_code=201,
    response_model=Reimbursement,
    responses=problems(UnknownReference, AlreadyExists, NothingOwed),
)
async def repay_reimbursement(
    repayment: RepaymentDraft, caller: Finance, service: Service, key: IdempotencyKey
) -> Response:
    """Record that an organization has paid back what was taken back of what it had been paid. Nothing is posted to the ledger.

    What isn't paid back is set off against what is due next.
    """
    return stored(await service.repay(repayment, caller, key))


@router.get("/reimbursements")
async def list_reimbursements(
    page: PageParams,
    caller: VoucherReader,
    service: Service,
    state: ReimbursementState | None = None,
    organization: OrganizationId | None = None,
    programme: ProgrammeId | None = None,
) -> Page[Reimbursement]:
    """List what was filed, the oldest first: all to the office and finance, to members their organization's."""
    filters = {"state": state, "organization": organization, "programme": programme}
    listing = page.listing("reimbursements", caller, (str,), **filters)
    return await service.list(listing, caller, state, organization, programme)


@router.get("/reimbursements/{reimbursement}")
async def get_reimbursement(
    reimbursement: ReimbursementId, caller: VoucherReader, service: Service, response: Response
) -> Reimbursement:
    """Read what was filed, by span."""
    return tagged(await service.get(reimbursement, caller), response)


@router.get("/reimbursements/{reimbursement}/lines")
async def list_reimbursed_lines(
    reimbursement: ReimbursementId, page: PageParams, caller: VoucherReader, service: Service
) -> Page[ReimbursedLine]:
    """List the lines of what was filed. One that is refused or withdrawn has none any more: they may be filed anew."""
    listing = page.listing("reimbursed_lines", caller, (str, str), reimbursement=reimbursement)
    return await service.lines(reimbursement, listing, caller)


@router.post("/reimbursements/{reimbursement}/withdraw", responses=problems(WrongState))
async def withdraw_reimbursement(
    reimbursement: ReimbursementId, caller: OrgAdmin, service: Service, response: Response
) -> Reimbursement:
    """Take back what was filed, before it is approved. It may be filed anew."""
    return tagged(await service.withdraw(reimbursement, caller), response)


@router.put(
    "/reimbursements/{reimbursement}/evidence/{name}",
    max_body_size=MAX_BYTES,
    openapi_extra=FILE,
    responses=problems(WrongState),
)
async def store_reimbursement_evidence(
    reimbursement: ReimbursementId,
    name: EvidenceName,
    caller: OrgAdmin,
    service: Service,
    request: Request,
    response: Response,
) -> Evidence:
    """Add proof of payment, or replace it, until the review begins. Its ending says what it is; 8 MiB at most, of 20 files."""
    found = await service.store(reimbursement, name, await request.body(), caller)
    response.headers["ETag"] = f'"{found.sha256}"'
    return found


@router.get(
    "/reimbursements/{reimbursement}/evidence/{name}",
    response_class=Response,
    responses=CONTENT,
)
async def get_reimbursement_evidence(
    reimbursement: ReimbursementId, name: EvidenceName, caller: VoucherReader, service: Service
) -> Response:
    """Download a file. The ETag is its sha256."""
    return download(*await service.content(reimbursement, name, caller))


@router.post("/reimbursements/{reimbursement}/review", responses=problems(WrongState, SameReviewer, EvidenceNeeded))
async def review_reimbursement(
    reimbursement: ReimbursementId,
    review: ReviewDraft,
    caller: Office,
    version: IfMatch,
    service: Service,
    response: Response,
) -> Reimbursement:
    """Say whether it passes, as you read it: two persons do, one after the other. What is refused may be filed anew.

    None passes without evidence. What both have passed a third person may still refuse, until it is paid.
    """
    return tagged(await service.review(reimbursement, review, version, caller), response)


@router.post("/reimbursements/{reimbursement}/pay", response_model=Reimbursement, responses=problems(WrongState))
async def pay_reimbursement(
    reimbursement: ReimbursementId,
    payment: ReimbursementPaymentDraft,
    caller: Finance,
    service: Service,
    key: IdempotencyKey,
) -> Response:
    """Record that what was approved is paid to the organization: vouchers have redeemed it then. Nothing is posted to the ledger."""
    return stored(await service.pay(reimbursement, payment, caller, key))
