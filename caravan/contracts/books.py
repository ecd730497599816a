"""A site's own books, a day at a time: by its agent and the broker to accounting, which holds them against what was stated."""

from datetime import timedelta
from typing import Final, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from caravan.contracts.base import Count, Model, Name, Positive, Second
from caravan.contracts.ids import SiteId

PAGE: Final = 500


class BookedRun(Model):
    """What a run held in [start, end) by its backend's own books. A run whose shape changed has several, one after the other."""

    identity: Name = Field(description="The backend's own of the run, as in what is stated of it.")
    start: Second
    end: Second | None = Field(description="Null: it still runs.")
    suspended_seconds: Count = Field(default=0, description="Between start and end, in which it held nothing.")
    nodes: Positive
    cpus: Count = Field(description="Over all nodes.")
    memory_mib: Count = Field(description="Over all nodes.")
    accelerators: Count = Field(default=0, description="Over all nodes, of all models together.")

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.end is not None and self.end - self.start < timedelta(seconds=self.suspended_seconds):
            raise PydanticCustomError("booked_run", "A run ends after it starts, and is suspended in between")
        return self


class Day(Model):
    """[start, end): a day of the platform's zone."""

    start: Second
    end: Second


class BooksWanted(Model):
    """The day of which the site's books are to be reported next. Null: none yet."""

    day: Day | None


class BooksPage(Day):
    """Some of the site's runs with a second in the day. Pages count from 0; page 0 begins the day anew."""

    page: Count
    last: bool
    as_of: Second = Field(description="What started or ended since may be missing: the books are as of then.")
    keeps_all: bool = Field(description="What is in no page wasn't at the site. False: these books forget.")
    runs: tuple[BookedRun, ...] = Field(max_length=PAGE)


class BooksReport(BooksPage):
    """What a site's agent reports of it."""

    epoch: Count


class BooksRead(BooksPage):
    """`books.read`: what the broker passes on."""

    site: SiteId
