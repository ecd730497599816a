"""HTTP for the runs at a site."""

from typing import Annotated

from fastapi import Query

from caravan.contracts.base import Second
from caravan.contracts.ids import JobId, SiteId
from caravan.contracts.runs import SiteRuns
from caravan.kernel.clock import to_seconds
from caravan.kernel.pages import PageParams
from caravan.kernel.problems import FieldError, Invalid
from caravan.kernel.web import Router, provided
from services.accounting.imports.endpoints import Importer
from services.accounting.runs.service import RunService

router = Router(prefix="/v1", tags=["usage"])
Runs = Annotated[RunService, provided(RunService)]


@router.get("/sites/{site}/runs")
async def list_site_runs(
    site: SiteId,
    page: PageParams,
    caller: Importer,
    runs: Runs,
    start: Annotated[Second, Query(alias="from", description="The first second.")],
    end: Annotated[Second, Query(alias="to", description="The second after the last one.")],
    job: Annotated[JobId | None, Query(description="Of this job alone.")] = None,
) -> SiteRuns:
    """List the runs that were metered at a site in [from, to), each whole, and the lines of their jobs.

    To finance, and to admins of the site's provider.
    """
    if end <= start:
        raise Invalid(errors=[FieldError(pointer="query/to", code="span", detail="after `from`")])
    listing = page.listing("site-runs", caller, (int, str), site=site, start=start, end=end, job=job)
    return await runs.list(site, to_seconds(start), to_seconds(end), job, listing, caller)
