"""HTTP for applications for vouchers."""

from typing import Annotated, Any

from caravan.contracts.ids import ProgrammeId, VoucherApplicationId
from caravan.contracts.problems import (
    AboveCap,
    AlreadyExists,
    NotEligible,
    ProgrammeClosed,
    UnknownReference,
    WrongState,
)
from caravan.contracts.vouchers import (
    ApplicationState,
    EligibilityAnswers,
    EligibilityQuestion,
    Evidence,
    EvidenceName,
    VoucherApplication,
    VoucherApplicationDraft,
)
from caravan.kernel.pages import Page, PageParams
from caravan.kernel.web import (
    Caller,
    IdempotencyKey,
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
from services.accounting.vouchers.evidence import MAX_BYTES, MEDIA_TYPES

router = Router(prefix="/v1", tags=["vouchers"])
Applications = Annotated[ApplicationService, provided(ApplicationService)]
ApplicationReader = Annotated[
    Caller,
    allow(
        "organization member or programmes office",
        lambda caller: caller.is_office or bool(caller.organizations()),
        *("org/<id>:admin", "org/<id>:member", "platform:programmes"),
    ),
]
_BINARY: dict[str, Any] = {"schema": {"type": "string", "format": "binary"}}
_FILE = {"requestBody": {"required": True, "content": {"application/octet-stream": _BINARY}}}
_CONTENT: dict[int | str, dict[str, Any]] = {
    200: {"description": "The file.", "content": dict.fromkeys(MEDIA_TYPES.values(), _BINARY)}
}


def tagged(found: VoucherApplication, response: Response) -> VoucherApplication:
    """With its ETag."""
    response.headers["ETag"] = etag(found.version)
    return found


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
    openapi_extra=_FILE,
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
    responses=_CONTENT,
)
async def get_voucher_evidence(
    application: VoucherApplicationId, name: EvidenceName, caller: ApplicationReader, applications: Applications
) -> Response:
    """Download a file of an application. The ETag is its sha256."""
    found, content = await applications.content(application, name, caller)
    headers = {
        "ETag": f'"{found.sha256}"',
        "Content-Disposition": "attachment",
        "X-Content-Type-Options": "nosniff",
    }
    return Response(content, media_type=found.media_type, headers=headers)
