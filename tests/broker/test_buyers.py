"""What an attempt is placed by stays its own: its organization's class of then, and what it chose."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from caravan.contracts.dispatch import Desired
from caravan.contracts.jobs import JobDetail, Outcome
from caravan.contracts.parties import OrganizationDraft
from caravan.contracts.prices import Buyers, Component, PriceListDraft, Tariff
from caravan.contracts.quotes import Quote
from caravan.contracts.spec import Array
from caravan.kernel import clock
from caravan.kernel.money import Money
from tests.broker.hand import Run
from tests.broker.market import Market, sold, until

pytestmark = pytest.mark.asyncio(loop_scope="session")


def a_tariff(name: str, price: str, **special: object) -> Tariff:
    """From long ago on."""
    start = clock.floor_second(clock.now()) - timedelta(days=40)
    prices = {Component.CPU_CORE_HOUR: Decimal(price)}
    return Tariff.model_validate({"name": name, "starts_at": start, "prices": prices} | special)


async def test_quote_hold_and_charge_go_by_the_class_and_options_of_the_placement(market: Market) -> None:
    site = await market.site()
    choosing: dict[str, Any] = {"target": {"qos": "normal"}, "choices": {"qos": ("normal", "high")}}
    offering = await market.offering(site, cpus=8, **choosing)
    high = {"options": {"qos": ("high",)}}
    tariffs = (
        a_tariff("all", "36.00"),
        a_tariff("all-high", "72.00", **high),
        a_tariff("class-high", "18.00", buyers=Buyers(classes=("高校",)), **high),
        a_tariff("other", "1.00", buyers=Buyers(classes=("other",))),
    )
    await market.seller.publish_price_list(offering.id, PriceListDraft(tariffs=tariffs))
    customer, hand = await market.customer(site), await market.hand(site)
    await sold(customer, offering.id)
    spec = customer.spec(name="classed", options={"qos": "high"}, array=Array(indices=(0, 1)))

    async def quoted(amount: str) -> Quote:
        async def there() -> Quote | None:
            quote = await customer.broker.create_quote(spec)
            return quote if [str(one.worst_case) for one in quote.candidates] == [amount] else None

        return await until(there)

    async def classed(price_class: str | None, version: int) -> None:
        draft = OrganizationDraft(name="Robotics", price_class=price_class)
        await market.admin.update_organization(customer.organization, draft, version)

    await quoted("4.00")
    await classed("高校", 1)
    quote = await quoted("1.02")
    assert [one.tariff for one in quote.candidates[0].components] == ["class-high", "none"]
    job = await customer.submit(spec)
    assert job.hold.amount == Money.parse("1.02")
    await classed(None, 2)
    await quoted("4.00")

    attempt = await hand.start(job)
    await hand.end(attempt, [Run(attempt, 0, 20), Run(attempt, 1, 20, Outcome.SITE)])

    async def again() -> JobDetail | None:
        found = await customer.job(job.id)
        return found if found.hold.amount != job.hold.amount and await customer.is_placed(job.id) else None

    # what ran, 20 s by the class's price, and the other's walltime anew, by that for all
    assert (await until(again)).hold.amount == Money.parse("2.12")
    items = await hand.everything()
    (second,) = [one for one, item in items.items() if item.desired is Desired.RUN and one != attempt]
    await hand.commit(second)
    await hand.tell(hand.saw(second, "released"))
    await hand.end(second, [Run(second, 1, 20)])
    assert (await customer.hold_settles(job.id)).captured == Money.parse("0.50")
