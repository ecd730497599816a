"""What the broker says of many jobs: each of some runs over some hours, beside each other, hour by hour. Made as it is asked for.

A number of jobs run in `FIRST`, all others in the month after it. Two thirds of the price lists have peak and off-peak hours.
"""

import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import islice
from random import Random
from typing import Any, Final

from bench.charges.market import Event, Market, Seller, draw_market, identifier
from caravan.contracts import events
from caravan.contracts.funds import JobHoldRequest
from caravan.contracts.prices import WEEK, Component, Day, DaySpan, PriceList, PriceWindow, Tariff
from caravan.contracts.usage import hour_key
from caravan.kernel.clock import floor_hour
from caravan.kernel.money import Money

ORGANIZATIONS: Final = 200
PROVIDERS: Final = 6
FIRST: Final = datetime(2018, 4, 30, 16, tzinfo=UTC)
"""Where May starts in Asia/Shanghai."""
SECOND: Final = FIRST + timedelta(days=31)
DAYS: Final = 28
"""Of each month, those in which jobs start."""
AT_ONCE: Final = 200
"""Jobs that run beside each other: an hour's records are of all of them."""
RUNS: Final = (4, 5, 6)
HOURS: Final = (4, 5, 6)
RECORDS_PER_JOB: Final = 25
"""About so many come of a job's runs and hours."""
SOURCE: Final = "broker"
TOLD_AT: Final = "2019-01-01T00:00:00Z"
"""Behind all that is used."""


@dataclass
class Group:
    """Jobs that run at the same time: their holds come first, then `facts`, envelopes as JSON."""

    holds: list[JobHoldRequest] = field(default_factory=list)
    facts: list[str] = field(default_factory=list)
    records: int = 0


def market(
    random: Random, organizations: int = ORGANIZATIONS, providers: int = PROVIDERS
) -> tuple[Market, tuple[Event, ...]]:
    """Whose jobs, by which price lists; and what the catalog says of them."""
    drawn = draw_market(random, organizations, providers)
    lists = {
        seller.offering: _price_list(random, seller, number % 3 > 0) for number, seller in enumerate(drawn.sellers)
    }
    sellers = tuple(replace(one, price_lists=(lists[one.offering],)) for one in drawn.sellers)
    parties = tuple(event for event in drawn.known if event.type != events.PRICE_LIST)
    prices = tuple(Event(events.PRICE_LIST, one.id, one) for one in lists.values())
    return Market(parties, (), drawn.projects, sellers), (*parties, *prices)


def _price_list(random: Random, seller: Seller, windowed: bool) -> PriceList:
    night = PriceWindow(
        name="off-peak",
        times=(DaySpan(starts="00:00", ends="07:00"), DaySpan(starts="23:00", ends="24:00")),
        prices={Component.CPU_CORE_HOUR: Decimal("0.05")},
    )
    day = PriceWindow(
        name="peak",
        days=(*WEEK[:5], Day.WORKING_WEEKEND),
        times=(DaySpan(starts="08:30", ends="11:30"), DaySpan(starts="18:00", ends="22:00")),
        prices={Component.CPU_CORE_HOUR: Decimal("0.15")},
    )
    prices = {Component.CPU_CORE_HOUR: Decimal("0.1"), Component.MEMORY_GIB_HOUR: Decimal("0.013")}
    if seller.accelerator:
        prices[Component.ACCELERATOR_HOUR] = Decimal("8.5")
    return PriceList(
        id=identifier(random, "prl"),
        offering=seller.offering,
        revision=1,
        created_at=FIRST,
        tariffs=(
            Tariff(
                name="2018",
                starts_at=FIRST - timedelta(days=120),
                prices=prices,
                windows=(day, night) if windowed else (),
            ),
        ),
    )


def groups(random: Random, sold: Market, jobs: int, in_first: int) -> Iterator[Group]:
    """All jobs, those of the first month first."""
    for start, count in ((FIRST, in_first), (SECOND, jobs - in_first)):
        for first in range(0, count, AT_ONCE):
            begins = start + timedelta(seconds=random.randrange(DAYS * 86_400))
            yield group_of(random, sold, begins, min(AT_ONCE, count - first))


def group_of(random: Random, sold: Market, begins: datetime, jobs: int) -> Group:
    """Jobs that start within ten minutes from `begins`."""
    group, first, last = Group(), [], []
    hours: defaultdict[str, list[str]] = defaultdict(list)
    for _ in range(jobs):
        organization, project = random.choice(sold.projects)
        seller = random.choice(sold.sellers)
        job, attempt = identifier(random, "job"), identifier(random, "att")
        group.holds.append(
            JobHoldRequest(
                job=job,
                revision=1,
                organization=organization,
                project=project,
                amount=Money(10**6),
                submitted_at=begins,
            )
        )
        placed = {
            "attempt": attempt,
            "job": job,
            "organization": organization,
            "project": project,
            "offering": seller.offering,
            "site": seller.site,
            "provider": seller.provider,
            "price_list": seller.price_lists[0].id,
        }
        first.append(envelope(random, events.JOB_NAMED, job, {"job": job, "name": "算例"}))
        first.append(envelope(random, events.ATTEMPT_PLACED, job, placed))
        settled = []
        for records in _runs(random, job, attempt, begins, seller):
            run = records[0]["run"]
            for record in records:
                hours[record["hour"]].append(envelope(random, events.USAGE_STATED, job, record))
            final = {"run": run, "attempt": attempt, "job": job, "outcome": "succeeded"}
            last.append(envelope(random, events.RUN_FINAL, job, final))
            settled.append({"run": run, "hours": {record["hour"]: 1 for record in records}})
            group.records += len(records)
        last.append(envelope(random, events.JOB_SETTLED, job, {"job": job, "hold_revision": 1, "runs": settled}))
    group.facts = [*first, *(fact for hour in sorted(hours) for fact in hours[hour]), *last]
    return group


def _runs(random: Random, job: str, attempt: str, begins: datetime, seller: Seller) -> Iterator[list[dict[str, Any]]]:
    """The usage records of each run."""
    shape = {
        "nodes": 1,
        "cpus": random.choice((4, 8, 16, 32)),
        "memory_mib": 1024 * random.choice((8, 32, 64)),
        "accelerators": random.choice((1, 2, 8)) if seller.accelerator else 0,
        "accelerator": seller.accelerator,
    }
    for number in range(random.choice(RUNS)):
        start = begins + timedelta(seconds=random.randrange(600))
        end = floor_hour(start) + timedelta(hours=random.choice(HOURS), seconds=-random.randrange(1800))
        common = {
            "run": identifier(random, "run"),
            "attempt": attempt,
            "job": job,
            "revision": 1,
            "run_started_at": hour_key(start),
            "backend_identity": f"slurm:xian:{job}_{number}",
        }
        yield [{**common, "hour": hour, "spans": spans} for hour, spans in _hours(start, end, shape)]


def _hours(start: datetime, end: datetime, shape: dict[str, Any]) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    while start < end:
        hour = floor_hour(start)
        until = min(end, hour + timedelta(hours=1))
        yield hour_key(hour), [{"start": hour_key(start), "end": hour_key(until), **shape}]
        start = until


def envelope(random: Random, kind: str, subject: str, data: dict[str, Any]) -> str:
    """An event, as JSON."""
    return json.dumps(
        {
            "specversion": "1.0",
            "id": identifier(random, "evt"),
            "source": SOURCE,
            "type": kind,
            "subject": subject,
            "time": TOLD_AT,
            "data": data,
        }
    )


def pages(facts: Iterator[str], size: int) -> Iterator[str]:
    """Pages of a feed as JSON, `size` events each."""
    while page := list(islice(facts, size)):
        yield f"[{','.join(page)}]"
