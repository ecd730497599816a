"""What one voucher would have paid for an organization's lines of closed periods. Pure; amounts are fen, times seconds since the epoch.

Claims are functions of sums, so the periods are settled as if they had closed as one: `merged` makes of all discounts of a group one, as
the last of these closes saw it.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

from caravan.contracts.programmes import Caps, ProgrammeTerms
from caravan.kernel.money import ZERO, divide_half_away
from services.accounting.programmes.claims import Claim, Holder, paid, rate_of
from services.accounting.redemptions.claiming import DiscountLine, Group, Past, UsageLine, Voucher, settled

_ONE: Final = "one"
_ALWAYS: Final = 2**62


class Limits(NamedTuple):
    """What is paid less by each of them, behind those before it."""

    floor: int
    claim: int
    voucher: int
    redeemed_in_year: int


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
    return Estimate(
        used=sum(fen for *_, fen in amounts),
        supported=sum(fen for _, group, fen in amounts if group in supported),
        claimed=sum(one.claimed for one in found.values()),
        pays=sum(one.pays for one in found.values()),
        cut=_cut(terms, whole, [Claim(*span, one.claimed) for span, one in found.items()]),
        claims={span.start: (one.claimed, one.pays) for span, one in sorted(found.items())},
        providers={provider: (fen, pays[provider]) for provider, fen in sorted(sold.items())},
    )


def _cut(terms: ProgrammeTerms, most: int, claims: Sequence[Claim]) -> Limits:
    """By what each limit changes, put on one after the other."""
    whole = sum(abs(claim.full) for claim in claims)
    caps = terms.caps.model_copy(update={"redeemed_in_year": None})
    steps = (
        (terms.model_copy(update={"floor": ZERO, "caps": Caps()}), whole),
        (terms.model_copy(update={"caps": Caps()}), whole),
        (terms.model_copy(update={"caps": caps}), whole),
        (terms.model_copy(update={"caps": caps}), most),
        (terms, most),
    )
    sums = [sum(paid(rules, {_ONE: fen}, claims).values()) for rules, fen in steps]
    return Limits(*(before - after for before, after in pairwise(sums)))
