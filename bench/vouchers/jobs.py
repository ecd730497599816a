"""What is sold in the town, and jobs that use it: what the broker says of them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from random import Random
from typing import Final
from zoneinfo import ZoneInfo

from bench.charges.market import Event, identifier
from caravan.contracts import events
from caravan.contracts.funds import HoldRequest, HoldUse
from caravan.contracts.jobs import Outcome
from caravan.contracts.offerings import Accelerator, AcceleratorUnit, Capacity, Limits, Offering, OfferingState, Tier
from caravan.contracts.parties import Organization, Project, Provider, ProviderKind, ProviderState
from caravan.contracts.prices import Component, PriceList, Tariff, VolumeTier
from caravan.contracts.usage import (
    AttemptPlaced,
    JobNamed,
    JobSettled,
    RunFinal,
    RunUsage,
    SiteProgress,
    Span,
    UsageRecord,
    hour_key,
)
from caravan.kernel.clock import floor_hour
from caravan.kernel.money import Money

ZONE: Final = ZoneInfo("Asia/Shanghai")
OPENS: Final = datetime(2026, 1, 1, tzinfo=ZONE)
HOUR: Final = timedelta(hours=1)
ORIGINS: Final = {
    one.id: one
    for one in (
        Accelerator(
            id="acc_domestic", vendor="国产", model="A", memory_mib=65536, unit=AcceleratorUnit.CARD, domestic=True
        ),
        Accelerator(
            id="acc_foreign", vendor="Foreign", model="B", memory_mib=81920, unit=AcceleratorUnit.CARD, domestic=False
        ),
    )
}
Part = tuple[datetime, datetime]
"""[start, end) of usage, in whole seconds."""


@dataclass(frozen=True)
class Buyer:
    """An enterprise with its one project."""

    organization: str
    project: str

    def known(self) -> Iterator[Event]:
        whole = Organization(id=self.organization, name="企业", version=1, created_at=OPENS)
        yield Event(events.ORGANIZATION, self.organization, whole)
        own = Project(id=self.project, organization=self.organization, name="项目", version=1, created_at=OPENS)
        yield Event(events.PROJECT, self.project, own)


@dataclass(frozen=True)
class Sold:
    """An offering of a centre that has one price, for an hour of one component. `origin`: of its accelerators."""

    offering: str
    site: str
    provider: str
    price_list: str
    component: Component
    tier: Tier
    origin: str | None
    price: Decimal
    volume: tuple[VolumeTier, ...] = ()

    @property
    def accelerator(self) -> str | None:
        return f"acc_{self.origin}" if self.origin else None

    def known(self) -> Iterator[Event]:
        yield Event(
            events.PROVIDER,
            self.provider,
            Provider(
                id=self.provider,
                name="算力中心",
                kind=ProviderKind.COMPUTE_INFRASTRUCTURE,
                region="西安",
                state=ProviderState.APPROVED,
                version=1,
                created_at=OPENS,
            ),
        )
        per_node = 8 if self.accelerator else 0
        limits = Limits(
            nodes=64,
            cpus_per_node=64,
            memory_mib_per_node=1024,
            accelerators_per_node=per_node,
            walltime_seconds=86_400,
        )
        yield Event(
            events.OFFERING,
            self.offering,
            Offering(
                id=self.offering,
                provider=self.provider,
                site=self.site,
                name="算力",
                tier=self.tier,
                accelerator=self.accelerator,
                target={},
                limits=limits,
                capacity=Capacity(cpus=64, memory_mib=1024, accelerators=per_node),
                state=OfferingState.ACTIVE,
                version=1,
                created_at=OPENS,
            ),
        )
        tariff = Tariff(name="flat", starts_at=OPENS - timedelta(days=365), prices={self.component: self.price})
        priced = PriceList(
            id=self.price_list,
            offering=self.offering,
            revision=1,
            created_at=OPENS,
            tariffs=(tariff,),
            volume_discounts={self.component: self.volume} if self.volume else {},
        )
        yield Event(events.PRICE_LIST, self.price_list, priced)

    def progress(self, through: datetime, version: int) -> Event:
        state = SiteProgress(site=self.site, provider=self.provider, complete_through=through, version=version)
        return Event(events.SITE_PROGRESS, self.site, state)


def sold_at(random: Random, component: Component, tier: Tier, origin: str | None, price: Decimal) -> Sold:
    """By a centre of its own, at `price` yuan an hour."""
    offering, site, provider, price_list = (identifier(random, prefix) for prefix in ("off", "sit", "prv", "prl"))
    return Sold(offering, site, provider, price_list, component, tier, origin, price)


@dataclass
class Job:
    """Of one run on `units` of what is sold. `used`: what its backend has said last, with a revision for each time."""

    id: str
    attempt: str
    run: str
    buyer: Buyer
    sold: Sold
    submitted_at: datetime
    hold: Money
    units: int = 1
    used: Part | None = None
    revision: int = 0
    hours: dict[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, random: Random, buyer: Buyer, sold: Sold, submitted_at: datetime, hold: Money, units: int = 1) -> "Job":
        job, attempt, run = (identifier(random, prefix) for prefix in ("job", "att", "run"))
        return cls(job, attempt, run, buyer, sold, submitted_at, hold, units)

    def request(self) -> HoldRequest:
        """All of it may be of the one component that is priced."""
        return HoldRequest(
            revision=1,
            organization=self.buyer.organization,
            project=self.buyer.project,
            amount=self.hold,
            submitted_at=self.submitted_at,
            ahead=(HoldUse(offering=self.sold.offering, components={self.sold.component: self.hold}),),
        )

    def placed(self) -> list[Event]:
        attempt = AttemptPlaced(
            attempt=self.attempt,
            job=self.id,
            organization=self.buyer.organization,
            project=self.buyer.project,
            offering=self.sold.offering,
            site=self.sold.site,
            provider=self.sold.provider,
            price_list=self.sold.price_list,
        )
        return [
            Event(events.JOB_NAMED, self.id, JobNamed(job=self.id, name="算例")),
            Event(events.ATTEMPT_PLACED, self.id, attempt),
        ]

    def use(self, start: datetime, end: datetime, cuts: Sequence[datetime] = ()) -> list[Event]:
        """It has run in [start, end), and nothing else is so any more. `cuts`: where the backend's own records end."""
        before, self.used, self.revision = self.used, (start, end), self.revision + 1
        first = min(start, before[0]) if before else start
        last = max(end, before[1]) if before else end
        said, hour = [], floor_hour(first)
        while hour < last:
            self.hours[hour_key(hour)] = self.revision
            edges = sorted({hour, hour + HOUR, start, end, *cuts})
            inside = [one for one in edges if max(hour, start) <= one <= min(hour + HOUR, end)]
            record = UsageRecord(
                hour=hour,
                revision=self.revision,
                spans=tuple(self._span(*one) for one in pairwise(inside)),
                run=self.run,
                attempt=self.attempt,
                job=self.id,
                run_started_at=start,
            )
            said.append(Event(events.USAGE_STATED, self.id, record))
            hour += HOUR
        return said

    def _span(self, start: datetime, end: datetime) -> Span:
        accelerated = self.sold.component is Component.ACCELERATOR_HOUR
        return Span(
            start=start,
            end=end,
            nodes=self.units if self.sold.component is Component.NODE_HOUR else 1,
            cpus=self.units if self.sold.component is Component.CPU_CORE_HOUR else 1,
            memory_mib=0,
            accelerators=self.units if accelerated else 0,
            accelerator=self.sold.accelerator if accelerated else None,
        )

    def end(self, outcome: Outcome = Outcome.SUCCEEDED) -> list[Event]:
        final = RunFinal(run=self.run, attempt=self.attempt, job=self.id, outcome=outcome)
        return [Event(events.RUN_FINAL, self.id, final)]

    def another(self, random: Random) -> "Job":
        """Another run of the same job."""
        return replace(self, run=identifier(random, "run"), used=None, revision=0, hours={})

    def settle(self, *others: "Job") -> list[Event]:
        """Nothing more comes of it, nor of its other runs: its hold is free."""
        runs = tuple(RunUsage(run=one.run, hours=dict(one.hours)) for one in (self, *others))
        return [Event(events.JOB_SETTLED, self.id, JobSettled(job=self.id, hold_revision=1, runs=runs))]
