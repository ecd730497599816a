"""`caravan reconcile site`: what was billed beside a site's own books. Runs where `sacct` or `kubectl` is, or is given what it wrote."""

from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError

from caravan.cli import differences, show
from caravan.cli.asking import REFUSED, AsJson, Cursor, Limit, ask, misused, print_one, print_page
from caravan.cli.books import Books, Form, Place
from caravan.cli.usage import SHOWN_FAULTS, SITE, readable, zone_of
from caravan.client import Peers
from caravan.contracts.runs import SiteRun, SiteRuns
from caravan.contracts.statements import UsageLine
from caravan.kernel import clock
from caravan.reconcile import Asked, Reconciliation, reconcile, unmatched, unsettled
from caravan.sacct import Times

group = typer.Typer(no_args_is_help=True, help="Hold what was billed against a site's own books. 对账。")


@group.command()
def site(
    ctx: typer.Context,
    site: Annotated[str, typer.Argument(help="A cluster of Slurm or Kubernetes, sit_….")],
    first: Annotated[str, typer.Option("--from", help="The first day, 2026-11-01, or a time of it: 2026-11-01T08:00.")],
    end: Annotated[str, typer.Option("--to", help="The day after the last one, 2026-12-01, or a time.")],
    sacct: Annotated[
        Path | None, typer.Option("--sacct", help="What `sacct -P` wrote, - for stdin. Without: sacct is run here.")
    ] = None,
    pods: Annotated[
        Path | None,
        typer.Option(
            "--pods", help="What `kubectl get pods -o json` wrote, - for stdin. Without: kubectl is run here."
        ),
    ] = None,
    containers: Annotated[
        Path | None,
        typer.Option(
            "--containers", help="A CSV of all containers that Kubernetes' nodes ran, from a record of theirs."
        ),
    ] = None,
    zone: Annotated[
        str | None,
        typer.Option(help="Of --from and --to (Asia/Shanghai without), and of a file's times that have no offset."),
    ] = None,
    as_of: Annotated[
        str | None,
        typer.Option(
            help="When that file was written, a day or a time. Without: when it was last changed; stdin: now."
        ),
    ] = None,
    cluster: Annotated[str | None, typer.Option(help="ClusterName, for rows that name none.")] = None,
    as_json: AsJson = False,
) -> None:
    """Name each difference between what was billed and what the site's own books say. 逐条列出计费与站点账目的差异。

    Runs with seconds from --from until before --to are compared whole. Exit code 0: none. 1: there are some, or it couldn't be told.
    """
    try:
        SITE.validate_python(site)
    except ValidationError:
        misused("site: give its id, sit_…")
    start, until = _instant("from", first, zone), _instant("to", end, zone)
    if until <= start:
        misused("to: give a time after --from")
    written = None if as_of is None else _instant("as-of", as_of, zone)
    times = Times(None if zone is None else zone_of(zone))
    files = {Form.SACCT: sacct, Form.PODS: pods, Form.CONTAINERS: containers}
    bad: list[str] = []

    async def compare(peers: Peers) -> Reconciliation:
        there = await peers.catalog.get_site(site)
        place = Place.of(there.adapter, files, start, until)
        told = _Told()
        complete_through = await told.read(peers, site, start, until)
        asked = Asked(
            site,
            start=clock.to_seconds(start),
            end=clock.to_seconds(until),
            complete_through=clock.to_seconds(complete_through),
            as_of=clock.to_seconds(written or place.as_of()),
            keeps_all=place.form.keeps_all,
        )
        books = Books(site, there.accelerators.values(), bad)
        books.read(place, times, cluster, frozenset(run.identity for run in told.runs.values()))
        # a run that was suspended all the time was metered before
        rows = books.rows(told.runs.values())
        since = min((row.start for row in unmatched(rows, told.runs.values(), asked)), default=asked.start)
        if since < asked.start:
            await told.read(peers, site, clock.from_seconds(since), start)
        for job in sorted(unsettled(told.runs.values(), told.lines)):
            await told.read(peers, site, clock.EPOCH, max(until, clock.floor_second(clock.now())), job)
        runs = told.runs.values()
        return reconcile(books.rows(runs), runs, told.lines, asked, told.moving, books.at_least(runs))

    with readable():
        found = ask(ctx, compare, as_json=as_json)
    for fault in bad[:SHOWN_FAULTS]:
        typer.echo(fault, err=True)
    found = found.model_copy(update={"unreadable": len(bad)})
    print_one(found, differences.reconciliation, as_json=as_json)
    if found.differences or bad:
        raise typer.Exit(REFUSED)


@group.command()
def nights(ctx: typer.Context, limit: Limit = 50, cursor: Cursor = None, as_json: AsJson = False) -> None:
    """List what each night's reconciliation of the platform's books found. 列出平台每晚对账的结果。

    Exit code 1: the last one found something.
    """
    page = ask(ctx, lambda peers: peers.accounting.list_reconciliations(limit=limit, cursor=cursor), as_json=as_json)
    print_page(page, show.nights, "No night has been reconciled yet.", as_json=as_json)
    if cursor is None and page.items and page.items[0].found:
        raise typer.Exit(REFUSED)


def _instant(option: str, text: str, zone: str | None) -> datetime:
    try:
        told = datetime.fromisoformat(text)
    except ValueError:
        misused(f"{option}: give a day like 2026-11-01, or a time like 2026-11-01T08:00")
    return clock.floor_second(told if told.tzinfo else told.replace(tzinfo=zone_of(zone or "Asia/Shanghai")))


class _Told:
    """What accounting says of runs, and of the lines of their jobs under a price list: what it said last."""

    def __init__(self) -> None:
        self.runs: dict[str, SiteRun] = {}
        self.moving: set[str] = set()
        """Jobs whose lines changed between the pages on which their runs are: the two needn't be of one moment."""
        self._lines: dict[tuple[str, str], list[UsageLine]] = {}

    @property
    def lines(self) -> list[UsageLine]:
        return [line for lines in self._lines.values() for line in lines]

    async def read(self, peers: Peers, site: str, start: datetime, end: datetime, job: str | None = None) -> datetime:
        """Until when the site's usage is complete: by the first page, before any run was read."""
        ask = partial(peers.accounting.list_site_runs, site, start, end, job=job, limit=200)
        lines: dict[tuple[str, str], list[UsageLine]] = {}
        self.moving.discard(job or "")
        page = await ask()
        complete_through = page.complete_through
        self._keep(page, lines)
        while page.next:
            page = await ask(cursor=page.next)
            self._keep(page, lines)
        self._lines |= lines
        return complete_through

    def _keep(self, page: SiteRuns, lines: dict[tuple[str, str], list[UsageLine]]) -> None:
        """`lines`: of the pages before."""
        now: dict[tuple[str, str], list[UsageLine]] = {
            (run.job, part.price_list): [] for run in page.items for part in run.priced
        }
        for line in page.lines:
            now[line.job, line.price_list].append(line)
        self.runs |= {run.run: run for run in page.items}
        self.moving |= {pair[0] for pair, told in now.items() if lines.get(pair, told) != told}
        lines |= now


def add_to(app: typer.Typer) -> None:
    app.add_typer(group, name="reconcile")
