"""Many at once against a pool, a year, a voucher and funds that fit fewer."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from random import Random
from typing import Any, Final

from bench.case import Trial, Verdict, case
from bench.engines import BOTH, POSTGRESQL, engines
from bench.vouchers.books import Compared
from bench.vouchers.jobs import Buyer, Job, sold_at
from bench.vouchers.quarter import YEAR
from bench.vouchers.town import Town, buyer, opened, starts
from caravan.contracts.offerings import Tier
from caravan.contracts.prices import Component
from caravan.contracts.problems import AboveCap, PoolExhausted, VoucherCap
from caravan.contracts.programmes import Programme
from caravan.contracts.vouchers import Voucher, VoucherApplication
from caravan.kernel.money import Money

LONG: Final = (100, 20)
SHORT: Final = (40, 1)
"""At once, and rounds."""
EACH: Final = 10
"""Applications of an enterprise."""
ASKED, OF_YEAR, OF_POOL = 10_000, 30_000, 20_000
"""Fen: of an application; an enterprise's year, and what the pool has for each enterprise."""
COSTS, PERCENT = 1000, 30
"""Fen of a job, all of which it holds; and what the voucher pays of that."""
OF_VOUCHER, OF_FUNDS, REDEEMED = 100, 500, 80
"""Fen for each job that is tried: the voucher's, the organization's own, and the most that the year redeems."""


@dataclass
class Samples:
    """How often a reader has looked while others were at it, and what it saw pass its limit."""

    taken: int = 0
    passed: int = 0


@case(
    "voucher-races",
    claim=f"{LONG[0]} vouchers applied for at once against years that fit fewer, as many issued at once against a pool and years that fit "
    f"fewer, and {LONG[0]} jobs held and charged at once against a voucher, funds and a year that fit fewer, on SQLite and on PostgreSQL: "
    "none is ever passed, and each is used up",
    goal=f"{LONG[1]} rounds on each: as many as fit; no reader sees one that is passed; the books verified",
)
def voucher_races(trial: Trial) -> Verdict:
    compared, samples = Compared(), Samples()
    at_once, rounds = LONG if trial.long else SHORT
    with engines(trial.folder, BOTH if trial.long else (POSTGRESQL,)) as databases:
        for name, engine in databases.items():
            for number in range(rounds):
                url = engine.migrated("accounting")
                asyncio.run(_round(trial, url, at_once, compared, samples))
                engine.drop(url)
                trial.say(f"{name} {number + 1} of {rounds}: {samples}, {len(compared.wrong)} wrong")
    counts = sum(compared.counts.values())
    return Verdict(
        passed=not compared.wrong and not samples.passed and samples.taken >= rounds * len(databases) and counts > 0,
        figure=f"{at_once} at once, {rounds} rounds on {' and '.join(databases)}: {counts} outcomes, {len(compared.wrong)} differ; "
        f"{samples.taken:,} samples, {samples.passed} of them above a limit"
        + "".join(f"; {one}" for one in compared.wrong[:2]),
        details={"counts": compared.counts, "wrong": compared.wrong[:50]},
    )


async def _round(trial: Trial, url: str, at_once: int, compared: Compared, samples: Samples) -> None:
    random = Random(trial.random.random())
    async with opened(url, trial.folder, random) as town:
        enterprises = [buyer(random) for _ in range(at_once // EACH)]
        user = buyer(random)
        await town.open(enterprises, [], Money(100))
        await _issues(town, enterprises, compared, samples)
        await town.open([user], [], Money(at_once * OF_FUNDS))
        await _uses(town, random, user, at_once, compared, samples)
        compared.wrong += await town.wrong()


async def _watched(samples: Samples, look: Callable[[], Awaitable[bool]], work: Sequence[Awaitable[Any]]) -> list[Any]:
    """All the work at once, while a reader looks whether all is within its limits."""
    busy = asyncio.gather(*work, return_exceptions=True)
    while not busy.done():
        within = await look()
        samples.taken += 1
        samples.passed += not within
    return await busy


async def _issues(town: Town, enterprises: Sequence[Buyer], compared: Compared, samples: Samples) -> None:
    pool = Money(OF_POOL * len(enterprises))
    programme = await town.publish(
        {
            "name": "算力券",
            **YEAR,
            "issuer": {"name": "市科技局", "level": "city"},
            "pools": [{"year": 2026, "amount": str(pool)}],
            "rates": [{"rate": 3000}],
            "caps": {"issued_in_year": str(Money(OF_YEAR))},
        }
    )
    tried = await asyncio.gather(
        *(town.apply(programme, one, Money(ASKED)) for one in enterprises for _ in range(EACH)), return_exceptions=True
    )
    applied = [one for one in tried if isinstance(one, VoucherApplication)]
    fits = OF_YEAR // ASKED
    compared.equal(
        "issues",
        "applied for",
        {one.organization: fits for one in enterprises},
        Counter(one.organization for one in applied),
    )
    above = sum(isinstance(one, AboveCap) for one in tried)
    compared.equal("issues", "above the year", len(tried) - len(applied), above)
    asked = [one.id for one in applied]
    for one in {one.organization: one for one in applied}.values():
        asked += await town.applied_before(one, EACH - fits)

    async def within() -> bool:
        standing = await town.office.get_programme_standing(programme.id, limit=200)
        return standing.pools[0].committed <= pool and all(one.issued <= Money(OF_YEAR) for one in standing.items)

    answers = await _watched(samples, within, [town.office.issue_voucher(one) for one in asked])
    found = Counter(type(one).__name__ for one in answers)
    fit = pool.fen // ASKED
    compared.equal("issues", "issued", fit, found[Voucher.__name__])
    compared.equal("issues", "refused", len(asked) - fit, found[VoucherCap.__name__] + found[PoolExhausted.__name__])
    of_each = Counter(one.organization for one in answers if isinstance(one, Voucher))
    compared.equal("issues", "of an enterprise", True, max(of_each.values()) <= fits)
    standing = await town.office.get_programme_standing(programme.id, limit=200)
    compared.equal("issues", "the pool", pool, standing.pools[0].committed)
    compared.equal(
        "issues",
        "the years",
        {id: Money(count * ASKED) for id, count in of_each.items()},
        {one.organization: one.issued for one in standing.items},
    )


async def _uses(town: Town, random: Random, user: Buyer, at_once: int, compared: Compared, samples: Samples) -> None:
    programme = await town.publish(
        {
            "name": "算力券",
            **YEAR,
            "issuer": {"name": "省科技厅", "level": "province"},
            "pools": [{"year": 2026, "amount": str(Money(OF_VOUCHER * at_once))}],
            "rates": [{"rate": 100 * PERCENT}],
            "caps": {"redeemed_in_year": str(Money(REDEEMED * at_once))},
        }
    )
    voucher = await town.issue(programme, user, Money(OF_VOUCHER * at_once))
    sold = sold_at(random, Component.CPU_CORE_HOUR, Tier.HPC, None, Decimal("36"))
    await town.sell([sold])
    begins = starts((2026, 1)) + timedelta(days=1)
    town.at(begins + timedelta(days=1))
    jobs = [Job.of(random, user, sold, begins, Money(COSTS)) for _ in range(at_once)]
    tried = Counter[bool | None]()

    async def try_(job: Job) -> None:
        granted = None
        try:
            granted = (await town.ask(job)).granted
        finally:
            tried[granted] += 1
        if granted:
            used = job.use(begins, begins + timedelta(seconds=COSTS))
            town.tell([*job.placed(), *used, *job.end(), *job.settle()])

    async def charge() -> None:
        while tried.total() < len(jobs):
            await town.charge()
            await asyncio.sleep(0)
        await town.charge()

    async def within() -> bool:
        now, funds = await town.office.get_voucher(voucher.id), await town.finance.get_funds(user.organization)
        return now.redeemed <= now.pledged <= now.amount and funds.granted <= now.amount and funds.available.fen >= 0

    broken = await _watched(samples, within, [charge(), *map(try_, jobs)])
    compared.equal("uses", "broken", set(), {repr(one) for one in broken if one is not None})
    pledged, spent, fit = _fits(at_once)
    compared.equal("uses", "granted", fit, tried[True])
    now = await town.office.get_voucher(voucher.id)
    compared.equal("uses", "the voucher", (pledged, pledged), (now.pledged.fen, now.redeemed.fen))
    funds = await town.finance.get_funds(user.organization)
    figures = (funds.charged.fen, funds.held.fen, funds.available.fen)
    compared.equal("uses", "funds", (fit * COSTS, 0, OF_FUNDS * at_once - spent), figures)
    (period,) = await _watched(samples, lambda: _redeemed(town, programme, at_once), [town.close((2026, 1))])
    compared.equal("closes", "the period", town.closed, [period])
    paid = min(fit * COSTS * PERCENT // 100, OF_VOUCHER * at_once, REDEEMED * at_once)
    claims = await town.claims(programme.id)
    compared.equal("closes", "the claim", [(fit * COSTS * PERCENT // 100, paid)], list(claims.values()))
    now = await town.office.get_voucher(voucher.id)
    compared.equal("closes", "the voucher", (paid, paid), (now.pledged.fen, now.redeemed.fen))
    (statement,) = await town.statements(user.organization)
    compared.equal("closes", "due", Money(fit * COSTS - paid), statement.due)


async def _redeemed(town: Town, programme: Programme, at_once: int) -> bool:
    standing = await town.office.get_programme_standing(programme.id, limit=200)
    return all(one.redeemed <= Money(REDEEMED * at_once) for one in standing.items)


def _fits(at_once: int) -> tuple[int, int, int]:
    """What of the voucher is pledged, and of the organization's own spent, by how many jobs: whichever comes first, all are alike."""
    pledged = spent = fit = 0
    for _ in range(at_once):
        part = min(COSTS * PERCENT // 100, OF_VOUCHER * at_once - pledged)
        if spent + COSTS - part > OF_FUNDS * at_once:
            break
        pledged, spent, fit = pledged + part, spent + COSTS - part, fit + 1
    return pledged, spent, fit
