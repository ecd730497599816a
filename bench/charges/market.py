"""The market of a drawn history: organizations, providers, offerings, and price lists with edges inside the time that is used."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Final
from zoneinfo import ZoneInfo

from pydantic import BaseModel

from caravan.contracts import events
from caravan.contracts.modes import SiteMode, SiteModeFrom
from caravan.contracts.offerings import Capacity, Limits, Offering, OfferingState, PreemptedBearer, Tier
from caravan.contracts.parties import Organization, Project, Provider, ProviderKind, ProviderState
from caravan.contracts.prices import PRICED, WEEK, Component, DaySpan, PriceList, PriceWindow, Tariff
from caravan.kernel.money import Money

STARTS: Final = datetime(2018, 3, 31, 12, tzinfo=UTC)
"""A Saturday. Four hours later a month ends in Asia/Shanghai, and summer time ends in half of `ZONES` before and after that."""
HOURS: Final = 8
ZONES: Final = (
    "Asia/Shanghai",
    "Pacific/Auckland",
    "Asia/Kolkata",
    "Australia/Lord_Howe",
    "America/New_York",
    "Australia/Adelaide",
)
"""Lord Howe's clocks go back by half an hour, the others' by one."""
WINDOWED: Final = 0.9
"""Price lists that have windows, and the tariffs of these that do."""
ON_HALVES: Final = {
    Component.CPU_CORE_HOUR: ("18", "54", "90"),
    Component.MEMORY_GIB_HOUR: ("18", "54"),
    Component.NODE_HOUR: ("18", "126"),
    Component.ACCELERATOR_HOUR: ("18", "234"),
    Component.JOB: ("0.005", "0.015", "1.125"),
}
"""18.00 an hour is half a fen a second."""
ON_ANYTHING: Final = {
    Component.CPU_CORE_HOUR: ("0.35", "1.234567", "36"),
    Component.MEMORY_GIB_HOUR: ("0.05", "0.123456"),
    Component.NODE_HOUR: ("2.5", "12.345678"),
    Component.ACCELERATOR_HOUR: ("35.5", "12.345678"),
    Component.JOB: ("0.01", "0.333333", "2"),
}
MINIMA: Final = (None, Money(50), Money(200_000), Money(1_000_000))
ACCELERATORS: Final = ("acc_nvidia-h100-80g", "acc_ascend-910b")


def at(second: int) -> datetime:
    """`second` seconds after the history starts."""
    return STARTS + timedelta(seconds=second)


MODES: Final = (
    SiteModeFrom(mode=SiteMode.NOTIONAL, starts_at=at(2 * 3600)),
    SiteModeFrom(mode=SiteMode.BILLED, starts_at=at(4 * 3600)),
    SiteModeFrom(mode=SiteMode.TRACKED, starts_at=at(5 * 3600)),
    SiteModeFrom(mode=SiteMode.BILLED, starts_at=at(5 * 3600 + 300)),
)
"""Of one site; not only from whole hours on, since tracked lines are zero and the others are what finds faults."""


@dataclass(frozen=True)
class Event:
    """What a feed says."""

    type: str
    subject: str
    data: BaseModel


@dataclass(frozen=True)
class Seller:
    """An offering and what it may be sold by."""

    offering: str
    site: str
    provider: str
    accelerator: str | None
    preempted_borne_by: PreemptedBearer
    price_lists: tuple[PriceList, ...]


@dataclass(frozen=True)
class Market:
    known: tuple[Event, ...]
    """What the catalog says at once."""
    late: tuple[Event, ...]
    """Price lists that it says while usage that needs them comes."""
    projects: tuple[tuple[str, str], ...]
    """(organization, project)"""
    sellers: tuple[Seller, ...]


def identifier(random: Random, prefix: str) -> str:
    return f"{prefix}_{random.getrandbits(128):032x}"


def draw_market(random: Random, organizations: int, providers: int) -> Market:
    """Two projects for each organization; for each provider two offerings on a site of its own, with two price lists each."""
    known: list[Event] = []
    late: list[Event] = []
    projects, sellers = [], []
    for number in range(organizations):
        organization = Organization(
            id=identifier(random, "org"), name=f"企业 {number + 1}", version=1, created_at=STARTS
        )
        known.append(Event(events.ORGANIZATION, organization.id, organization))
        for name in ("合金", "气动"):
            project = Project(
                id=identifier(random, "prj"), organization=organization.id, name=name, version=1, created_at=STARTS
            )
            known.append(Event(events.PROJECT, project.id, project))
            projects.append((organization.id, project.id))
    for number in range(providers):
        provider = Provider(
            id=identifier(random, "prv"),
            name=f"算力中心 {number + 1}",
            kind=ProviderKind.COMPUTE_INFRASTRUCTURE,
            region="西安",
            tax_rate=random.choice((600, 300, 900)),
            state=ProviderState.APPROVED,
            version=1,
            created_at=STARTS,
        )
        known.append(Event(events.PROVIDER, provider.id, provider))
        site = identifier(random, "sit")
        for accelerator in (None, random.choice(ACCELERATORS)):
            offering = _offering(random, provider.id, site, accelerator)
            known.append(Event(events.OFFERING, offering.id, offering))
            first = number == 0 and accelerator is None
            lists = tuple(
                _price_list(
                    random,
                    offering.id,
                    revision,
                    gap=first and revision == 2,
                    modes=MODES if number == 1 and revision == 2 else (),
                )
                for revision in (1, 2)
            )
            sellers.append(Seller(offering.id, site, provider.id, accelerator, offering.preempted_borne_by, lists))
            for one in lists:
                (late if random.random() < 0.3 else known).append(Event(events.PRICE_LIST, one.id, one))
    return Market(tuple(known), tuple(late), tuple(projects), tuple(sellers))


def _offering(random: Random, provider: str, site: str, accelerator: str | None) -> Offering:
    return Offering(
        id=identifier(random, "off"),
        provider=provider,
        site=site,
        name="智算" if accelerator else "通用计算",
        tier=Tier.AI if accelerator else Tier.HPC,
        accelerator=accelerator,
        limits=Limits(
            nodes=4,
            cpus_per_node=64,
            memory_mib_per_node=262_144,
            accelerators_per_node=8 if accelerator else 0,
            walltime_seconds=86_400,
        ),
        capacity=Capacity(cpus=4096, memory_mib=2**24, accelerators=64 if accelerator else 0),
        preempted_borne_by=PreemptedBearer.ORGANIZATION if accelerator else PreemptedBearer.PROVIDER,
        state=OfferingState.ACTIVE,
        version=1,
        created_at=STARTS,
    )


def _price_list(
    random: Random, offering: str, revision: int, *, gap: bool, modes: tuple[SiteModeFrom, ...]
) -> PriceList:
    """Tariffs that change two to four times while usage runs. With a `gap` some seconds are uncovered."""
    edges = sorted(random.sample(range(600, HOURS * 3600 - 600), random.randint(2, 4)))
    zone = random.choice(ZONES)
    windowed = WINDOWED if random.random() < WINDOWED else 0
    starts = [at(-86_400 * 365), *(at(edge) for edge in edges)]
    ends = [*starts[1:], None]
    if gap:
        starts[1] += timedelta(seconds=45)
    tariffs = tuple(
        Tariff(
            name=f"t{number}",
            starts_at=start,
            ends_at=end,
            prices=draw_prices(random),
            windows=_windows(random, zone) if random.random() < windowed else (),
            minimum_charge=random.choice(MINIMA),
        )
        for number, (start, end) in enumerate(zip(starts, ends, strict=True), start=1)
    )
    return PriceList(
        id=identifier(random, "prl"),
        offering=offering,
        revision=revision,
        created_at=STARTS,
        zone=zone,
        tariffs=tariffs,
        modes=modes,
    )


def _windows(random: Random, zone: str) -> tuple[PriceWindow, ...]:
    """Parts of a week with edges at minutes that the zone's clocks show while usage runs: peak hours of some days and, at the same times,
    quiet ones of the others; off-peak hours of all days between them. They price some components.
    """
    clocks = (at(60 * minute).astimezone(ZoneInfo(zone)) for minute in range(60 * HOURS))
    edges = sorted(random.sample(sorted({f"{clock:%H:%M}" for clock in clocks} | {"00:00", "24:00"}), 6))
    first, second, third = (
        DaySpan(starts=starts, ends=ends) for starts, ends in zip(edges[::2], edges[1::2], strict=True)
    )
    days = random.sample(WEEK, len(WEEK))
    some = random.randint(2, 5)
    return (
        PriceWindow(name="peak", days=tuple(days[:some]), times=(first, third), prices=draw_some_prices(random)),
        PriceWindow(name="off-peak", times=(second,), prices=draw_some_prices(random)),
        PriceWindow(name="quiet", days=tuple(days[some:]), times=(first,), prices=draw_some_prices(random)),
    )


def draw_some_prices(random: Random) -> dict[Component, Decimal]:
    """Of some components."""
    prices = draw_prices(random)
    return {component: prices[component] for component in random.sample(PRICED, random.randint(2, 5))}


def draw_prices(random: Random) -> dict[Component, Decimal]:
    """Most of them make half a fen of some quantities."""
    return {
        component: Decimal(random.choice((ON_HALVES if random.random() < 0.8 else ON_ANYTHING)[component]))
        for component in PRICED
    }
