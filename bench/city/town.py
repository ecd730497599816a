"""Who is in the city: organizations that buy, centres that sell, and what the catalog says of both, in the order of time."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import accumulate
from random import Random
from typing import Final, NamedTuple

from bench.charges.market import ACCELERATORS, Event, identifier
from bench.city.prices import BEGINS, CLASSES, Priced, modes
from bench.city.resale import Reselling, draw_resale, said_of
from bench.city.year import MONTHS, month
from caravan.contracts import events
from caravan.contracts.offerings import (
    Accelerator,
    AcceleratorUnit,
    Capacity,
    Limits,
    Offering,
    OfferingState,
    PreemptedBearer,
    Tier,
)
from caravan.contracts.parties import Organization, Project, Provider, ProviderKind, ProviderState
from caravan.contracts.prices import PriceList

CENTRES: Final = 6
ZONES: Final = ("Asia/Shanghai", "Asia/Shanghai", "Asia/Shanghai", "Europe/Berlin", "Asia/Shanghai", "Asia/Shanghai")
"""Of the centres' price lists. One has summer time."""
RESOLD_WRONG: Final = (4, 8)
"""Months in which a reseller's prices are corrected."""
DOMESTIC: Final = "acc_ascend-910b"
"""Of the accelerators."""
MINIMAL: Final = (0, 3)
"""Centres that have minimum charges."""
TAX_RATES: Final = (600, 600, 600, 1300, 900, 300)
"""As the catalog has them, in hundredths of a percent."""


@dataclass(frozen=True)
class Buying:
    """An organization. Its price class changes once in the year, or never."""

    id: str
    projects: tuple[str, ...]
    first_class: str | None
    then_class: str | None
    changes: datetime

    def price_class(self, at: datetime) -> str | None:
        return self.then_class if at >= self.changes else self.first_class


@dataclass(frozen=True)
class Sold:
    """An offering of a centre, with its revisions of prices."""

    provider: str
    site: str
    accelerator: str | None
    preempted_borne_by: PreemptedBearer
    prices: Priced

    @property
    def id(self) -> str:
        return self.prices.offering


@dataclass(frozen=True)
class Mistake:
    """What finance corrects once a month has closed, and `right` is published: a span of an offering's time."""

    sold: Sold
    reselling: Reselling | None
    """Whose list is wrong; None: the centre's."""
    starts: datetime
    ends: datetime
    right: PriceList
    replaces: tuple[str, ...] | None
    """None: all."""
    published: datetime


@dataclass(frozen=True)
class Town:
    buyers: tuple[Buying, ...]
    weights: tuple[int, ...]
    """Sums of how much each buys: some much, most little."""
    sold: tuple[Sold, ...]
    resold: tuple[Reselling, ...]
    known: tuple[tuple[datetime, Event], ...]
    """What the catalog says, and when, in that order."""
    mistakes: tuple[Mistake, ...]
    """One for each of the year's months."""

    def price_class(self, organization: str, at: datetime) -> str | None:
        return next(one for one in self.buyers if one.id == organization).price_class(at)

    @property
    def sites(self) -> dict[str, str]:
        """Site -> provider."""
        return {one.site: one.provider for one in self.sold}


def draw_town(random: Random, organizations: int) -> Town:
    buyers, known = [], [(BEGINS, Event(events.ACCELERATOR, id, _accelerator(id))) for id in ACCELERATORS]
    for number in range(organizations):
        buyer, said = _buyer(random, number)
        buyers.append(buyer)
        known += said
    sold: list[Sold] = []
    for number in range(CENTRES):
        for one, said in _centre(random, number, [buyer.id for buyer in buyers]):
            sold.append(one)
            known += said
    plans = _plans(random, sold)
    for each in sold:
        each.prices.draw(random, [one.published for one in plans if one.sold is each and one.reseller is None])
    wrong = [(one.reseller, one.sold.prices, one.published) for one in plans if one.reseller is not None]
    resold = tuple(
        draw_resale(random, [(one.id, one.projects[0]) for one in buyers], [one.prices for one in sold], wrong)
    )
    known += [(one.created_at, Event(events.PRICE_LIST, one.id, one)) for each in sold for one in each.prices.revisions]
    known += [one for each in resold for one in said_of(each)]
    weights = accumulate(20 + 200 // (number + 1) for number in range(organizations))
    in_order = sorted(known, key=lambda one: one[0])
    mistakes = tuple(_mistakes(plans, resold))
    return Town(tuple(buyers), tuple(weights), tuple(sold), resold, tuple(in_order), mistakes)


def _accelerator(id: str) -> Accelerator:
    vendor, model = id.removeprefix("acc_").split("-", 1)
    return Accelerator(
        id=id, vendor=vendor, model=model, memory_mib=65_536, unit=AcceleratorUnit.CARD, domestic=id == DOMESTIC
    )


def _buyer(random: Random, number: int) -> tuple[Buying, list[tuple[datetime, Event]]]:
    classes = (None, None, *CLASSES)
    changes = month(random.randrange(1, MONTHS)) + timedelta(seconds=random.randrange(86_400))
    first, then = random.choice(classes), random.choice(classes)
    buyer = Buying(
        identifier(random, "org"),
        tuple(identifier(random, "prj") for _ in range(random.randint(1, 3))),
        first,
        then if random.random() < 0.2 else first,
        changes,
    )
    organization = Organization(id=buyer.id, name=f"企业 {number + 1}", price_class=first, version=1, created_at=BEGINS)
    said = [(BEGINS, Event(events.ORGANIZATION, buyer.id, organization))]
    for place, id in enumerate(buyer.projects):
        project = Project(id=id, organization=buyer.id, name=f"项目 {place + 1}", version=1, created_at=BEGINS)
        said.append((BEGINS, Event(events.PROJECT, id, project)))
    if buyer.then_class != first:
        later = organization.model_copy(update={"price_class": buyer.then_class, "version": 2})
        said.append((changes, Event(events.ORGANIZATION, buyer.id, later)))
    return buyer, said


def _centre(
    random: Random, number: int, organizations: list[str]
) -> Iterator[tuple[Sold, list[tuple[datetime, Event]]]]:
    """Its two offerings, on one site."""
    provider = Provider(
        id=identifier(random, "prv"),
        name=f"算力中心 {number + 1}",
        kind=ProviderKind.COMPUTE_INFRASTRUCTURE,
        region="西安",
        tax_rate=TAX_RATES[number],
        state=ProviderState.APPROVED,
        version=1,
        created_at=BEGINS,
    )
    site = identifier(random, "sit")
    said = [(BEGINS, Event(events.PROVIDER, provider.id, provider))]
    for accelerator in (None, random.choice(ACCELERATORS)):
        offering = Offering(
            id=identifier(random, "off"),
            provider=provider.id,
            site=site,
            name="智算" if accelerator else "通用计算",
            tier=Tier.AI if accelerator else Tier.HPC,
            accelerator=accelerator,
            limits=Limits(
                nodes=4,
                cpus_per_node=64,
                memory_mib_per_node=262_144,
                accelerators_per_node=8 if accelerator else 0,
                walltime_seconds=172_800,
            ),
            capacity=Capacity(cpus=65_536, memory_mib=2**28, accelerators=1024 if accelerator else 0),
            choices={"qos": ("normal", "high")},
            preempted_borne_by=PreemptedBearer.ORGANIZATION if accelerator else PreemptedBearer.PROVIDER,
            state=OfferingState.ACTIVE,
            version=1,
            created_at=BEGINS,
        )
        said.append((BEGINS, Event(events.OFFERING, offering.id, offering)))
        prices = Priced(offering.id, ZONES[number], modes(number), organizations, minimal=number in MINIMAL)
        yield Sold(provider.id, site, accelerator, offering.preempted_borne_by, prices), said
        said = []


class _Plan(NamedTuple):
    """What is to be corrected once a month has closed: of `sold`, by the prices of a reseller or of the centre."""

    sold: Sold
    reseller: int | None
    starts: datetime
    ends: datetime
    published: datetime


def _plans(random: Random, sold: Sequence[Sold]) -> list[_Plan]:
    """Each month another offering, for some days of it and some of those around it; in some months what a reseller sells."""
    plans = []
    for number in range(MONTHS):
        one = sold[(5 * number) % len(sold)]
        starts = month(number) + timedelta(seconds=random.randrange(-86_400, 12 * 86_400))
        ends = starts + timedelta(seconds=random.randrange(2 * 86_400, 8 * 86_400))
        published = month(number + 1) + timedelta(days=3, seconds=random.randrange(3600))
        plans.append(_Plan(one, 0 if number in RESOLD_WRONG else None, starts, ends, published))
    return plans


def _mistakes(plans: Sequence[_Plan], resold: Sequence[Reselling]) -> Iterator[Mistake]:
    """Each fourth one undoes the one before."""
    for number, plan in enumerate(plans):
        undoes = number % 4 == 3
        was = plans[number - 1] if undoes else plan
        reselling = None if was.reseller is None else resold[was.reseller]
        prices = was.sold.prices if reselling is None else reselling.prices[was.sold.id]
        if undoes:
            starts = was.starts + timedelta(seconds=1800)
            yield Mistake(was.sold, None, starts, was.ends, prices.at(was.starts), None, plan.published)
            continue
        wrong = tuple(each.id for each in prices.revisions if each.created_at < plan.ends)[-3:]
        right = prices.at(plan.published)
        replaces = wrong if number % 2 else None
        yield Mistake(plan.sold, reselling, plan.starts, plan.ends, right, replaces, plan.published)
