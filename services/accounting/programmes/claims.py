"""What vouchers pay of what was used. Pure; amounts are fen, rates hundredths of a percent.

Each line has its share by the rates alone (`rate_of`, `together`, `share`). A claim is what one voucher has to pay in one span: the sum of
its lines' shares, as far as floor and caps allow (`paid`). That is a function of sums, so it doesn't matter in which order lines came, or
in how many pieces: where a line changes later, the claim's difference is paid or taken back, and what it leaves of a cap is for others.
How a claim stands on its lines is `spread`, also where those are of several periods.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import NamedTuple

from caravan.contracts.offerings import Tier
from caravan.contracts.prices import Component
from caravan.contracts.programmes import WHOLE, Funder, IssuerLevel, Origin, ProgrammeTerms
from caravan.kernel.money import divide_half_away


class Used(NamedTuple):
    """What a line is of."""

    component: Component
    tier: Tier
    origin: Origin | None
    seller: str
    """A provider, or a reseller that sells it on."""


class Holder(NamedTuple):
    """Who has a voucher, as it was reviewed, and what for."""

    kinds: frozenset[str]
    use: str | None
    affiliates: frozenset[str]
    """Itself, and the providers and resellers that it is affiliated with."""


class Offer(NamedTuple):
    """What one voucher would pay of a line."""

    voucher: str
    level: IssuerLevel
    rate: int
    stacks_to: int | None


class Claim(NamedTuple):
    """Of one voucher in the span that starts at `start` (seconds since the epoch), which lies in `year`. `full`: its lines' shares."""

    voucher: str
    start: int
    year: int
    full: int


@dataclass(frozen=True, slots=True)
class Part:
    """What one line adds to a claim. `ends_at`: when the usage of its job in the period ended."""

    line: str
    ends_at: int
    share: int


def rate_of(programme: ProgrammeTerms, holder: Holder, used: Used) -> int:
    """At which rate the programme pays for it: the highest of those whose conditions are met; 0 where it isn't supported."""
    if not _supports(programme, holder, used):
        return 0
    return max(
        (
            row.rate
            for row in programme.rates
            if row.kind in (None, *holder.kinds) and row.origin in (None, used.origin) and row.use in (None, holder.use)
        ),
        default=0,
    )


def _supports(programme: ProgrammeTerms, holder: Holder, used: Used) -> bool:
    rules = programme.eligibility
    return (
        _in(used.component, programme.components)
        and _in(used.tier, programme.tiers)
        and _in(used.origin, programme.origins)
        and _in(used.seller, rules.suppliers)
        and not (rules.unaffiliated and used.seller in holder.affiliates)
    )


def _in(value: object, among: Collection[object]) -> bool:
    return not among or value in among


def together(offers: Iterable[Offer], before: Sequence[Offer] = ()) -> dict[str, int]:
    """At which rate each of an organization's vouchers pays for the same: those above 0.

    On one level only the best may pay, of equal ones the one that was issued first. Programmes of several levels that stack may pay
    together, the higher level first, until all of them pay the least that any of them stacks to. Of all that may be, what pays most
    does; of equal ones that of more levels, and then of higher ones.

    What is `before` these pays at its rate already, whatever they offer: they are of other levels, and stack with it.
    """
    best: dict[IssuerLevel, Offer] = {}
    for offer in sorted(offers, key=lambda offer: (-offer.rate, offer.voucher)):
        best.setdefault(offer.level, offer)
    taken = {offer.level for offer in before}
    by_level = [best[level] for level in IssuerLevel if level in best and level not in taken]
    ways = (way for size in range(len(by_level), 0, -1) for way in combinations(by_level, size))
    return max((_stacked(way, before) for way in ways), key=lambda rates: sum(rates.values()), default={})


def _stacked(offers: Sequence[Offer], before: Sequence[Offer]) -> dict[str, int]:
    every = (*before, *offers)
    most = WHOLE if len(every) == 1 else min(offer.stacks_to or 0 for offer in every)
    left = most - sum(offer.rate for offer in before)
    rates: dict[str, int] = {}
    for offer in offers:
        rate = min(offer.rate, left - sum(rates.values()))
        if rate > 0:
            rates[offer.voucher] = rate
    return rates


def share(amount: int, rates: Mapping[str, int]) -> dict[str, int]:
    """What each voucher pays of a line (of either sign) at its rate: together once rounded, and never more than the line."""
    shares, rate = {}, 0
    for voucher, own in rates.items():
        shares[voucher] = _at(amount, rate + own) - _at(amount, rate)
        rate += own
    return shares


def _at(amount: int, rate: int) -> int:
    return divide_half_away(amount * rate, WHOLE)


def paid(programme: ProgrammeTerms, vouchers: Mapping[str, int], claims: Iterable[Claim]) -> dict[Claim, int]:
    """What each claim pays, where `claims` are all that one organization has by one programme; `vouchers` are issued for these amounts.

    The earlier span comes first, in a span the voucher that was issued first: each claim has what caps leave.
    """
    caps, left = programme.caps, dict(vouchers)
    in_year: defaultdict[int, int] = defaultdict(int)
    found = {}
    for claim in sorted(claims, key=lambda claim: (claim.start, claim.voucher)):
        most = [claim.full, left[claim.voucher]]
        if caps.claim is not None:
            most.append(caps.claim.fen)
        if caps.redeemed_in_year is not None:
            most.append(caps.redeemed_in_year.fen - in_year[claim.year])
        fen = max(0, min(most)) if claim.full >= programme.floor.fen else 0
        left[claim.voucher] -= fen
        in_year[claim.year] += fen
        found[claim] = fen
    return found


def spread(parts: Sequence[Part], pays: int, before: Sequence[int] = ()) -> list[int]:
    """What of a claim that pays `pays` stands on each of its lines.

    What lines give back stands on them whole. The others are filled in the order in which their usage ended, then by id: the last one
    partly, and those behind it not at all. Where a claim pays less than what was given back, nothing stands on any.

    What stood on them `before` stays, as far as the line has that share: what is more fills the first that have room, and what is less
    goes from the last.
    """
    stood = before or [0] * len(parts)
    found = [
        min(max(stands, 0), part.share) if part.share > 0 else part.share if pays else 0
        for part, stands in zip(parts, stood, strict=True)
    ]
    left = pays - sum(found)
    order = sorted(range(len(parts)), key=lambda place: (parts[place].ends_at, parts[place].line))
    for place in order if left > 0 else reversed(order):
        share = parts[place].share
        if share > 0:
            moves = max(-found[place], min(left, share - found[place]))
            found[place] += moves
            left -= moves
    return found


def funded(pays: int, funders: Sequence[Funder]) -> list[int]:
    """What each funder pays of what a voucher has paid in all: by the largest remainder, of equal ones the first."""
    parts = [divmod(pays * funder.share, WHOLE) for funder in funders]
    missing = pays - sum(whole for whole, _ in parts)
    up = sorted(range(len(parts)), key=lambda place: -parts[place][1])[:missing]
    return [whole + (place in up) for place, (whole, _) in enumerate(parts)]
