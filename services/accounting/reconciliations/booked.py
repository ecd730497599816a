"""The sites' own books, as their agents reported them: kept until a night holds each day against what was stated of its runs."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

from sqlalchemy import case, delete, func, insert, select
from sqlalchemy.orm import Session

from caravan.contracts.books import BookedRun, BooksRead
from caravan.contracts.reconciliations import Finding, SiteReconciliation
from caravan.kernel.clock import to_seconds
from caravan.kernel.database import table_of
from caravan.kernel.feed import upsert
from caravan.kernel.local_days import midnight
from caravan.reconcile import Asked, Kind, Row, reconcile
from caravan.reconcile.comparing import Difference, Figures
from services.accounting.periods import service as periods
from services.accounting.periods.models import SiteProgressRow
from services.accounting.reconciliations.models import BooksTold, SiteBooksRow
from services.accounting.runs import stated

LATE: Final = timedelta(hours=1)
PAGES: Final = table_of(SiteBooksRow)
_WORDS: Final = {
    Kind.NOT_BILLED: "not stated",
    Kind.NOT_IN_BOOKS: "not in the site's books",
    Kind.NOT_FINAL: "ended at the site, not final here",
    Kind.STILL_RUNS: "final here, runs at the site",
    Kind.BEARER: "ended with its node, billed to the job",
    Kind.SECONDS: "other seconds",
    Kind.CORES: "other cores",
    Kind.NODES: "other nodes",
    Kind.ACCELERATORS: "other accelerators",
}


class SiteDay(NamedTuple):
    site: str
    start: datetime


def keep(tx: Session, facts: Sequence[dict[str, Any]]) -> None:
    """Pages in the order of their site's. The first one of a day replaces what was told of it before."""
    for event in facts:
        page = BooksRead.model_validate(event["data"])
        of_day = (PAGES.c.site == page.site) & (PAGES.c.starts_at == page.start)
        tx.execute(delete(PAGES).where(of_day, PAGES.c.page >= page.page))
        content = page.model_dump(exclude={"start", "end", "runs"}) | page.model_dump(mode="json", include={"runs"})
        tx.execute(insert(PAGES).values(content | {"starts_at": page.start, "ends_at": page.end}))
        if page.last:
            _told_through(tx, page.site, page.end)


def _told_through(tx: Session, site: str, end: datetime) -> None:
    told = upsert(tx, BooksTold).values(site=site, through=end)
    later = told.on_conflict_do_update(
        index_elements=["site"],
        set_={"through": told.excluded.through},
        where=BooksTold.through < told.excluded.through,
    )
    tx.execute(later)


def untold(tx: Session) -> list[Finding]:
    """Of each site whose books once came: the first day that is missing, though all its usage was stated an hour ago or longer."""
    zone = periods.zone(tx)
    known = select(BooksTold.site, BooksTold.through, SiteProgressRow.complete_through).join(
        SiteProgressRow, SiteProgressRow.site == BooksTold.site
    )
    return [
        Finding(
            check="site",
            subject=row.site,
            detail=f"{row.site}, no books of {row.through.astimezone(zone):%Y-%m-%d} or later, though all usage of that day was stated:"
            " the log of its agent says why, at its step books",
        )
        for row in tx.execute(known.order_by(BooksTold.site))
        if to_seconds(row.complete_through - LATE) >= midnight(zone, to_seconds(row.through), 1)
    ]


def told(tx: Session) -> list[SiteDay]:
    """The days that are here whole, in order."""
    query = select(PAGES.c.site, PAGES.c.starts_at).group_by(PAGES.c.site, PAGES.c.starts_at)
    last = func.max(case((PAGES.c.last, PAGES.c.page)))
    whole = query.having(last == func.max(PAGES.c.page), func.count() == last + 1)
    return [SiteDay(*row) for row in tx.execute(whole.order_by(PAGES.c.starts_at, PAGES.c.site))]


def forget(tx: Session, day: SiteDay) -> None:
    tx.execute(delete(PAGES).where(PAGES.c.site == day.site, PAGES.c.starts_at == day.start))


def compared(tx: Session, day: SiteDay) -> tuple[SiteReconciliation, list[Finding]]:
    """Of one day that is here whole: each of its runs whole, seconds and shapes."""
    pages = tx.execute(select(PAGES).where(PAGES.c.site == day.site, PAGES.c.starts_at == day.start)).all()
    last = max(pages, key=lambda page: page.page)
    rows = [_row(BookedRun.model_validate(run)) for page in pages for run in page.runs]
    start, end = to_seconds(last.starts_at), to_seconds(last.ends_at)
    known = stated.of_identities(tx, (row.identity for row in rows))
    runs = {run.run: run for run in stated.of_site(tx, day.site, start, end)}
    runs |= {run.run: run for site, run in known if site == day.site}
    # several sites may use one cluster, whose books don't always say whose a run is
    others = {run.identity for site, run in known if site != day.site}
    progress = select(SiteProgressRow.complete_through).where(SiteProgressRow.site == day.site)
    found = reconcile(
        [row for row in rows if row.identity not in others],
        [*runs.values()],
        (),
        Asked(
            day.site,
            start=start,
            end=end,
            complete_through=to_seconds(tx.execute(progress).scalar_one_or_none() or last.ends_at),
            as_of=to_seconds(min(page.as_of for page in pages)),
            keeps_all=last.keeps_all,
        ),
    )
    said = SiteReconciliation(
        site=day.site,
        start=last.starts_at,
        end=last.ends_at,
        compared=found.compared,
        differing=len(found.differences),
        open=len(found.open),
        newer=found.newer,
        not_kept=found.not_kept,
    )
    return said, [*_findings(day.site, found.differences)]


def _row(run: BookedRun) -> Row:
    return Row(
        identity=run.identity,
        start=to_seconds(run.start),
        end=None if run.end is None else to_seconds(run.end),
        nodes=run.nodes,
        cpus=run.cpus,
        memory_mib=run.memory_mib,
        accelerators=(("accelerators", run.accelerators),) if run.accelerators else (),
        ours=True,
        suspended=run.suspended_seconds,
    )


def _findings(site: str, differences: Iterable[Difference]) -> Iterator[Finding]:
    for one in differences:
        words = f"{site}, {_WORDS[one.kind]}: {_side(one.books)} by the site's books, {_side(one.caravan)} stated"
        yield Finding(check="site", subject=one.run or one.identity or site, detail=words)


def _side(found: Figures | None) -> str:
    if found is None:
        return "nothing"
    counts = {"cores": found.cores, "nodes": found.nodes, "accelerators": found.accelerators or ()}
    told = [f"{' or '.join(map(str, held))} {name}" for name, held in counts.items() if any(held)]
    return ", ".join([f"{found.seconds} s", *told])
