"""`caravan usage …`: import a centre's own books, and report sums of usage."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from itertools import islice
from pathlib import Path
from typing import Annotated, Final
from zoneinfo import ZoneInfo

import typer
from pydantic import TypeAdapter, ValidationError
from rich.progress import Progress

from caravan.cli import show
from caravan.cli.asking import REFUSED, AsJson, ask, console, misused, print_one
from caravan.cli.importing import Owners, Summary, WrongMap, runs
from caravan.client import Peers
from caravan.contracts.ids import SiteId
from caravan.contracts.imports import By, ImportBatch, ImportedRun
from caravan.contracts.prices import Component
from caravan.kernel import clock
from caravan.kernel.local_days import zone_named
from caravan.sacct import Fault, Times, UnreadableDump, ZoneNeeded, allocations

BATCH: Final = 1000
SHOWN_FAULTS: Final = 50
AHEAD_SECONDS: Final = 3600
"""So much may a centre's clock be ahead of this one."""
SITE: Final[TypeAdapter[str]] = TypeAdapter(SiteId)
group = typer.Typer(no_args_is_help=True, help="Usage: import a centre's own books, report sums.")
imports = typer.Typer(no_args_is_help=True, help="Import a centre's own books. They are summed, never charged.")


@imports.command()
def sacct(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(help="Written by `sacct -P`, with a header or its 26 fields without one.")],
    site: Annotated[str, typer.Option(help="Whose books they are, sit_….")],
    owners: Annotated[
        Path | None,
        typer.Option("--map", help="A CSV: account,user,organization,project; no user: all of the account."),
    ] = None,
    zone: Annotated[str | None, typer.Option(help="Where times without an offset are local: Asia/Shanghai.")] = None,
    cluster: Annotated[str | None, typer.Option(help="ClusterName, for rows that name none.")] = None,
    skip_bad: Annotated[bool, typer.Option("--skip-bad", help="Leave out lines that can't be read.")] = False,
    as_json: AsJson = False,
) -> None:
    """Import jobs that ended. The same again changes nothing; nothing is imported while a line can't be read."""
    try:
        SITE.validate_python(site)
    except ValidationError:
        misused("site: give its id, sit_…")
    times = Times(None if zone is None else zone_of(zone))
    if file.is_fifo():
        misused(f"{file}: a dump is read twice, which a pipe can't be; write it to a file first")
    with readable():
        mapped = Owners() if owners is None else Owners.read(lines_of(owners))
        first = Summary()
        _check(file, times, cluster, mapped, first, skip_bad)

    async def send(peers: Peers) -> Summary:
        summary = Summary()
        found = (
            run
            for run in runs(allocations(lines_of(file), times, cluster), mapped, summary, _latest())
            if isinstance(run, ImportedRun)
        )
        with Progress(console=console(stderr=True), transient=True) as progress:
            task = progress.add_task("importing", total=first.runs)
            while batch := tuple(islice(found, BATCH)):
                done = await peers.accounting.import_usage(ImportBatch(site=site, runs=batch))
                summary.imported += done.imported
                summary.changed += done.changed
                summary.unchanged += done.unchanged
                progress.advance(task, len(batch))
        return summary

    summary = ask(ctx, send, as_json=as_json)
    print_one(
        summary,
        lambda one: show.pairs((name.replace("_", " "), f"{n:,}") for name, n in one.model_dump().items()),
        as_json=as_json,
    )


def _check(file: Path, times: Times, cluster: str | None, owners: Owners, summary: Summary, skip_bad: bool) -> None:
    """Read all of it, name what can't be read, and say so where there is nothing; ends the command when there is such a line."""
    for one in runs(allocations(lines_of(file), times, cluster), owners, summary, _latest()):
        if isinstance(one, Fault) and summary.bad <= SHOWN_FAULTS:
            typer.echo(f"line {one.line}: {one.field}: {one.reason}", err=True)
    if summary.bad and not skip_bad:
        typer.echo(f"{summary.bad} lines can't be read. Nothing was imported; --skip-bad leaves them out.", err=True)
        raise typer.Exit(REFUSED)
    if not summary.rows:
        typer.echo(
            f"{file}: 0 rows, so there is nothing to import. Without --starttime and --endtime sacct lists today's jobs, "
            "and without --allusers (-a) those of the user who runs it.",
            err=True,
        )


def _latest() -> int:
    """After this nothing in a dump can have ended."""
    return clock.to_seconds(clock.now()) + AHEAD_SECONDS


def lines_of(path: Path) -> Iterator[str]:
    """One at a time; a byte that is no UTF-8 doesn't stop the reading: names alone may have such."""
    with path.open(encoding="utf-8-sig", errors="replace", newline="\n") as lines:
        yield from lines


@contextmanager
def readable() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        misused(f"{error.filename}: {error.strerror}")
    except (UnreadableDump, ZoneNeeded, WrongMap) as error:
        misused(str(error))


def zone_of(name: str) -> ZoneInfo:
    try:
        return zone_named(name)
    except ValueError as error:
        misused(f"zone: {error}")


def _components(text: str) -> tuple[Component, ...]:
    try:
        return tuple(Component(one.strip()) for one in text.split(","))
    except ValueError:
        misused(f"component: some of {', '.join(one for one in Component)}, with commas between")


@group.command()
def report(
    ctx: typer.Context,
    first: Annotated[str, typer.Option("--from", help="The first day: 2026-03-01.")],
    end: Annotated[str, typer.Option("--to", help="The day after the last one: 2026-04-01.")],
    by: Annotated[By, typer.Option(help="What is summed in one.")] = By.DAY,
    component: Annotated[str, typer.Option(help="With commas between.")] = "cpu_core_hour,accelerator_hour",
    zone: Annotated[str, typer.Option(help="Whose midnights part the days.")] = "Asia/Shanghai",
    site: Annotated[str | None, typer.Option(help="One site alone, sit_….")] = None,
    as_json: AsJson = False,
) -> None:
    """Sum usage, metered and imported: hours as a table, exact seconds with --json."""
    try:
        days = (date.fromisoformat(first), date.fromisoformat(end))
    except ValueError:
        misused("Give days like 2026-03-01 to --from and --to.")
    wanted = _components(component)
    found = ask(
        ctx,
        lambda peers: peers.accounting.sum_usage(by, *days, zone=zone, component=wanted, site=site),
        as_json=as_json,
    )
    print_one(found, show.usage_sums, as_json=as_json)


def add_to(app: typer.Typer) -> None:
    group.add_typer(imports, name="import")
    app.add_typer(group, name="usage")
