"""A site whose agent stays silent for longer than the site allows loses what it was given."""

from datetime import timedelta

import pytest
from sqlalchemy import update
from sqlalchemy.orm import Session

from caravan.contracts.jobs import AttemptState
from caravan.kernel import clock
from caravan.kernel.database import database_now
from caravan.kernel.tables import leases
from services.broker.dispatch.leasing import lease_name
from services.broker.dispatch.lost import DEAF, LostAttempts
from services.broker.placement.copies import Catalog
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
    db = market.platform.runtime.db
    lost = LostAttempts(db, Catalog())
    await lost.give_up()
    lost.listening_since = clock.EPOCH
    job = await customer.submit()
    assert job.offering == cheap.id

    await db.write(silent_for, quiet, 50)
    await db.write(silent_for, patient, 10_000)
    await lost.give_up()
    assert [a.state for a in (await customer.broker.list_job_attempts(job.id)).items] == [AttemptState.PLANNED]

    await db.write(silent_for, quiet, 70)
    await lost.give_up()

    async def elsewhere() -> bool:
        attempts = (await customer.broker.list_job_attempts(job.id)).items
        return [(a.offering, a.state) for a in attempts] == [
            (cheap.id, AttemptState.ENDED),
            (dear.id, AttemptState.PLANNED),
        ]

    assert await until(elsewhere)
    await lost.give_up()
    assert await elsewhere(), "a site without the setting is never given up"


@pytest.mark.parametrize("away", ["down", "frozen"])
async def test_a_site_that_could_not_be_heard_is_not_given_up(market: Market, away: str) -> None:
    """Every lease runs out while the broker is away; the agents come back a little later than the broker."""
    site = await market.site(lost_after_seconds=86_400)
    offering, customer = await market.offering(site), await market.customer(site)
    await market.hand(site)
    await sold(customer, offering.id)
    db = market.platform.runtime.db
    job = await customer.submit()
    lost = LostAttempts(db, Catalog())
    if away == "frozen":
        await lost.give_up()
        lost.listening_since = clock.EPOCH
        assert lost.looked_at is not None
        lost.looked_at -= 2 * DEAF

    await db.write(silent_for, site, 200_000)
    for _ in range(2):
        await lost.give_up()
    assert [a.state for a in (await customer.broker.list_job_attempts(job.id)).items] == [AttemptState.PLANNED]


async def test_what_waits_for_its_money_is_not_lost_with_its_site(market: Market) -> None:
    site = await market.site(lost_after_seconds=60)
    offering, customer = await market.offering(site), await market.customer(site)
    await market.hand(site)
    await sold(customer, offering.id)
    db, wire = market.platform.runtime.db, market.platform.to_accounting
    lost = LostAttempts(db, Catalog())
    await lost.give_up()
    lost.listening_since = clock.EPOCH
    wire.cut = True
    try:
        job = await customer.submit()
        await db.write(silent_for, site, 70)
        await lost.give_up()
        [attempt] = (await customer.broker.list_job_attempts(job.id)).items
    finally:
        wire.cut = False
    assert attempt.state is AttemptState.PLANNED


async def test_a_site_that_is_heard_just_before_it_is_given_up_is_not(market: Market) -> None:
    site = await market.site(lost_after_seconds=60)
    offering, customer = await market.offering(site), await market.customer(site)
    hand = await market.hand(site)
    await sold(customer, offering.id)
    db = market.platform.runtime.db
    lost = LostAttempts(db, Catalog())
    attempt = await hand.attempt_of(await customer.submit())
    await db.write(silent_for, site, 70)
    assert attempt in await db.read(lost._silent, clock.EPOCH)
    await hand.take()
    assert not await db.write(lost._lose_silent, attempt, clock.EPOCH)
    await db.write(silent_for, site, 70)
    assert await db.write(lost._lose_silent, attempt, clock.EPOCH)
