"""A made quarter: enterprises with vouchers of several programmes, their jobs and what is corrected of them; told in any order, and closed
in any number of steps.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Any, Final

from bench.charges.market import Event
from bench.vouchers.books import Facts
from bench.vouchers.jobs import Buyer, Job, Part, Sold, sold_at
from bench.vouchers.town import Month, Town, buyer, starts
from caravan.contracts.jobs import Outcome
from caravan.contracts.offerings import Tier
from caravan.contracts.prices import Component, VolumeTier
from caravan.kernel.money import Money

MONTHS: Final[Sequence[Month]] = ((2026, 1), (2026, 2), (2026, 3))
MOST_STEPS: Final = 6
"""Closes of months, the last of which have only what was late."""
JOBS: Final = 3
"""Of each enterprise on each offering, one a month."""
DOUBLED: Final = 0.2
RESTATED: Final = 0.5
MONEY: Final = Money(10**9)
YEAR: Final = {"starts_at": "2026-01-01T00:00:00+08:00", "ends_at": "2027-01-01T00:00:00+08:00"}
POOLS: Final = {"pools": [{"year": 2026, "amount": "1000000.00"}]}
HALVES: Final = [{"name": "省科技厅", "share": 3333}, {"name": "市科技局", "share": 6667}]
PROGRAMMES: Final[dict[str, dict[str, Any]]] = {
    "nation": {
        "issuer": {"name": "国家发展改革委", "level": "national"},
        "rates": [{"rate": 1000}],
        "stacks_to": 6000,
        "settles": "month",
    },
    "province": {
        "issuer": {"name": "省科技厅", "level": "province"},
        "rates": [{"rate": 2000}],
        "stacks_to": 6000,
        "settles": "year",
        "caps": {"redeemed_in_year": "150.00"},
    },
    "city": {
        "issuer": {"name": "市科技局", "level": "city"},
        "rates": [{"rate": 3000}, {"origin": "domestic", "rate": 4000}],
        "floor": "100.00",
        "stacks_to": 4000,
        "funders": HALVES,
        "settles": "quarter",
    },
    "district": {
        "issuer": {"name": "区科创局", "level": "district"},
        "components": ["accelerator_hour"],
        "rates": [{"rate": 1000}, {"kind": "awarded_project", "rate": 5000}],
        "floor": "80.00",
        "caps": {"claim": "200.00"},
        "settles": "month",
    },
}
HELD: Final[Sequence[dict[str, int]]] = (
    {"province": 100_000, "city": 100_000},
    {"city": 9_000},
    {"district": 100_000},
    {"city": 100_000, "district": 100_000},
    {"province": 100_000, "city": 30_000, "district": 100_000},
    {"nation": 100_000, "province": 100_000},
    {"city": 100_000},
)
"""Of each enterprise, by programme, what its voucher is for, in fen. The first is cut by the year, the second by its amount. In whatever
order lines come, both vouchers of the last but one pay for its first line, and the last's pays for an earlier month in the third."""
AWARDED: Final = 2
"""From this one on they have an awarded project, for which the district pays more."""


@dataclass
class Item:
    """A job, or what is corrected of one: told with step `least`, or later unless it is `prompt`, and behind `after`."""

    job: Job
    least: int
    part: Part
    outcome: Outcome
    settles: bool
    after: "Item | None" = None
    prompt: bool = False

    @property
    def corrects(self) -> bool:
        return self.after is not None


@dataclass
class Quarter:
    """The same for the same seed; `items` are drawn anew for each order, with equal jobs."""

    buyers: list[Buyer]
    sold: list[Sold]
    items: list[Item] = field(default_factory=list)


def draw(random: Random) -> Quarter:
    """Jobs that are corrected cost whole ten yuan: so what vouchers pay of them is the same in one piece and in several."""
    tiers = (VolumeTier(above=1, percent_off=Decimal("10")),)
    plain = sold_at(random, Component.CPU_CORE_HOUR, Tier.HPC, None, Decimal("36"))
    discounted = sold_at(random, Component.ACCELERATOR_HOUR, Tier.AI, "foreign", Decimal("36"))
    sold = [
        plain,
        replace(discounted, volume=tiers),
        sold_at(random, Component.ACCELERATOR_HOUR, Tier.AI, "domestic", Decimal("36")),
    ]
    quarter = Quarter([buyer(random) for _ in HELD], sold)
    *some, last = quarter.buyers
    for number, one in enumerate(some):
        for place, offering in enumerate(sold):
            for month in range(JOBS):
                _draw_job(random, quarter, one, offering, month, corrected=(number + place + month) % 3 == 0)
    for month, seconds in ((0, 3_000), (2, 60_000)):  # below the city's floor, and above it
        begins = starts(MONTHS[month]) + timedelta(days=1)
        ends = begins + timedelta(seconds=seconds)
        job = Job.of(random, last, plain, begins - timedelta(minutes=5), Money(seconds))
        quarter.items.append(Item(job, month, (begins, ends), Outcome.SUCCEEDED, settles=True, prompt=not month))
    return quarter


def _draw_job(random: Random, quarter: Quarter, buyer: Buyer, sold: Sold, month: int, *, corrected: bool) -> None:
    begins = starts(MONTHS[month]) + timedelta(days=1, seconds=random.randrange(26 * 86_400))
    if month < len(MONTHS) - 1 and not corrected and random.random() < 0.3:
        month += 1  # over the end of the month before
        begins = starts(MONTHS[month]) - timedelta(seconds=random.randrange(600, 3000))
    seconds = 1000 * random.randint(3, 12) if corrected else random.randrange(3000, 12_000)
    ends = begins + timedelta(seconds=seconds)
    job = Job.of(random, buyer, sold, begins - timedelta(minutes=5), Money(seconds))
    first = Item(job, month, (begins, ends), Outcome.SUCCEEDED, settles=not corrected)
    quarter.items.append(first)
    if corrected:
        fault = random.random() < 0.5
        part = (begins, ends) if fault else (begins, ends - timedelta(seconds=1000 * random.randint(1, 2)))
        outcome = Outcome.SITE if fault else Outcome.SUCCEEDED
        quarter.items.append(Item(job, month, part, outcome, settles=True, after=first))


def steps_of(random: Random, quarter: Quarter, steps: int) -> list[list[Item]]:
    """What is told before each of so many closes. Each of those behind the quarter has something."""
    found: list[list[Item]] = [[] for _ in range(steps)]
    at: dict[int, int] = {}
    late = random.sample([one for one in quarter.items if not one.corrects and not one.prompt], steps - len(MONTHS))
    for item in quarter.items:
        least = item.least if item.after is None else max(item.least, at[id(item.after)])
        own = least if item.prompt else random.choice((least, random.randrange(least, steps)))
        if item in late:
            own = len(MONTHS) + late.index(item)
        at[id(item)] = max(least, own)
        found[at[id(item)]].append(item)
    return found


def told(random: Random, items: Sequence[Item]) -> Iterator[Event]:
    """What the broker says of them, shuffled; some twice, some cut otherwise by the backend, some stated at first in part."""
    facts: list[Event] = []
    for item in items:
        begins, ends = item.part
        middle = begins + timedelta(seconds=random.randrange(1, int((ends - begins).total_seconds())))
        facts += [] if item.corrects else item.job.placed()
        if not item.corrects and random.random() < RESTATED:
            facts += item.job.use(begins, middle)
        if not item.corrects or item.outcome is Outcome.SUCCEEDED:
            facts += item.job.use(begins, ends, [middle])
        facts += [*item.job.end(item.outcome), *item.job.settle()] if item.settles else []
    facts += [fact for fact in facts if random.random() < DOUBLED]
    random.shuffle(facts)
    yield from facts


async def play(town: Town, random: Random, quarter: Quarter, steps: int) -> Facts:
    """Vouchers first, then step by step what is told before its close."""
    await town.open(quarter.buyers, quarter.sold, MONEY)
    programmes = {
        name: await town.publish({"name": name, **YEAR, **POOLS, **terms}) for name, terms in PROGRAMMES.items()
    }
    vouchers = []
    for number, (one, held) in enumerate(zip(quarter.buyers, HELD, strict=True)):
        for name, fen in held.items():
            kinds = ("awarded_project",) if number >= AWARDED and name == "district" else ()
            vouchers.append(await town.issue(programmes[name], one, Money(fen), kinds=kinds))
    jobs: dict[str, Job] = {}
    ends: list[dict[str, datetime]] = []
    for number, items in enumerate(steps_of(random, quarter, steps)):
        month = (2026, 1 + number)
        town.at(starts((2026, 2 + number)))
        for item in items:
            if not item.corrects:
                jobs[item.job.id] = item.job
                await town.hold(item.job)
        await town.say(told(random, items))
        await town.close(month)
        ends.append({job.id: job.used[1] for job in jobs.values() if job.used})
    return Facts(quarter.buyers, programmes, vouchers, jobs, ends)
