"""Quotes: where could this job run, through the API."""

from datetime import timedelta
from decimal import Decimal

import httpx
import pytest

from caravan.client import each
from caravan.contracts.modes import SiteMode, SiteModeDraft
from caravan.contracts.offerings import OfferingState, SiteState
from caravan.contracts.prices import Component, PriceListDraft, Tariff
from caravan.contracts.problems import NotSupportedHere, UnknownReference
from caravan.contracts.quotes import Candidate
from caravan.contracts.spec import Resources
from caravan.kernel import clock
from caravan.kernel.money import Money
from caravan.kernel.problems import NotFound
from services.broker.adapters.local import adapter as local
from tests.broker.conftest import Shop
from tests.broker.market import Market, eventually, sold, until

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_every_offering_on_sale_is_ranked_or_refused(shop: Shop) -> None:
    market, customer = shop.market, shop.customer
    dear = await market.offering(shop.site, price="72.00")
    draft = await market.offering(shop.site, active=False)
    paused = await market.offering(shop.site)
    await market.seller.pause_offering(paused.id)
    archived = await market.offering(shop.site)
    await market.seller.pause_offering(archived.id)
    await market.seller.archive_offering(archived.id)
    elsewhere = await market.offering(await market.site())
    await sold(customer, dear.id)

    async def heard() -> dict[str, set[str]] | None:
        quote = await customer.broker.create_quote(customer.spec())
        refused = {one.offering: {reason.code for reason in one.reasons} for one in quote.refused}
        return refused if refused.get(paused.id) == {"paused"} and elsewhere.id in refused else None

    refused = await until(heard)
    assert refused[elsewhere.id] == {"no_tenant", "site_not_seen"}
    assert {draft.id, archived.id}.isdisjoint(refused)
    quote = await customer.broker.create_quote(customer.spec())
    assert [candidate.offering for candidate in quote.candidates] == [shop.offering, dear.id]
    anyone = market.platform.catalog("anyone", f"org/{customer.organization}:member")
    on_sale = {found.offering.id async for found in each(anyone.search_offerings, state=OfferingState.ACTIVE)}
    answered = {c.offering for c in quote.candidates} | {r.offering for r in quote.refused}
    assert on_sale <= answered


async def test_a_quote_is_priced_by_the_newest_price_list(shop: Shop) -> None:
    market, customer = shop.market, shop.customer
    offering = await market.offering(shop.site, price="1.00")
    for price in ("3.00", "2.00"):
        tariff = Tariff(
            name="t", starts_at=clock.floor_second(clock.now()), prices={Component.CPU_CORE_HOUR: Decimal(price)}
        )
        newest = await market.seller.publish_price_list(offering.id, PriceListDraft(tariffs=(tariff,)))

    async def heard() -> Candidate | None:
        quote = await customer.broker.create_quote(customer.spec())
        return next((one for one in quote.candidates if one.price_list == newest.id), None)

    assert (await until(heard)).components[0].unit_price == "2.00"


async def test_a_quote_shows_what_is_only_priced_and_holds_what_is_billed_until_then(shop: Shop) -> None:
    customer = shop.customer
    await shop.market.admin.publish_site_mode(shop.site, SiteModeDraft(mode=SiteMode.NOTIONAL))

    async def heard() -> Candidate | None:
        [candidate] = (await customer.broker.create_quote(customer.spec(cpus=2, walltime=3600))).candidates
        return candidate if candidate.notional.fen else None

    found = await until(heard)
    assert (found.worst_case, found.notional) == (Money.parse("72.00"), Money.parse("72.00"))


async def test_a_quote_is_kept_and_says_what_it_may_cost(shop: Shop) -> None:
    customer = shop.customer
    quote = await customer.broker.create_quote(customer.spec(cpus=2, walltime=3600))
    [candidate] = quote.candidates
    assert (candidate.worst_case, candidate.has_room) == (Money.parse("72.00"), True)
    [component] = candidate.components
    assert (component.quantity, component.unit_price, component.amount) == (7200, "36.00", Money.parse("72.00"))
    assert await customer.broker.get_quote(quote.id) == quote
    newer = await customer.broker.create_quote(customer.spec())
    assert [found.id async for found in each(customer.broker.list_quotes, limit=1)][:2] == [newer.id, quote.id]


async def test_a_quote_reserves_and_holds_nothing(shop: Shop) -> None:
    for _ in range(3):
        [candidate] = (await shop.customer.broker.create_quote(shop.customer.spec(cpus=4))).candidates
        assert candidate.has_room
    assert (await shop.customer.funds()).held == Money(0)


async def test_prices_that_end_before_the_walltime_refuse_it(shop: Shop) -> None:
    ending = await shop.market.offering(shop.site, ends_after=timedelta(hours=1))
    await sold(shop.customer, ending.id)
    quote = await shop.customer.broker.create_quote(shop.customer.spec(walltime=3700, offerings=(ending.id,)))
    assert {reason.code for r in quote.refused if r.offering == ending.id for reason in r.reasons} == {"no_price"}


async def test_what_the_local_adapter_rejects_is_a_reason_and_not_an_error(market: Market) -> None:
    site = await market.site(adapter="local", settings={"folder": "/srv/caravan-test"})
    offering = await market.offering(site)
    customer = await market.customer(site)
    await market.hand(site, local.descriptor)
    await sold(customer, offering.id)
    two_nodes = customer.spec().model_copy(update={"resources": Resources(nodes=2, walltime_seconds=10)})
    quote = await customer.broker.create_quote(two_nodes)
    [refusal] = [refusal for refusal in quote.refused if refusal.offering == offering.id]
    [reason] = refusal.reasons
    assert reason.code == "backend"
    assert "one machine" in reason.detail


async def test_a_quote_says_when_a_site_cant_be_operated_and_not_in_the_words_of_the_site(shop: Shop) -> None:
    await shop.hand.health(SiteState.REFUSED, "the folder /srv/caravan isn't there")
    quote = await shop.customer.broker.create_quote(shop.customer.spec())
    [reason] = [r.reasons[0] for r in quote.refused if r.offering == shop.offering]
    assert (reason.code, reason.detail) == ("site_refused", SiteState.REFUSED.words)
    assert "/srv/caravan" not in quote.model_dump_json()
    await shop.hand.health()
    assert (await shop.customer.broker.create_quote(shop.customer.spec())).candidates


async def test_someone_elses_project_is_unknown(shop: Shop) -> None:
    other = await shop.market.customer()
    theirs = await eventually(other.broker.create_quote, other.spec())
    with pytest.raises(UnknownReference) as refused:
        await shop.customer.broker.create_quote(other.spec())
    assert refused.value.errors[0].pointer == "/project"
    quote = await shop.customer.broker.create_quote(shop.customer.spec())
    with pytest.raises(NotFound):
        await other.broker.get_quote(quote.id)
    assert [found.id for found in (await other.broker.list_quotes()).items] == [theirs.id]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("deadline", "2030-01-01T00:00:00Z"),
        ("priority", 1),
        ("prefer", "soonest"),
        ("prefer", "balanced"),
    ],
)
@pytest.mark.parametrize("path", ["/v1/quotes", "/v1/jobs"])
async def test_what_this_installation_lacks_is_named(shop: Shop, path: str, field: str, value: object) -> None:
    platform, spec = shop.market.platform, shop.customer.spec().model_dump(mode="json")
    token = platform.token("enterprise", f"org/{shop.customer.organization}:member")
    transport = httpx.ASGITransport(platform.apps["broker"])
    async with httpx.AsyncClient(transport=transport, base_url="http://broker") as http:
        headers = {"Authorization": f"Bearer {token}", "Idempotency-Key": f"{field}{value}"}
        answer = await http.post(path, json=spec | {field: value}, headers=headers)
    assert answer.status_code == NotSupportedHere.status
    problem = answer.json()
    assert problem["code"] == "not_supported_here"
    assert field in problem["errors"][0]["detail"]
    assert not (await shop.customer.broker.list_jobs()).items
