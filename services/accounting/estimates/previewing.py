"""What one voucher would have paid for an organization's lines of closed periods. Pure; amounts are fen, times seconds since the epoch.

Claims are functions of sums, so the periods are settled as if they had closed as one: `merged` makes of all discounts of a group one, as
the last of these closes saw it.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from zoneinfo import ZoneInfo

from caravan.contracts.estimates import PreviewedPool
from caravan.contracts.programmes import Pool, ProgrammeTerms
from caravan.kernel import clock
from caravan.kernel.money import Money, divide_half_away
from services.accounting.programmes.claims import Claim, Holder, rate_of
from services.accounting.programmes.cuts import Limits, cut, total
from services.accounting.redemptions.claiming import DiscountLine, Group, Past, UsageLine, Voucher, settled

_ONE: Final = "one"
_ALWAYS: Final = 2**62


@dataclass(frozen=True, slots=True)
class Estimate:
    """Of one organization. `claims`: by the start of their spans, what is claimed and paid. `providers`: what is used and paid of each."""

    used: int
    supported: int
    claimed: int
    pays: int
    cut: Limits
    claims: Mapping[int, tuple[int, int]]
    providers: Mapping[str, tuple[int, int]]


def merged(discounts: Iterable[DiscountLine]) -> list[DiscountLine]:
    """One of each group, where `amount` and `basis` of those given are what each took off by itself."""
    found: dict[Group, DiscountLine] = {}
    for one in discounts:
        before = found.get(one.group)
        found[one.group] = (
            one
            if before is None
            else before._replace(amount=before.amount + one.amount, basis=before.basis + one.basis)
        )
    return list(found.values())


def estimated(
    terms: ProgrammeTerms,
    holder: Holder,
    most: int | None,
    used: Sequence[UsageLine],
    discounts: Sequence[DiscountLine],
    providers: Mapping[str, str],
    zone: ZoneInfo,
) -> Estimate:
    """What a voucher for `most` (None: no limit) pays that covers all of these lines. `discounts`: one of each group at most, of which only
    the part counts that is of these lines; `providers`: of each line."""
    whole = sum(abs(line.amount) for line in used) if most is None else most
    voucher = Voucher(_ONE, _ONE, terms, holder, whole, 0, _ALWAYS, revoked_at=None)
    found = settled([voucher], used, discounts, Past(), zone)
    supported = {line.group for line in used if line.used is not None and rate_of(terms, holder, line.used)}
    own: Counter[Group] = Counter()
    for line in used:
        own[line.group] += line.amount
    amounts = [(line.id, line.group, line.amount) for line in used]
    for off in discounts:
        part = divide_half_away(off.amount * own[off.group], off.basis) if off.basis else 0
        amounts.append((off.id, off.group, part))
    sold: Counter[str] = Counter()
    for id, _, fen in amounts:
        sold[providers[id]] += fen
    pays: Counter[str] = Counter()
    for one in found.values():
        for id, (_, stands) in one.lines.items():
            pays[providers[id]] += stands if one.pays else 0
    claims = [Claim(*span, one.claimed) for span, one in found.items()]
    return Estimate(
        used=sum(fen for *_, fen in amounts),
        supported=sum(fen for _, group, fen in amounts if group in supported),
        claimed=sum(one.claimed for one in found.values()),
        pays=sum(one.pays for one in found.values()),
        cut=total(cut(terms, {_ONE: whole}, claims).values()),
        claims={span.start: (one.claimed, one.pays) for span, one in sorted(found.items())},
        providers={provider: (fen, pays[provider]) for provider, fen in sorted(sold.items())},
    )


def beside_pools(
    pools: Iterable[Pool], years: Iterable[int], estimates: Iterable[Estimate], zone: ZoneInfo
) -> tuple[PreviewedPool, ...]:
    """Each of these years with what is paid for the claims in it, by all organizations."""
    pays: Counter[int] = Counter()
    for one in estimates:
        for start, (_, fen) in one.claims.items():
            pays[clock.from_seconds(start).astimezone(zone).year] += fen
    amounts = {pool.year: pool.amount for pool in pools}
    return tuple(
        PreviewedPool(
            year=year,
            pays=Money(pays[year]),
            amount=amounts.get(year),
            above=Money(max(0, pays[year] - amounts[year].fen)) if year in amounts else None,
        )
        for year in sorted(years)
    )
