"""A job's lines, as if no period had ever been closed (docs/prices.md; the key is bench/city/README.md's)."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from bench.city.independent.bearers import Party, Piece, Position, before, cost, held_by, pieces, used_up
from bench.city.independent.reading import HOUR
from bench.city.independent.windows import PriceList, Rate, month
from bench.city.independent.world import Correction, Job, Units


class Key(NamedTuple):
    """What makes two lines one. `month` is of the seconds. Of a discount: `offering` is set, and no job, tariff or window."""

    month: int
    organization: str
    seller: str
    provider: str
    project: str | None
    job: str | None
    component: str
    accelerator: str | None
    price_list: str
    tariff: str | None
    window: str | None
    bearer: str
    reason: str | None
    attempt: str | None


Amounts = dict[Key, tuple[int, int]]
"""Quantity and fen of each line."""


@dataclass(frozen=True, slots=True)
class Charge:
    """A job's lines by month, and what each of its two holds was charged by the prices of placement."""

    lines: dict[int, Amounts]
    captured: int
    wholesale: int


def charge(job: Job, corrections: Sequence[Correction], lists: dict[str, PriceList]) -> Charge:
    """A pure function of what was told."""
    direct, wholesale = (pieces(held, corrections, lists) for held in held_by(job))
    cuts = (used_up(direct, job.hold), used_up(wholesale, job.wholesale_hold) if wholesale else None)
    cut = min((at for at in cuts if at is not None), default=None)
    rates: dict[Key, Rate] = {}
    quantities: dict[Key, int] = defaultdict(int)
    captured = []
    for found, hold in ((direct, job.hold), (wholesale, job.wholesale_hold)):
        _tally(job, found, cut, quantities, rates)
        paid = [piece for piece in found if piece.payable]
        spent = cost(paid, cut)
        captured.append(spent + _minimums(job, paid, hold - spent, quantities))
    lines: dict[int, Amounts] = {}
    for key, quantity in quantities.items():
        if quantity:
            lines.setdefault(key.month, {})[key] = quantity, _amount(key, rates, quantity)
    return Charge(lines, *captured)


def _amount(key: Key, rates: dict[Key, Rate], quantity: int) -> int:
    if key.component == "minimum_charge":
        return quantity
    return 0 if key.reason == "tracked" else rates[key].amount(key.component, quantity)


def _tally(
    job: Job, found: list[Piece], cut: Position | None, quantities: dict[Key, int], rates: dict[Key, Rate]
) -> None:
    """Add up what each line has; what is behind the cut is the provider's, whatever it costs."""
    seconds: dict[tuple[Party, int, Rate, str, str | None, Units], int] = defaultdict(int)
    for piece in found:
        start, end, stretch, party, mode, _, rate = piece
        base = party, month(start // HOUR * HOUR), rate
        if mode != "billed":
            seconds[*base, "nobody", mode, stretch.held] += end - start
        elif stretch.blame is not None:
            seconds[*base, "provider", stretch.blame, stretch.held] += end - start
        else:
            limit = end if cut is None else before(piece, cut)
            if start < limit:
                seconds[*base, "organization", None, stretch.within] += limit - start
                seconds[*base, "provider", "overrun", stretch.beyond] += limit - start
            if limit < end:
                seconds[*base, "provider", "overrun", stretch.held] += end - limit
    for (party, period, rate, bearer, reason, units), length in seconds.items():
        organization, project, seller, provider = party
        for component, kind, count in units:
            key = Key(
                period,
                organization,
                seller,
                provider,
                project,
                job.id,
                component,
                kind,
                rate.price_list,
                rate.tariff,
                rate.window,
                bearer,
                reason,
                None,
            )
            quantities[key] += length * count
            rates[key] = rate


def _minimums(job: Job, paid: list[Piece], left: int, quantities: dict[Key, int]) -> int:
    """Add what attempts lack to their minimum (docs/prices.md, "A minimum charge"); fen that the hold pays of it.

    The hold pays attempts in the order of their last billed seconds. The provider bears what it has not left, by the prices
    of placement; of what a correction makes of it, as much.
    """
    of_attempts: dict[str, list[Piece]] = defaultdict(list)
    for piece in paid:
        of_attempts[piece.stretch.attempt].append(piece)
    lasts = {attempt: max(mine, key=lambda piece: piece.end) for attempt, mine in of_attempts.items()}
    captured = 0
    for attempt in sorted(lasts, key=lambda attempt: (lasts[attempt].end, attempt)):
        if not job.attempts[attempt].ended:
            continue
        last, mine = lasts[attempt], of_attempts[attempt]
        short = max(0, last.placed.minimum - cost(mine))
        own = min(short, left - captured)
        captured += own
        now = max(0, last.rate.minimum - cost([piece._replace(placed=piece.rate) for piece in mine]))
        borne = min(short - own, now)
        organization, project, seller, provider = last.party
        for bearer, reason, quantity in (("organization", None, now - borne), ("provider", "overrun", borne)):
            key = Key(
                month((last.end - 1) // HOUR * HOUR),
                organization,
                seller,
                provider,
                project,
                job.id,
                "minimum_charge",
                None,
                last.rate.price_list,
                last.rate.tariff,
                last.rate.window,
                bearer,
                reason,
                attempt,
            )
            quantities[key] += quantity
    return captured
