"""HTTP for imported usage and for sums of usage."""

from datetime import date
from typing import Annotated
from zoneinfo import ZoneInfo

from fastapi import Query

from caravan.contracts.ids import SiteId
from caravan.contracts.imports import By, ImportBatch, ImportOutcome, UsageSums
from caravan.contracts.prices import Component
from caravan.contracts.problems import UnknownReference
from caravan.kernel.local_days import zone_named
from caravan.kernel.problems import FieldError, Invalid
from caravan.kernel.web import Caller, Router, allow, problems, provided
from services.accounting.charging.endpoints import PartyReader
from services.accounting.imports.service import Asked, ImportService

router = Router(prefix="/v1", tags=["usage"])
Imports = Annotated[ImportService, provided(ImportService)]
Importer = Annotated[
    Caller,
    allow(
        "provider admin or finance",
        lambda caller: caller.is_finance or bool(caller.providers()),
        *("provider/<id>:admin", "platform:finance"),
    ),
]
MAX_DAYS = 1000


@router.post("/imported-usage", responses=problems(UnknownReference))
async def import_usage(batch: ImportBatch, caller: Importer, imports: Imports) -> ImportOutcome:
    """Keep runs by a site's own books, to be summed and never charged. The same again changes nothing; another content replaces."""
    return await imports.add(batch, caller)


@router.get("/usage")
async def sum_usage(
    caller: PartyReader,
    imports: Imports,
    by: By,
    first: Annotated[date, Query(alias="from", description="The first day.")],
    end: Annotated[date, Query(alias="to", description="The day after the last one; 1,000 days later at most.")],
    zone: Annotated[str, Query(max_length=64, description="Whose midnights part the days.")] = "Asia/Shanghai",
    component: Annotated[
        tuple[Component, ...], Query(description="Without: all but `job`, which has no seconds.")
    ] = (),
    site: SiteId | None = None,
) -> UsageSums:
    """Sum usage, metered and imported, exactly. A run that was metered and imported counts once.

    All to finance; to others what their organizations used, and what ran on their providers' sites.
    """
    if not 0 < (end - first).days <= MAX_DAYS:
        raise Invalid(errors=[FieldError(pointer="query/to", code="span", detail="1 to 1,000 days after `from`")])
    return await imports.sums(Asked(by, _zone(zone), first, end, frozenset(component), site), caller)


def _zone(name: str) -> ZoneInfo:
    try:
        return zone_named(name)
    except ValueError:
        detail = "a name of the IANA database, like Asia/Shanghai"
        raise Invalid(errors=[FieldError(pointer="query/zone", code="zone", detail=detail)]) from None
