"""A job of a scene with its runs, and what its lines are."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from bench.independent.vouchers import Line
from bench.vouchers.jobs import Job, Sold
from caravan.contracts import statements
from caravan.contracts.statements import BearerKind
from caravan.kernel.clock import to_seconds


@dataclass
class Running:
    """A job and its runs: which of them are `over`, and which of these by the site's fault."""

    runs: list[Job]
    over: set[str] = field(default_factory=set)
    faults: set[str] = field(default_factory=set)
    settled: bool = False

    @property
    def id(self) -> str:
        return self.runs[0].id

    def costs(self) -> int:
        """A fen a second of what the organization bears."""
        return sum(self.seconds(run) for run in self.runs if run.run not in self.faults)

    def seconds(self, run: Job) -> int:
        return int((run.used[1] - run.used[0]).total_seconds()) if run.used else 0

    def ended(self, line: statements.Line, of: dict[str, tuple[int, int]]) -> int:
        """When its usage in the period that a line is about had ended."""
        starts_at, ends_at = of[line.corrects or line.period]
        ends = [to_seconds(run.used[1]) for run in self.runs if run.used and to_seconds(run.used[0]) < ends_at]
        return max(starts_at, min(ends_at, max(ends, default=starts_at)))


def line_of(sold: Sold, organization: str) -> Line:
    """A line of what is sold."""
    return Line(
        id="",
        organization=organization,
        close=0,
        about=0,
        month=(0, 0),
        component=sold.component,
        tier=sold.tier,
        origin=sold.origin,
        seller=sold.provider,
        job=None,
        submitted=0,
        ended=0,
        amount=0,
    )


def borne_by_job(lines: Iterable[statements.Line]) -> Counter[str]:
    """By job, what its organization bears."""
    found = Counter[str]()
    for line in lines:
        if line.job and line.bearer is BearerKind.ORGANIZATION:
            found[line.job] += line.amount.fen
    return found
