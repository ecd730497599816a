"""HTTP for funds: deposits, credit limits, budgets and holds."""

from functools import partial
from typing import Annotated

from fastapi import Query, Response

from caravan.contracts.funds import (
    Budget,
    BudgetChange,
    BudgetDraft,
    CreditLimit,
    CreditLimitDraft,
    Deposit,
    DepositDraft,
    Funds,
    Hold,
    HoldAnswer,
    HoldBatch,
    HoldOutcomes,
    HoldRequest,
    Holds,
)
from caravan.contracts.ids import BudgetId, JobId, OrganizationId, ProjectId
from caravan.contracts.problems import AlreadyExists, HoldOutdated, UnknownReference
from caravan.kernel.pages import Page, PageParams
from caravan.kernel.problems import NotFound
from caravan.kernel.web import (
    BATCH_BYTES,
    Caller,
    Finance,
    IdempotencyKey,
    IfMatch,
    OrgAdmin,
    Router,
    allow,
    etag,
    problems,
    provided,
    stored,
)
from services.accounting.funds.budgets import BudgetService
from services.accounting.funds.service import FundsService

router = Router(prefix="/v1", tags=["funds"])
Service = Annotated[FundsService, provided(FundsService)]
Budgets = Annotated[BudgetService, provided(BudgetService)]
Broker = Annotated[Caller, allow("the broker", lambda caller: caller.is_service("broker"), "service:broker")]
HoldReader = Annotated[
    Caller,
    allow(
        "organization reader or service",
        lambda caller: caller.is_service() or caller.is_platform_reader or bool(caller.organizations()),
        *("org/<id>:admin", "org/<id>:member", "platform:admin", "platform:finance", "service:<name>"),
    ),
]
MoneyReader = Annotated[
    Caller,
    allow(
        "organization member or finance",
        lambda caller: caller.is_finance or bool(caller.organizations()),
        *("org/<id>:admin", "org/<id>:member", "platform:finance"),
    ),
]


def visible(caller: Caller, organization: str | None) -> frozenset[str] | None:
    """Whose money a list shows: all (None) to finance, else the caller's own organizations; one of them when asked for it."""
    if caller.is_finance:
        return None if organization is None else frozenset({organization})
    return caller.organizations() if organization is None else caller.organizations() & {organization}


def check_visible(caller: Caller, organization: str) -> None:
    """Raises NotFound unless the caller may see this organization's money."""
    if not (caller.is_finance or caller.is_org_member(organization)):
        raise NotFound


@router.post("/deposits", status_code=201, response_model=Deposit, responses=problems(AlreadyExists, UnknownReference))
async def record_deposit(draft: DepositDraft, caller: Finance, service: Service, key: IdempotencyKey) -> Response:
    """Record money that came in. A bank reference counts once, whatever the key."""
    return stored(await service.record_deposit(draft, caller, key))


@router.get("/deposits")
async def list_deposits(
    page: PageParams, caller: MoneyReader, service: Service, organization: OrganizationId | None = None
) -> Page[Deposit]:
    """List deposits, the newest first: all to finance, their own to an organization's members."""
    listing = page.listing("deposits", caller, (str,), organization=organization)
    return await service.list_deposits(listing, visible(caller, organization))


@router.get("/funds/{organization}")
async def get_funds(organization: OrganizationId, caller: MoneyReader, service: Service) -> Funds:
    """Read what an organization has, and what of it is free."""
    check_visible(caller, organization)
    return await service.get_funds(organization)


@router.get("/funds/{organization}/credit-limit")
async def get_credit_limit(
    organization: OrganizationId, caller: MoneyReader, service: Service, response: Response
) -> CreditLimit:
    """Read how far an organization may owe."""
    check_visible(caller, organization)
    found = await service.get_credit_limit(organization)
    response.headers["ETag"] = etag(found.version)
    return found


@router.put("/funds/{organization}/credit-limit")
async def set_credit_limit(
    organization: OrganizationId,
    limit: CreditLimitDraft,
    caller: Finance,
    version: IfMatch,
    service: Service,
    response: Response,
) -> CreditLimit:
    """Say how far an organization may owe."""
    found = await service.set_credit_limit(organization, limit, version, caller)
    response.headers["ETag"] = etag(found.version)
    return found


@router.post("/budgets", status_code=201, responses=problems(UnknownReference))
async def create_budget(draft: BudgetDraft, caller: OrgAdmin, budgets: Budgets, response: Response) -> Budget:
    """Limit what an organization, or one of its projects, may spend on jobs submitted in a span of time."""
    budget = await budgets.create(draft, caller)
    response.headers["ETag"] = etag(budget.version)
    return budget


@router.get("/budgets")
async def list_budgets(
    page: PageParams,
    caller: MoneyReader,
    budgets: Budgets,
    organization: OrganizationId | None = None,
    project: ProjectId | None = None,
) -> Page[Budget]:
    """List budgets, the newest first: all to finance, their own to an organization's members."""
    listing = page.listing("budgets", caller, (str,), organization=organization, project=project)
    return await budgets.list(listing, visible(caller, organization), project)


@router.get("/budgets/{budget}")
async def get_budget(budget: BudgetId, caller: MoneyReader, budgets: Budgets, response: Response) -> Budget:
    """Read a budget, with what is charged and held in it now."""
    found = await budgets.get(budget, caller)
    response.headers["ETag"] = etag(found.version)
    return found


@router.put("/budgets/{budget}")
async def update_budget(
    budget: BudgetId, change: BudgetChange, caller: OrgAdmin, version: IfMatch, budgets: Budgets, response: Response
) -> Budget:
    """Change a budget's name or limit."""
    found = await budgets.change(budget, change, version, caller)
    response.headers["ETag"] = etag(found.version)
    return found


@router.put("/holds/{job}", responses=problems(HoldOutdated))
async def put_hold(job: JobId, hold: HoldRequest, caller: Broker, service: Service) -> HoldAnswer:
    """Set money aside for a job, or say which limit is short and what would fit. A refusal is an answer too."""
    return await service.put_hold(job, hold)


@router.post("/holds:batch", max_body_size=BATCH_BYTES)
async def put_holds(batch: HoldBatch, caller: Broker, service: Service) -> HoldOutcomes:
    """Set money aside for many jobs, in one transaction. To repeat it is harmless, as it is for each of them."""
    return await service.put_holds(batch)


@router.get("/holds")
async def list_holds(job: JobId, caller: HoldReader, service: Service) -> Holds:
    """List a job's holds with every step of their lives: whose money is set aside for it, of those whose you may see."""
    return await service.list_holds(job, partial(_may_see, caller))


@router.get("/holds/{job}")
async def get_hold(
    job: JobId,
    caller: HoldReader,
    service: Service,
    organization: Annotated[
        OrganizationId | None,
        Query(
            description="Whose money; null: the job's own organization's, else the reseller's, whichever you may see."
        ),
    ] = None,
) -> Hold:
    """Read a job's hold with every step of its life, or what a reseller holds for what it buys of the job."""

    def allowed(whose: str) -> bool:
        return organization in (None, whose) and _may_see(caller, whose)

    return await service.get_hold(job, allowed)


def _may_see(caller: Caller, whose: str) -> bool:
    return caller.is_service() or caller.is_platform_reader or caller.is_org_member(whose)
