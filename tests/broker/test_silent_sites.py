"""A site whose agent stays silent for longer than the site allows loses what it was given."""

from datetime import timedelta

import pytest
from sqlalchemy import update
from sqlalchemy.orm import Session

from caravan.contracts.jobs import AttemptState
from caravan.kernel.database import database_now
from caravan.kernel.tables import leases
from services.broker.dispatch.service import DispatchService, lease_name
from tests.broker.market import Market, sold, until

pytestmark = pytest.mark.asyncio(loop_scope="session")


def silent_for(tx: Session, site: str, seconds: int) -> None:
    since = database_now(tx) - timedelta(seconds=seconds)
    tx.execute(update(leases).where(leases.c.name == lease_name(site)).values(expires_at=since))


async def test_what_a_silent_site_was_given_is_tried_elsewhere(market: Market) -> None:
    quiet, patient = await market.site(lost_after_seconds=60), await market.site()
    cheap, dear = await market.offering(quiet, price="18.00"), await market.offering(patient)
    customer = await market.customer(quiet, patient)
    for site in (quiet, patient):
        await market.hand(site)
    await sold(customer, cheap.id, dear.id)
    dispatch: DispatchService = market.platform.apps["broker"].provided[DispatchService]
    db = market.platform.runtime.db
    job = await customer.submit()
    assert job.offering == cheap.id

    await db.write(silent_for, quiet, 50)
    await db.write(silent_for, patient, 10_000)
    await dispatch.give_up()
    assert [a.state for a in (await customer.broker.list_job_attempts(job.id)).items] == [AttemptState.PLANNED]

    await db.write(silent_for, quiet, 70)
    await dispatch.give_up()

    async def elsewhere() -> bool:
        attempts = (await customer.broker.list_job_attempts(job.id)).items
        return [(a.offering, a.state) for a in attempts] == [
            (cheap.id, AttemptState.ENDED),
            (dear.id, AttemptState.PLANNED),
        ]

    assert await until(elsewhere)
    await dispatch.give_up()
    assert await elsewhere(), "a site without the setting is never given up"
