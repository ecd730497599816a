"""From a centre's dump to what accounting takes: whose a run is, what is set aside, how many there were. No terminal, no network."""

import csv
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from pydantic import BaseModel, TypeAdapter, ValidationError

from caravan.contracts.ids import OrganizationId, ProjectId
from caravan.contracts.imports import ImportedRun
from caravan.kernel import clock
from caravan.sacct import Allocation, Aside, Fault

HEADER: Final = ["account", "user", "organization", "project"]
_ORGANIZATION: Final[TypeAdapter[str]] = TypeAdapter(OrganizationId)
_PROJECT: Final[TypeAdapter[str]] = TypeAdapter(ProjectId)


class WrongMap(ValueError):
    """The file that maps accounts can't be used; its words name the line."""


@dataclass(frozen=True, slots=True)
class Owners:
    """(account, user) -> (organization, project); an empty user: every user of the account that has no row of its own."""

    rows: dict[tuple[str, str], tuple[str, str]] = field(default_factory=dict)

    @classmethod
    def read(cls, lines: Iterable[str]) -> "Owners":
        """Of a CSV with the header `account,user,organization,project`. Raises WrongMap."""
        reader = csv.reader(lines)
        if next(reader, None) != HEADER:
            raise WrongMap(f"line 1: the header is {','.join(HEADER)}")
        rows: dict[tuple[str, str], tuple[str, str]] = {}
        for cells in reader:
            if not cells:
                continue
            if len(cells) != len(HEADER):
                raise WrongMap(f"line {reader.line_num}: {len(cells)} cells where {len(HEADER)} are expected")
            account, user, organization, project = cells
            if (account, user) in rows:
                raise WrongMap(f"line {reader.line_num}: {account},{user} is there already")
            try:
                owner = (_ORGANIZATION.validate_python(organization), _PROJECT.validate_python(project))
            except ValidationError:
                raise WrongMap(f"line {reader.line_num}: give ids, org_… and prj_…") from None
            rows[account, user] = owner
        return cls(rows)

    def of(self, account: str, user: str) -> tuple[str | None, str | None]:
        return self.rows.get((account, user)) or self.rows.get((account, "")) or (None, None)


class Summary(BaseModel):
    """Of one import. Each row is one of: a step, one that never ran, one that still runs, a bad one, a run."""

    rows: int = 0
    steps: int = 0
    never_ran: int = 0
    running: int = 0
    bad: int = 0
    runs: int = 0
    unmapped: int = 0
    """Of the runs: those of no organization."""
    imported: int = 0
    changed: int = 0
    unchanged: int = 0


def runs(
    read: Iterable[Allocation | Aside | Fault], owners: Owners, summary: Summary, latest: int
) -> Iterator[ImportedRun | Fault]:
    """What is to be imported or can't be read; `summary` counts on as it goes. `latest`: epoch second after which nothing has ended."""
    for one in read:
        summary.rows += 1
        if one is Aside.STEP:
            summary.steps += 1
        elif one is Aside.NEVER_RAN:
            summary.never_ran += 1
        elif isinstance(one, Allocation) and one.end is None:
            summary.running += 1
        else:
            found = (
                _imported(one, one.end, owners, latest) if isinstance(one, Allocation) and one.end is not None else one
            )
            if isinstance(found, ImportedRun):
                summary.runs += 1
                summary.unmapped += found.organization is None
                yield found
            elif isinstance(found, Fault):
                summary.bad += 1
                yield found


def _imported(one: Allocation, end: int, owners: Owners, latest: int) -> ImportedRun | Fault:
    """Suspension is taken off at the end."""
    if end > latest:
        return Fault(one.line, "End", "is still to come: correct it, or the zone that times are read in")
    organization, project = owners.of(one.account, one.user)
    try:
        return ImportedRun(
            identity=one.identity,
            account=one.account,
            user=one.user,
            start=clock.from_seconds(one.start),
            end=clock.from_seconds(end - one.suspended),
            nodes=one.nodes,
            cpus=one.cpus,
            memory_mib=one.memory_mib,
            accelerators=dict(one.accelerators),
            organization=organization,
            project=project,
        )
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        return Fault(one.line, ".".join(str(part) for part in first["loc"]), first["msg"])
