"""HTTP for organizations, projects and providers."""

from typing import Annotated

from caravan.contracts.ids import OrganizationId, ProjectId, ProviderId
from caravan.contracts.parties import (
    Organization,
    OrganizationDraft,
    Project,
    ProjectDraft,
    Provider,
    ProviderDraft,
    ProviderState,
)
from caravan.contracts.problems import AlreadyExists, UnknownReference, WrongState
from caravan.kernel.pages import Page, PageParams
from caravan.kernel.web import (
    Anyone,
    IfMatch,
    OrgAdmin,
    PlatformAdmin,
    Response,
    Router,
    etag,
    problems,
    provided,
)
from services.catalog.parties.service import OrganizationService, ProjectService, ProviderService

Organizations = Annotated[OrganizationService, provided(OrganizationService)]
Projects = Annotated[ProjectService, provided(ProjectService)]
Providers = Annotated[ProviderService, provided(ProviderService)]

organizations = Router(prefix="/v1", tags=["organizations"])
projects = Router(prefix="/v1", tags=["projects"])
providers = Router(prefix="/v1", tags=["providers"])


@organizations.post("/organizations", status_code=201, responses=problems(AlreadyExists))
async def create_organization(
    draft: OrganizationDraft, caller: PlatformAdmin, service: Organizations, response: Response
) -> Organization:
    """Register an enterprise. Its unified social credit code, where it has one, is checked and stands only once."""
    organization = await service.create(draft, caller)
    response.headers["ETag"] = etag(organization.version)
    return organization


@organizations.get("/organizations")
async def list_organizations(page: PageParams, caller: Anyone, service: Organizations) -> Page[Organization]:
    """List organizations: the platform sees all, others those they belong to."""
    return await service.list(caller, page.listing("organizations", caller, (str,)))


@organizations.get("/organizations/{organization}")
async def get_organization(
    organization: OrganizationId, caller: Anyone, service: Organizations, response: Response
) -> Organization:
    """Read an organization."""
    found = await service.get(organization, caller)
    response.headers["ETag"] = etag(found.version)
    return found


@organizations.put("/organizations/{organization}", responses=problems(AlreadyExists))
async def update_organization(
    organization: OrganizationId,
    draft: OrganizationDraft,
    caller: PlatformAdmin,
    version: IfMatch,
    service: Organizations,
    response: Response,
) -> Organization:
    """Replace an organization's name, credit code and price class. Attempts that are placed keep the class that they were placed in."""
    changed = await service.update(organization, draft, caller, version)
    response.headers["ETag"] = etag(changed.version)
    return changed


@projects.post("/projects", status_code=201, responses=problems(UnknownReference))
async def create_project(draft: ProjectDraft, caller: OrgAdmin, service: Projects, response: Response) -> Project:
    """Open a project in an organization that you administer."""
    project = await service.create(draft, caller)
    response.headers["ETag"] = etag(project.version)
    return project


@projects.get("/projects")
async def list_projects(
    page: PageParams, caller: Anyone, service: Projects, organization: OrganizationId | None = None
) -> Page[Project]:
    """List projects: the platform sees all, others those of their organizations."""
    return await service.list(organization, caller, page.listing("projects", caller, (str,), organization=organization))


@projects.get("/projects/{project}")
async def get_project(project: ProjectId, caller: Anyone, service: Projects, response: Response) -> Project:
    """Read a project."""
    found = await service.get(project, caller)
    response.headers["ETag"] = etag(found.version)
    return found


@projects.put("/projects/{project}")
async def update_project(
    project: ProjectId, draft: ProjectDraft, caller: OrgAdmin, version: IfMatch, service: Projects, response: Response
) -> Project:
    """Rename a project. It stays with its organization."""
    changed = await service.update(project, draft, caller, version)
    response.headers["ETag"] = etag(changed.version)
    return changed


@providers.post("/providers", status_code=201)
async def apply_provider(draft: ProviderDraft, caller: Anyone, service: Providers, response: Response) -> Provider:
    """Apply to sell capacity. The platform's operator decides."""
    provider = await service.apply(draft, caller)
    response.headers["ETag"] = etag(provider.version)
    return provider


@providers.get("/providers")
async def list_providers(
    page: PageParams, caller: Anyone, service: Providers, state: ProviderState | None = None
) -> Page[Provider]:
    """List providers: everybody sees approved ones; the platform, their admins and applicants see the others too."""
    return await service.list(caller, state, page.listing("providers", caller, (str,), state=state))


@providers.get("/providers/{provider}")
async def get_provider(provider: ProviderId, caller: Anyone, service: Providers, response: Response) -> Provider:
    """Read a provider."""
    found = await service.get(provider, caller)
    response.headers["ETag"] = etag(found.version)
    return found


@providers.post("/providers/{provider}/approve", responses=problems(WrongState))
async def approve_provider(
    provider: ProviderId, caller: PlatformAdmin, service: Providers, response: Response
) -> Provider:
    """Let a provider sell: an applicant, or one that was suspended."""
    changed = await service.move(provider, "approve_provider", caller)
    response.headers["ETag"] = etag(changed.version)
    return changed


@providers.post("/providers/{provider}/suspend", responses=problems(WrongState))
async def suspend_provider(
    provider: ProviderId, caller: PlatformAdmin, service: Providers, response: Response
) -> Provider:
    """Stop a provider from selling. What runs on its sites goes on to its end; nothing new is placed there."""
    changed = await service.move(provider, "suspend_provider", caller)
    response.headers["ETag"] = etag(changed.version)
    return changed
