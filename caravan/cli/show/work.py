"""Jobs, and what became of them."""

from collections.abc import Iterable, Sequence
from typing import Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from caravan.cli.show.market import placement
from caravan.cli.show.parts import Cell, pairs, table, when
from caravan.contracts.jobs import ArrayTask, Attempt, HoldState, Job, JobDetail, JobEvent, JobState

STYLE: Final = {
    JobState.PENDING: "yellow",
    JobState.QUEUED: "yellow",
    JobState.RUNNING: "cyan",
    JobState.SUCCEEDED: "green",
    JobState.FAILED: "red",
    JobState.CANCELLED: "magenta",
    JobState.REFUSED: "red",
}


def state(value: JobState) -> Text:
    return Text(value.value, style=STYLE[value])


def jobs(found: Iterable[Job]) -> Table:
    rows = [
        (one.id, one.name, state(one.state), counts(one), set_aside(one), when(one.created_at), one.reason or "")
        for one in found
    ]
    return table(("!id", "name", "state", "tasks", ">set aside", "!created", "reason"), rows)


def set_aside(job: Job) -> str:
    return "" if job.hold.state is HoldState.REFUSED else str(job.hold.amount)


def counts(job: Job) -> str:
    return ", ".join(f"{count} {name.value}" for name, count in job.counts.items() if count)


def job(found: Job) -> Table:
    rows: list[tuple[str, Cell]] = [
        ("job", found.id),
        ("name", found.name),
        ("state", state(found.state)),
        ("tasks", counts(found)),
        ("project", found.project),
        ("set aside", f"{found.hold.amount} ({found.hold.state.value}, revision {found.hold.revision})"),
        ("created", when(found.created_at)),
    ]
    optional = (
        ("reason", " ".join(part for part in (found.reason, found.detail) if part)),
        ("offering", found.offering or ""),
        ("started", when(found.started_at)),
        ("ended", when(found.ended_at)),
        ("settled", when(found.settled_at)),
        ("labels", ", ".join(f"{name}={value}" for name, value in found.labels.items())),
    )
    return pairs([*rows, *((name, value) for name, value in optional if value)])


def job_detail(
    found: JobDetail, tasks: Sequence[ArrayTask], attempts: Sequence[Attempt], events: Sequence[JobEvent]
) -> RenderableType:
    parts: list[RenderableType] = [job(found)]
    if found.placement is not None:
        parts.append(placement(found.placement))
    if tasks:
        rows = [
            (
                str(one.index),
                state(one.state),
                one.outcome.value if one.outcome else "",
                "" if one.exit_code is None else str(one.exit_code),
                when(one.started_at),
                when(one.ended_at),
                one.detail,
            )
            for one in tasks
        ]
        parts.append(table((">index", "state", "outcome", ">exit", "!started", "!ended", "detail"), rows, "Tasks"))
    if attempts:
        tried = [(str(one.number), one.state.value, one.offering, one.reference or "", one.detail) for one in attempts]
        parts.append(table((">attempt", "state", "!offering", "at the site", "detail"), tried, "Attempts"))
    if events:
        happened = [(when(one.at), one.type, one.detail) for one in events]
        parts.append(table(("!at", "event", "detail"), happened, "Events"))
    return Group(*parts)
