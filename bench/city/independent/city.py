"""A played city, fact by fact: what was told is taken in, periods are closed, corrections previewed, where their requests stand."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from bench.city.independent.closing import Closing
from bench.city.independent.previews import Preview, preview
from bench.city.independent.reading import Fact, Unreadable, records, told
from bench.city.independent.tax import Row
from bench.city.independent.world import World


@dataclass(slots=True)
class City:
    """All that was computed of it. `months` are the periods by their ids."""

    months: dict[str, int]
    closing: Closing = field(default_factory=lambda: Closing(World()))
    previews: dict[str, Preview] = field(default_factory=dict)
    open_rows: list[Row] = field(default_factory=list)

    @property
    def world(self) -> World:
        """What was told."""
        return self.closing.world

    def play(self, facts: Iterable[Fact]) -> None:
        """Take in facts in the order of telling."""
        for fact in facts:
            if "event" in fact:
                self.world.event(fact["event"], fact["data"])
                continue
            operation = fact["operation"]
            self.world.request(operation, fact)
            if operation == "propose_price_correction":
                name = fact["answer"]["id"]
                self.previews.setdefault(name, preview(self.world.proposed[name], self.world))
            elif operation == "close_period":
                month = self.months[fact["path"]["period"]]
                if month not in self.closing.closed:
                    self.closing.close(month)


def replay(folder: Path, months: dict[str, int]) -> City:
    """Compute a played city from its facts; `months` says which month each period's id is."""
    city = City(months)
    for path in told(folder):
        try:
            city.play(records(path))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise Unreadable(f"{path}: {type(error).__name__}: {error}") from error
    city.open_rows = city.closing.open_rows()
    return city
