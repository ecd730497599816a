"""The table of calendars."""

from datetime import datetime

from sqlalchemy.orm import Mapped, mapped_column

from caravan.contracts.prices import Calendar, CalendarYear
from caravan.kernel.database import Instant, Json
from services.catalog.models_base import Base


class CalendarRow(Base):
    __tablename__ = "calendars"

    year: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    revision: Mapped[int]
    published_at: Mapped[datetime] = mapped_column(Instant)
    holidays: Mapped[dict[str, str]] = mapped_column(Json, comment="Date -> the name of the holiday.")
    working_weekends: Mapped[dict[str, str]] = mapped_column(Json, comment="Date -> the holiday it is worked for.")

    def shown(self) -> Calendar:
        return Calendar(**self.days().model_dump(), revision=self.revision, published_at=self.published_at)

    def days(self) -> CalendarYear:
        days = {"holidays": self.holidays, "working_weekends": self.working_weekends}
        return CalendarYear.model_validate({"year": self.year, **days})
