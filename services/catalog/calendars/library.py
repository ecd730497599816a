"""What the library chinesecalendar knows of China's public holidays: the years that the State Council has arranged."""

from collections.abc import Mapping
from datetime import date

from chinese_calendar.constants import Holiday, holidays, workdays

from caravan.contracts.prices import CalendarYear


def known_years() -> list[CalendarYear]:
    """All years that it covers whole, with the names of the holidays in Chinese."""
    return [
        CalendarYear(year=year, holidays=_named(holidays, year), working_weekends=_named(workdays, year))
        for year in sorted({day.year for day in holidays})
    ]


def _named(days: Mapping[date, str], year: int) -> dict[date, str]:
    return {day: Holiday(name).chinese for day, name in sorted(days.items()) if day.year == year}
