"""What a reseller sells is placed by both lists, and both amounts are asked for."""

import json
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal

import pytest
import pytest_asyncio
from sqlalchemy import update
from sqlalchemy.orm import Session

from caravan.client import BrokerClient
from caravan.contracts.events import ATTEMPT_PLACED
from caravan.contracts.funds import FundsLimit, HoldAnswer, ResaleHold
from caravan.contracts.jobs import Job, JobState, Outcome, PendingReason
from caravan.contracts.parties import OrganizationDraft
from caravan.contracts.prices import Component, PriceListDraft, Tariff
from caravan.contracts.problems import ResellerFundsShort
from caravan.contracts.quotes import Candidate
from caravan.contracts.resale import ResaleAgreement, ResaleAgreementDraft
from caravan.contracts.spec import Array
from caravan.contracts.usage import AttemptPlaced, Resale
from caravan.kernel import clock, ids
from caravan.kernel.money import Money
from services.broker.jobs import funding
from services.broker.jobs.models import JobRow
from services.broker.placement.models import Copy
from tests.broker.hand import Hand, Run
from tests.broker.market import Customer, Market, sold, until

pytestmark = pytest.mark.asyncio(loop_scope="session")


@dataclass
class District:
    """Sells one offering to its member at 2 fen a core-second, and buys it at 1; another, at 3, it doesn't sell."""

    market: Market
    member: Customer
    reseller: Customer
    agreement: ResaleAgreement
    hand: Hand
    resold: str
    wholesale: str
    direct: str
    watcher: BrokerClient
    seen: str
    """What the watcher has been told: from then on it follows, and nothing that it hasn't heard is dropped."""

    async def publish(self, price: str, ends_after: timedelta | None = None) -> str:
        start = clock.floor_second(clock.now())
        tariff = Tariff(
            name="district",
            starts_at=start - timedelta(days=1),
            ends_at=None if ends_after is None else start + ends_after,
            prices={Component.CPU_CORE_HOUR: Decimal(price)},
        )
        draft = PriceListDraft(reseller=self.reseller.organization, tariffs=(tariff,))
        boss = self.market.platform.catalog("district", f"org/{self.reseller.organization}:admin")
        return (await boss.publish_price_list(self.resold, draft)).id

    async def offered(self, *expected: tuple[str, str | None, str]) -> list[Candidate]:
        """Wait until the member's candidates are these, by offering, reseller and worst case for 100 s."""

        async def there() -> list[Candidate] | None:
            quote = await self.member.broker.create_quote(self.member.spec())
            found = [(one.offering, one.reseller, str(one.worst_case)) for one in quote.candidates]
            return list(quote.candidates) if found == list(expected) else None

        return await until(there)

    async def placed(self, job: Job) -> AttemptPlaced:
        """The next of what accounting is told of the job's attempts."""

        async def told() -> AttemptPlaced | None:
            events, self.seen = await self.watcher.feed(self.seen, 0)
            found = [event for event in events if (event["type"], event["subject"]) == (ATTEMPT_PLACED, job.id)]
            return AttemptPlaced.model_validate(found[-1]["data"]) if found else None

        return await until(told)

    async def asked(self, job: Job) -> tuple[str, ResaleHold | None]:
        """The hold that was asked for last."""
        read = self.market.platform.runtime.db.read
        request = (await read(lambda tx: funding.ask_for(tx.get_one(JobRow, job.id)))).request
        return str(request.amount), request.resale

    async def sellers(self, job: Job) -> list[str | None]:
        """The resellers of what it was asked for, of what is ahead."""
        read = self.market.platform.runtime.db.read
        request = (await read(lambda tx: funding.ask_for(tx.get_one(JobRow, job.id)))).request
        return [use.reseller for use in request.ahead]

    def hold(self, amount: str) -> ResaleHold:
        reseller = self.reseller
        return ResaleHold(organization=reseller.organization, project=reseller.project, amount=Money.parse(amount))


@pytest_asyncio.fixture(loop_scope="session")
async def district(market: Market) -> District:
    site = await market.site()
    resold, direct = await market.offering(site), await market.offering(site, price="108.00")
    member, reseller = await market.customer(site), await market.customer()
    draft = ResaleAgreementDraft(
        reseller=reseller.organization, project=reseller.project, members=(member.organization,),
        starts_at=clock.floor_hour(clock.now()),
    )  # fmt: skip
    agreement = await market.admin.create_resale_agreement(draft)
    (wholesale,) = (await market.seller.list_price_lists(resold.id)).items
    hand = await market.hand(site)
    await sold(member, resold.id, direct.id)
    watcher = market.platform.broker(ids.new("own"), "service:catalog")
    since, _, _ = await watcher.snapshot(None)
    _, seen = await watcher.feed(since, 0)
    made = District(market, member, reseller, agreement, hand, resold.id, wholesale.id, direct.id, watcher, seen)
    await made.offered((resold.id, None, "1.00"), (direct.id, None, "3.00"))
    await made.publish("72.00")
    await made.offered((resold.id, reseller.organization, "2.00"), (direct.id, None, "3.00"))
    return made


async def test_a_member_is_quoted_the_resellers_prices_and_others_the_centres(district: District) -> None:
    one, _ = await district.offered(
        (district.resold, district.reseller.organization, "2.00"), (district.direct, None, "3.00")
    )
    assert one.reseller_name == "Robotics 机器人"
    site = (await district.market.seller.get_offering(district.resold)).site
    other = await district.market.customer(site)
    await sold(other, district.resold)
    quote = await other.broker.create_quote(other.spec(offerings=(district.resold,)))
    assert [(one.reseller, str(one.worst_case)) for one in quote.candidates] == [(None, "1.00")]


async def test_an_attempt_is_placed_by_both_lists_and_both_amounts_are_asked_for(district: District) -> None:
    (retail,) = (
        await district.market.admin.list_price_lists(district.resold, reseller=district.agreement.reseller)
    ).items
    job = await district.member.submit(array=Array(indices=(0, 1)))
    assert await district.asked(job) == ("4.00", district.hold("2.00"))
    assert await district.sellers(job) == [district.reseller.organization]
    placed = await district.placed(job)
    assert (placed.organization, placed.price_list) == (district.member.organization, retail.id)
    reseller = district.reseller
    assert placed.resale == Resale(
        reseller=reseller.organization, project=reseller.project, price_list=district.wholesale
    )


async def test_what_is_tried_again_is_sold_by_who_sells_it_then_and_the_reseller_owes_for_what_ran(
    district: District,
) -> None:
    job = await district.member.submit(array=Array(indices=(0, 1)))
    attempt = await district.hand.start(job)
    assert (await district.placed(job)).resale is not None
    await district.publish("999.00")
    await district.hand.end(attempt, [Run(attempt, 0, 20), Run(attempt, 1, 20, Outcome.SITE)])
    again = await district.placed(job)
    assert (again.offering, again.resale) == (district.direct, None)
    # 20 s that ran, by the lists of then, and a walltime of what the centre sells itself
    assert await district.asked(job) == ("3.40", district.hold("0.20"))
    assert await district.sellers(job) == [None]


async def test_a_job_keeps_its_reseller_when_the_agreement_ends_while_it_waits(district: District) -> None:
    busy = [await district.member.submit(cpus=4) for _ in range(2)]
    job = await district.member.submit()
    assert job.reason == PendingReason.NO_CAPACITY
    assert await district.asked(job) == ("3.00", district.hold("1.00")), (
        "the dearest to buy, and the dearest to sell on"
    )
    await ended(district)
    await district.offered((district.resold, None, "1.00"), (district.direct, None, "3.00"))
    later = await district.member.submit()
    attempt = await district.hand.start(busy[0])
    await district.hand.end(attempt, [Run(attempt, cpus=4)])
    placed = await district.placed(job)
    assert (placed.offering, placed.resale is not None) == (district.resold, True)
    assert await district.asked(job) == ("2.00", district.hold("1.00"))
    assert (await district.asked(later))[1] is None


async def ended(district: District) -> None:
    """As if the agreement had ended as this hour began, and the broker had heard of it."""
    now = clock.floor_hour(clock.now())
    over = district.agreement.model_copy(update={"starts_at": now - timedelta(hours=1), "ends_at": now})

    def write(tx: Session) -> None:
        data = json.dumps(over.model_dump(mode="json"))
        tx.execute(update(Copy).where(Copy.id == over.id).values(data=data))

    await district.market.platform.runtime.db.write(write)
    await district.market.admin.create_organization(OrganizationDraft(name="so that the feed moves"))


async def test_where_the_reseller_is_short_the_job_is_refused_without_a_figure(district: District) -> None:
    wire = district.market.platform.to_accounting
    wire.cut = True
    try:
        job = await district.member.submit()
        answer = HoldAnswer(job=job.id, revision=1, granted=False, short=FundsLimit.RESELLER)

        def refuse(tx: Session) -> JobRow:
            funding.decided(tx, funding.ask_for(tx.get_one(JobRow, job.id)), answer)
            return tx.get_one(JobRow, job.id)

        row = await district.market.platform.runtime.db.write(refuse)
    finally:
        wire.cut = False
    refused = await district.member.job(job.id)
    assert refused.state is JobState.REFUSED
    assert refused.detail == "The funds of its reseller did not cover what that would have bought of it"
    problem = funding.problem_of(row, answer, None)
    assert isinstance(problem, ResellerFundsShort)
    body = problem.body()
    assert (body["status"], body["job"], body["reseller"]) == (402, job.id, district.reseller.organization)
    assert "1.00" not in json.dumps(body)
