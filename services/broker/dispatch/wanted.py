"""What is wanted of a site: each change of an attempt takes the next place in the site's sequence, and wakes its agent."""

from sqlalchemy import insert, update
from sqlalchemy.orm import Session

from caravan.contracts.dispatch import Desired
from caravan.kernel.database import signal
from services.broker.dispatch.models import SiteRow
from services.broker.jobs.models import AttemptRow


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
    site_row(tx, attempt.site)
    place = tx.execute(
        update(SiteRow).where(SiteRow.site == attempt.site).values(work=SiteRow.work + 1).returning(SiteRow.work)
    ).scalar_one()
    attempt.desired = desired.value
    attempt.work = place
    signal(tx, topic(attempt.site))
