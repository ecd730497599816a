"""Districts and parks of the city: some organizations resell what they buy to others, by prices of their own, for a part of the year."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random
from typing import Final

from bench.charges.market import Event, identifier
from bench.city.prices import BEGINS, Priced
from bench.city.year import month
from caravan.contracts import events
from caravan.contracts.prices import PriceList
from caravan.contracts.resale import ResaleAgreement
from caravan.pricing.resale import holds, sells

SPANS: Final = ((0, None), (2, 9))
"""From which month to which each reseller's agreement is."""
MEMBERS: Final = 6
"""A reseller has one in so many of all organizations."""


@dataclass(frozen=True)
class Reselling:
    """An agreement, and the reseller's own prices of the offerings that it sells on."""

    agreement: ResaleAgreement
    prices: dict[str, Priced]

    def list_for(self, member: str, submitted: datetime, offering: str, placed: datetime) -> PriceList | None:
        """By which of its lists it sells the offering to the member; None: the provider sells."""
        if member not in self.agreement.members or not holds(self.agreement, submitted):
            return None
        newest = self.prices[offering].at(placed) if offering in self.prices else None
        return newest if newest is not None and sells(newest, placed) else None


def draw_resale(
    random: Random,
    organizations: Sequence[tuple[str, str]],
    of_centres: Sequence[Priced],
    wrong: Sequence[tuple[int, Priced, datetime]],
) -> list[Reselling]:
    """No two resellers have a member in common. `organizations`: each with one of its projects.

    `wrong`: by the reseller's number, which offering's prices it puts right and when.
    """
    free = [*organizations]
    random.shuffle(free)
    count = max(2, len(organizations) // MEMBERS)
    resellers = [free.pop() for _ in SPANS]
    found = []
    for number, ((reseller, project), (first, end)) in enumerate(zip(resellers, SPANS, strict=True)):
        members = tuple(free.pop()[0] for _ in range(count))
        agreement = ResaleAgreement(
            id=identifier(random, "rsl"),
            reseller=reseller,
            project=project,
            members=members,
            starts_at=month(first) + timedelta(hours=100),
            ends_at=None if end is None else month(end) + timedelta(hours=50),
            version=1,
            created_at=month(first),
        )
        prices = {}
        own_wrong = [(one, at) for of, one, at in wrong if of == number]
        chosen = random.sample(of_centres, 2 * len(of_centres) // 3)
        chosen += [one for one, _ in own_wrong if one not in chosen]
        for place, one in enumerate(chosen):
            own = Priced(one.offering, one.zone, one.set_modes, members, minimal=place % 2 == 0, reseller=reseller)
            own.draw(random, [at for which, at in own_wrong if which is one])
            prices[one.offering] = own
        found.append(Reselling(agreement, prices))
    return found


def said_of(reselling: Reselling) -> list[tuple[datetime, Event]]:
    """What the catalog says of it."""
    agreement = reselling.agreement
    lists = (one for priced in reselling.prices.values() for one in priced.revisions)
    return [
        (max(BEGINS, agreement.created_at), Event(events.RESALE_AGREEMENT, agreement.id, agreement)),
        *((one.created_at, Event(events.PRICE_LIST, one.id, one)) for one in lists),
    ]
