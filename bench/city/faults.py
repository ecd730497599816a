"""Faults that can be planted into accounting before a city is played: each replaces one rule. An independent script must see every one."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from bench.charges.faults import FAULTS as OF_CHARGES
from bench.charges.faults import Fault
from caravan.contracts.jobs import Outcome
from caravan.contracts.prices import Component, VolumeTier
from caravan.contracts.statements import BearerReason
from caravan.pricing import volume
from services.accounting.charging import charged, lines
from services.accounting.charging.charged import Charged
from services.accounting.charging.lines import Portion, Terms
from services.accounting.charging.pieces import Piece
from services.accounting.tax import assessing

Parts = Iterable[tuple[Terms, Sequence[Portion]]]
TierParts = Callable[[Component, Sequence[VolumeTier], int], list[tuple[VolumeTier, int]]]


def _without_site(borne: Mapping[Outcome, BearerReason]) -> Mapping[Outcome, BearerReason]:
    """Runs that ended by the site's fault are the organization's."""
    return {outcome: reason for outcome, reason in borne.items() if outcome is not Outcome.SITE}


def _first_approved(pieces: Callable[..., list[Piece]]) -> Callable[..., list[Piece]]:
    """Where corrections overlap, the first of them holds."""
    return lambda pinned, corrections, start, end: pieces(pinned, corrections[::-1], start, end)


def _all_in_one_tier(tier_parts: TierParts) -> TierParts:
    """Who reaches a tier has all of the total in it."""

    def parts(component: Component, tiers: Sequence[VolumeTier], quantity: int) -> list[tuple[VolumeTier, int]]:
        return [(tier, quantity) for tier, _ in tier_parts(component, tiers, quantity)[-1:]]

    return parts


def _last_goes_up(spread: Callable[[Sequence[int], int], list[int]]) -> Callable[[Sequence[int], int], list[int]]:
    """Of equal rests of tax the last one goes up."""
    return lambda amounts, rate: spread(amounts[::-1], rate)[::-1]


def _without_job(top_ups: Callable[[Parts], list[Portion]]) -> Callable[[Parts], list[Portion]]:
    """The price per job doesn't count towards the minimum charge."""

    def of(parts: Parts) -> list[Portion]:
        return top_ups((terms, [one for one in own if one.key.component != Component.JOB]) for terms, own in parts)

    return of


def _own_hold_alone(charge: Callable[..., Charged]) -> Callable[..., Charged]:
    """A reseller goes on to bear what is beyond its member's hold."""
    return lambda records, calendar, hold_amount, _=None: charge(records, calendar, hold_amount)


FAULTS: Final = {
    "half-even-rounding": OF_CHARGES["half-even-rounding"],
    "windows-by-utc": OF_CHARGES["windows-by-utc"],
    "site-fault-billed": Fault(lines, "PROVIDER_BEARS", _without_site, "lines"),
    "preempted-never-billed": OF_CHARGES["preempted-never-billed"],
    "late-usage-dropped": OF_CHARGES["dropped-adjustment"],
    "first-correction-holds": Fault(charged, "pieces", _first_approved, "lines"),
    "discount-of-all": Fault(volume, "tier_parts", _all_in_one_tier, "lines"),
    "last-tax-goes-up": Fault(assessing, "spread", _last_goes_up, "lines"),
    "minimum-without-job": Fault(charged, "top_ups", _without_job, "lines"),
    "resold-beyond-the-hold": Fault(charged, "charged", _own_hold_alone, "lines"),
}
