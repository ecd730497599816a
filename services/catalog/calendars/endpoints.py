"""HTTP for calendars."""

from typing import Annotated

from fastapi import Path

from caravan.contracts.prices import Calendar, CalendarYear, Year
from caravan.kernel.pages import Page, PageParams
from caravan.kernel.web import Anyone, PlatformAdmin, Router, provided
from services.catalog.calendars.service import CalendarService

Calendars = Annotated[CalendarService, provided(CalendarService)]

calendars = Router(prefix="/v1", tags=["calendars"])


@calendars.post("/calendars", status_code=201)
async def publish_calendar(year: CalendarYear, caller: PlatformAdmin, service: Calendars) -> Calendar:
    """Publish the holidays and working weekends of a year, all at once.

    Price lists with windows get a new revision that goes by them. Jobs that were placed before keep theirs, with the calendar of then.
    """
    return await service.publish(year, caller)


@calendars.get("/calendars")
async def list_calendars(page: PageParams, caller: Anyone, service: Calendars) -> Page[Calendar]:
    """List the years, the last one first."""
    return await service.list(page.listing("calendars", caller, (int,)))


@calendars.get("/calendars/{year}")
async def get_calendar(year: Annotated[Year, Path()], caller: Anyone, service: Calendars) -> Calendar:
    """Read a year. 404: nobody has published it, and all its days go by their weekday."""
    return await service.get(year)
