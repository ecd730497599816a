"""What is wanted of a site: each change of an attempt takes the next place in the site's sequence, and wakes its agent."""

from typing import Final

from sqlalchemy import bindparam, insert, update
from sqlalchemy.orm import Session

from caravan.contracts.dispatch import Desired
from caravan.kernel.database import signal, table_of
from caravan.kernel.prepared import Prepared
from services.broker.dispatch.models import SiteRow
from services.broker.jobs.models import AttemptRow

_sites, _attempts = table_of(SiteRow), table_of(AttemptRow)
_NEXT: Final = Prepared(
    update(_sites).where(_sites.c.site == bindparam("of_site")).values(work=_sites.c.work + 1).returning(_sites.c.work)
)
_WANT: Final = Prepared(update(_attempts).where(_attempts.c.id == bindparam("of_attempt")))


def topic(site: str) -> str:
    return f"work:{site}"


def site_row(tx: Session, site: str) -> SiteRow:
    """The site's row, made at first use."""
    row = tx.get(SiteRow, site)
    if row is None:
        tx.execute(insert(SiteRow).values(site=site, work=0, detail="", version=0, progress_version=0))
        row = tx.get_one(SiteRow, site)
    return row


def want(tx: Session, attempt: AttemptRow, desired: Desired) -> None:
    """Ask the site's agent for `desired` from now on."""
    attempt.desired = desired.value
    attempt.work = _place(tx, attempt.site)


def want_started(tx: Session, attempt: str, site: str) -> None:
    """As `want` that an attempt runs which the session doesn't know."""
    _WANT.run(tx, of_attempt=attempt, desired=Desired.RUN.value, work=_place(tx, site))


def _place(tx: Session, site: str) -> int:
    """The next place in the site's sequence, which wakes its agent."""
    signal(tx, topic(site))
    found = _NEXT.first(tx, of_site=site)
    if found is None:
        site_row(tx, site)
        found = _NEXT.one(tx, of_site=site)
    return int(found.work)
