"""Money is set aside before anything starts, and stays so until the usage of what ran is charged."""

import asyncio
from collections import Counter

import httpx

from bench.case import Trial, Verdict, case
from bench.cases.keys import post
from bench.platform import Market, Platform, eventually, free_ports, open_market, until
from bench.steps import Hold
from caravan.client import AccountingClient
from caravan.contracts.funds import BudgetDraft, HoldStatus
from caravan.contracts.parties import ProjectDraft
from caravan.contracts.prices import PriceListDraft
from caravan.contracts.spec import JobSpec, Resources
from caravan.kernel import clock
from caravan.kernel.money import Money

CLIENTS, FIT = 50, 10
WALLTIME = 58
"""With the local adapter's kill grace of 2 s at 0.01 a core-second: 0.60 a job at most."""


@case(
    "budget-for-ten",
    claim="50 clients at once against a budget for 10 jobs",
    goal="10 times 201, 40 times 402",
)
def budget_for_ten(trial: Trial) -> Verdict:
    return asyncio.run(_budget_for_ten(trial))


async def _budget_for_ten(trial: Trial) -> Verdict:
    rounds = 5 if trial.long else 1
    seen = []
    async with Platform(trial.folder).start() as platform:
        market = await open_market(platform)
        token = platform.token(f"org/{market.organization}:member")
        buyer = await platform.accounting(f"org/{market.organization}:admin")
        for number in range(rounds):
            catalog = await platform.catalog(f"org/{market.organization}:admin")
            project = await catalog.create_project(ProjectDraft(organization=market.organization, name=f"p{number}"))
            await eventually(
                buyer.create_budget,
                BudgetDraft(
                    organization=market.organization,
                    project=project.id,
                    name="for ten",
                    limit=Money(60 * FIT),
                    starts_at=clock.floor_second(clock.now()),
                ),
            )
            spec = JobSpec(
                name="b", project=project.id, script="sleep 60", resources=Resources(walltime_seconds=WALLTIME)
            )
            broker = await platform.broker(f"org/{market.organization}:member")
            await eventually(broker.create_quote, spec)
            async with httpx.AsyncClient(limits=httpx.Limits(max_connections=CLIENTS), timeout=60) as http:
                answers = await asyncio.gather(
                    *(post(http, platform.url("broker"), token, f"{number}-{i}", spec) for i in range(CLIENTS))
                )
            seen.append(Counter(answer.status_code for answer in answers))
            trial.say(f"round {number}: {dict(seen[-1])}")
            for answer in answers:
                if answer.status_code == 201:
                    await broker.cancel_job(answer.json()["id"])
    wanted = Counter({201: FIT, 402: CLIENTS - FIT})
    figure = "; ".join(", ".join(f"{n} times {status}" for status, n in sorted(one.items())) for one in seen)
    return Verdict(all(one == wanted for one in seen), figure)


@case(
    "held-until-charged",
    claim="With usage delayed and its job ended, the money is still held; it is freed once the usage is charged",
    goal="held 0.60 while delayed, 0.00 after",
)
def held_until_charged(trial: Trial) -> Verdict:
    return asyncio.run(_held_until_charged(trial))


async def _held_until_charged(trial: Trial) -> Verdict:
    async with Platform(trial.folder, split=True).start() as platform:
        market = await open_market(platform)
        platform.stop("accounting")
        with Hold(trial.folder, "charge") as hold:
            platform.start(**hold.environment)
            job = await _run_one(platform, market)
            await hold.reached()
            money = await platform.accounting(f"org/{market.organization}:member")
            during = (await money.get_hold(job)).held
        return await _freed(money, job, during, "delayed")


@case(
    "held-while-parked",
    claim="Usage that can't be applied yet is parked, and its job's money stays held until it is applied",
    goal="held 0.60 while parked, 0.00 after",
)
def held_while_parked(trial: Trial) -> Verdict:
    return asyncio.run(_held_while_parked(trial))


async def _held_while_parked(trial: Trial) -> Verdict:
    async with Platform(trial.folder, split=True).start() as platform:
        market = await open_market(platform)
        platform.stop("accounting")
        platform.start(
            CARAVAN_CATALOG_URL=f"http://127.0.0.1:{free_ports(1)[0]}"
        )  # accounting no longer hears of prices
        seller = await platform.catalog(f"provider/{market.provider}:admin")
        (old,) = (await seller.list_price_lists(market.offering)).items
        new = await seller.publish_price_list(market.offering, PriceListDraft(tariffs=old.tariffs))
        broker = await platform.broker(f"org/{market.organization}:member")

        async def priced_anew() -> bool:
            candidates = (await broker.create_quote(_spec(market))).candidates
            return bool(candidates) and candidates[0].price_list == new.id

        await until(priced_anew, "the broker to hear of the new prices")
        job = await _run_one(platform, market)
        await until(lambda: _parked(platform), "the usage to be parked")
        money = await platform.accounting(f"org/{market.organization}:member")
        during = (await money.get_hold(job)).held
        platform.stop("accounting")
        platform.start()
        return await _freed(money, job, during, "parked")


def _spec(market: Market) -> JobSpec:
    return JobSpec(name="h", project=market.project, script="sleep 1", resources=Resources(walltime_seconds=WALLTIME))


async def _run_one(platform: Platform, market: Market) -> str:
    """A job of a second, run and settled as far as the broker is concerned."""
    broker = await platform.broker(f"org/{market.organization}:member")
    job = (await broker.submit_job(_spec(market))).id

    async def settled() -> bool:
        return (await broker.get_job(job)).settled_at is not None

    await until(settled, "the broker to have settled the job")
    return job


async def _parked(platform: Platform) -> bool:
    async with httpx.AsyncClient() as http:
        metrics = (await http.get(f"{platform.url('accounting')}/metrics")).text
    return any(line.startswith("caravan_parked_events") and not line.endswith(" 0.0") for line in metrics.splitlines())


async def _freed(money: AccountingClient, job: str, during: Money, word: str) -> Verdict:
    async def settled() -> bool:
        return (await money.get_hold(job)).status is HoldStatus.SETTLED

    await until(settled, "accounting to settle the hold")
    after = await money.get_hold(job)
    passed = during == Money(60) and after.held == Money(0) and after.captured.fen > 0
    return Verdict(passed, f"held {during} while {word}, {after.held} after; {after.captured} charged")
