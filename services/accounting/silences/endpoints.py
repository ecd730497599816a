"""HTTP for silences."""

from typing import Annotated

from caravan.contracts.ids import SiteId
from caravan.contracts.silences import Silence
from caravan.kernel.pages import Page, PageParams
from caravan.kernel.web import Router, provided
from services.accounting.imports.endpoints import Importer
from services.accounting.silences.service import SilenceService

router = Router(prefix="/v1", tags=["usage"])


@router.get("/silences")
async def list_silences(
    page: PageParams,
    caller: Importer,
    silences: Annotated[SilenceService, provided(SilenceService)],
    site: SiteId | None = None,
    lasting: bool | None = None,
) -> Page[Silence]:
    """List when sites went silent, the last found first: all to finance, to a provider's admins its own. `lasting`: without an end yet."""
    listing = page.listing("silences", caller, (str,), site=site, lasting=lasting)
    return await silences.list(listing, caller, site, lasting)
