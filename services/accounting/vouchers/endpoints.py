"""HTTP for applications for vouchers, and vouchers."""

from typing import Annotated, Any

from caravan.contracts.ids import OrganizationId, ProgrammeId, VoucherApplicationId, VoucherId
from caravan.contracts.problems import (
    AboveCap,
    AlreadyExists,
    NotEligible,
    PoolExhausted,
    ProgrammeClosed,
    SameReviewer,
    UnknownReference,
    VoucherCap,
    WrongState,
)
from caravan.contracts.vouchers import (
    ApplicationState,
    ClawbackDraft,
    EligibilityAnswers,
    EligibilityQuestion,
    Evidence,
    EvidenceName,
    ReviewDraft,
    RevocationDraft,
    Voucher,
    VoucherApplication,
    VoucherApplicationDraft,
)
from caravan.kernel.pages import Page, PageParams
from caravan.kernel.web import (
    Caller,
    IdempotencyKey,
    IfMatch,
    Office,
    OrgAdmin,
    OrgMember,
    Request,
    Response,
    Router,
    allow,
    etag,
    problems,
    provided,
    stored,
)
from services.accounting.vouchers.applying import ApplicationService
from services.accounting.vouchers.files import MAX_BYTES, MEDIA_TYPES
from services.accounting.vouchers.service import VoucherService

router = Router(prefix="/v1", tags=["vouchers"])
Applications = Annotated[ApplicationService, provided(ApplicationService)]
Vouchers = Annotated[VoucherService, provided(VoucherService)]
ApplicationReader = Annotated[
    Caller,
    allow(
        "organization member or programmes office",
        lambda caller: caller.is_office or bool(caller.organizations()),
        *("org/<id>:admin", "org/<id>:member", "platform:programmes"),
    ),
]
VoucherReader = Annotated[
    Caller,
    allow(
        "organization member, programmes office or finance",
        lambda caller: caller.is_office or caller.is_finance or bool(caller.organizations()),
        *("org/<id>:admin", "org/<id>:member", "platform:programmes", "platform:finance"),
    ),
]
_BINARY: dict[str, Any] = {"schema": {"type": "string", "format": "binary"}}
FILE = {"requestBody": {"required": True, "content": {"application/octet-stream": _BINARY}}}
CONTENT: dict[int | str, dict[str, Any]] = {
    200: {"description": "The file.", "content": dict.fromkeys(MEDIA_TYPES.values(), _BINARY)}
}


def tagged(found: VoucherApplication, response: Response) -> VoucherApplication:
    """With its ETag."""
    response.headers["ETag"] = etag(found.version)
    return found


def download(found: Evidence, content: bytes) -> Response:
    """A file, which no browser shows by itself."""
    headers = {
        "ETag": f'"{found.sha256}"',
        "Content-Disposition": "attachment",
        "X-Content-Type-Options": "nosniff",
    }
    return Response(content, media_type=found.media_type, headers=headers)


@router.post("/eligibility", responses=problems(UnknownReference))
async def check_eligibility(
    question: EligibilityQuestion, caller: OrgMember, applications: Applications
) -> EligibilityAnswers:
    """Ask what your organization may apply for now, and why not for the rest. Nothing is stored."""
    return await applications.ask(question, caller)


@router.post(
    "/voucher-applications",
    status_code=201,
    response_model=VoucherApplication,
    responses=problems(UnknownReference, NotEligible, ProgrammeClosed, AboveCap, AlreadyExists),
)
async def apply_for_voucher(
    draft: VoucherApplicationDraft, caller: OrgAdmin, applications: Applications, key: IdempotencyKey
) -> Response:
    """Apply for a voucher of a programme. What the rules don't allow is refused at once, and nothing is stored of it.

    Add evidence then, before the review begins.
    """
    return stored(await applications.apply(draft, caller, key))


@router.get("/voucher-applications")
async def list_voucher_applications(
    page: PageParams,
    caller: ApplicationReader,
    applications: Applications,
    state: ApplicationState | None = None,
    programme: ProgrammeId | None = None,
) -> Page[VoucherApplication]:
    """List applications, the oldest first: all to the office, to members their organization's."""
    listing = page.listing("voucher_applications", caller, (str,), state=state, programme=programme)
    return await applications.list(listing, caller, state, programme)


@router.get("/voucher-applications/{application}")
async def get_voucher_application(
    application: VoucherApplicationId, caller: ApplicationReader, applications: Applications, response: Response
) -> VoucherApplication:
    """Read an application, with its evidence."""
    return tagged(await applications.get(application, caller), response)


@router.post("/voucher-applications/{application}/withdraw", responses=problems(WrongState))
async def withdraw_voucher_application(
    application: VoucherApplicationId, caller: OrgAdmin, applications: Applications, response: Response
) -> VoucherApplication:
    """Take an application back, before a voucher is issued."""
    return tagged(await applications.withdraw(application, caller), response)


@router.put(
    "/voucher-applications/{application}/evidence/{name}",
    max_body_size=MAX_BYTES,
    openapi_extra=FILE,
    responses=problems(WrongState),
)
async def store_voucher_evidence(
    application: VoucherApplicationId,
    name: EvidenceName,
    caller: OrgAdmin,
    applications: Applications,
    request: Request,
    response: Response,
) -> Evidence:
    """Add a file to an application, or replace it, until the review begins. Its ending says what it is; 8 MiB at most, of 20 files."""
    found = await applications.store(application, name, await request.body(), caller)
    response.headers["ETag"] = f'"{found.sha256}"'
    return found


@router.get(
    "/voucher-applications/{application}/evidence/{name}",
    response_class=Response,
    responses=CONTENT,
)
async def get_voucher_evidence(
    application: VoucherApplicationId, name: EvidenceName, caller: ApplicationReader, applications: Applications
) -> Response:
    """Download a file of an application. The ETag is its sha256."""
    return download(*await applications.content(application, name, caller))


@router.post("/voucher-applications/{application}/review", responses=problems(WrongState, SameReviewer))
async def review_voucher_application(
    application: VoucherApplicationId,
    review: ReviewDraft,
    caller: Office,
    version: IfMatch,
    applications: Applications,
    response: Response,
) -> VoucherApplication:
    """Say whether an application passes, as you read it: two persons do, one after the other. What doesn't pass is refused for good.

    What both have passed a third person may still refuse, until a voucher is issued.
    """
    return tagged(await applications.review(application, review, version, caller), response)


@router.post(
    "/voucher-applications/{application}/issue",
    responses=problems(WrongState, AlreadyExists, VoucherCap, PoolExhausted),
)
async def issue_voucher(application: VoucherApplicationId, caller: Office, vouchers: Vouchers) -> Voucher:
    """Issue the voucher that was applied for and approved. This year's pool must cover it."""
    return await vouchers.issue(application, caller)


@router.get("/vouchers")
async def list_vouchers(
    page: PageParams,
    caller: VoucherReader,
    vouchers: Vouchers,
    organization: OrganizationId | None = None,
    programme: ProgrammeId | None = None,
) -> Page[Voucher]:
    """List vouchers, the newest first: all to the office and finance, to members their organization's."""
    listing = page.listing("vouchers", caller, (str,), organization=organization, programme=programme)
    return await vouchers.list(listing, caller, organization, programme)


@router.get("/vouchers/{voucher}")
async def get_voucher(voucher: VoucherId, caller: VoucherReader, vouchers: Vouchers) -> Voucher:
    """Read a voucher."""
    return await vouchers.get(voucher, caller)


@router.post("/vouchers/{voucher}/revoke", responses=problems(WrongState))
async def revoke_voucher(voucher: VoucherId, draft: RevocationDraft, caller: Office, vouchers: Vouchers) -> Voucher:
    """End a voucher before its time. What is neither redeemed nor pledged with a hold, the pool of its year has again."""
    return await vouchers.revoke(voucher, draft, caller)


@router.post("/vouchers/{voucher}/claw-back", response_model=Voucher)
async def claw_back_voucher(
    voucher: VoucherId, draft: ClawbackDraft, caller: Office, vouchers: Vouchers, key: IdempotencyKey
) -> Response:
    """Take back what a voucher has paid of closed periods: the organization owes it again, on its next statement.

    Never more than is left of what was paid. The voucher's pool has it again, and the voucher doesn't.
    """
    return stored(await vouchers.claw_back(voucher, draft, caller, key))
