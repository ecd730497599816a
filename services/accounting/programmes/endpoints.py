"""HTTP for programmes."""

from typing import Annotated

from caravan.contracts.ids import ProgrammeId
from caravan.contracts.problems import UnknownReference, WrongState
from caravan.contracts.programmes import PoolsDraft, Programme, ProgrammeDraft
from caravan.kernel.pages import Page, PageParams
from caravan.kernel.web import Anyone, IfMatch, Office, Response, Router, etag, problems, provided
from services.accounting.programmes.service import ProgrammeService

router = Router(prefix="/v1", tags=["programmes"])
Programmes = Annotated[ProgrammeService, provided(ProgrammeService)]


def _tagged(found: Programme, response: Response) -> Programme:
    response.headers["ETag"] = etag(found.version)
    return found


@router.post("/programmes", status_code=201, responses=problems(UnknownReference))
async def create_programme(
    draft: ProgrammeDraft, caller: Office, programmes: Programmes, response: Response
) -> Programme:
    """Draft a programme. Only the office sees it until it is published."""
    return _tagged(await programmes.create(draft, caller), response)


@router.put("/programmes/{programme}", responses=problems(UnknownReference, WrongState))
async def update_programme(
    programme: ProgrammeId,
    draft: ProgrammeDraft,
    caller: Office,
    version: IfMatch,
    programmes: Programmes,
    response: Response,
) -> Programme:
    """Replace a draft."""
    return _tagged(await programmes.change(programme, draft, version, caller), response)


@router.post("/programmes/{programme}/publish", responses=problems(WrongState))
async def publish_programme(
    programme: ProgrammeId, caller: Office, version: IfMatch, programmes: Programmes, response: Response
) -> Programme:
    """Publish a draft as you read it. From then on its terms never change; enterprises may apply while it runs."""
    return _tagged(await programmes.publish(programme, version, caller), response)


@router.put("/programmes/{programme}/pools")
async def set_programme_pools(
    programme: ProgrammeId,
    pools: PoolsDraft,
    caller: Office,
    version: IfMatch,
    programmes: Programmes,
    response: Response,
) -> Programme:
    """Say anew what may be issued in each year, also when it is published; never less than is committed of a year."""
    return _tagged(await programmes.set_pools(programme, pools, version, caller), response)


@router.get("/programmes")
async def list_programmes(page: PageParams, caller: Anyone, programmes: Programmes) -> Page[Programme]:
    """List programmes, the newest first: what is published; drafts to the office alone."""
    return await programmes.list(page.listing("programmes", caller, (str,)), caller)


@router.get("/programmes/{programme}")
async def get_programme(
    programme: ProgrammeId, caller: Anyone, programmes: Programmes, response: Response
) -> Programme:
    """Read a programme, with what of its pools is committed."""
    return _tagged(await programmes.get(programme, caller), response)
