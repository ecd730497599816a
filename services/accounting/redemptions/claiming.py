"""What an organization's lines in a period are claimed of its vouchers. Pure; amounts are fen, times seconds since the epoch.

A voucher covers the jobs that were submitted while it was valid, and of them what its programme supports. Once it is revoked, only what
corrects periods that were closed before goes to claims that it has. One that earlier spans have used up leaves a line to others, if there
are any.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, time
from typing import NamedTuple
from zoneinfo import ZoneInfo

from caravan.contracts.programmes import Mode, ProgrammeTerms, Settles
from caravan.kernel import clock
from caravan.kernel.money import divide_half_away
from services.accounting.programmes.claims import (
    Claim,
    Holder,
    Offer,
    Part,
    Used,
    paid,
    rate_of,
    share,
    spread,
    together,
)
from services.accounting.programmes.eligibility import months_after

MONTHS = {Settles.MONTH: 1, Settles.QUARTER: 3, Settles.YEAR: 12}


@dataclass(frozen=True, slots=True)
class Voucher:
    """`most`: what its claims may come to in all. Valid in [issued_at, expires_at)."""

    id: str
    programme: str
    terms: ProgrammeTerms
    holder: Holder
    most: int
    issued_at: int
    expires_at: int
    revoked_at: datetime | None


class Group(NamedTuple):
    """All that a volume discount is taken off."""

    period: str
    offering: str
    component: str
    reseller: str


class UsageLine(NamedTuple):
    """A line of a job. `starts_at` is that of the period in which its seconds lie, and so is `closed_at`, where the line corrects that one.
    `used` is None where that isn't known.
    """

    id: str
    group: Group
    starts_at: datetime
    submitted_at: int
    ends_at: int
    used: Used | None
    amount: int
    closed_at: datetime | None = None


class DiscountLine(NamedTuple):
    """A volume discount. `amount` of `basis` was taken off in all, this line included."""

    id: str
    group: Group
    starts_at: datetime
    amount: int
    basis: int


class Span(NamedTuple):
    """Of claims of one voucher; `year` is the calendar year that it lies in."""

    voucher: str
    start: int
    year: int


@dataclass(frozen=True, slots=True)
class Settled:
    """What a period's close adds to a claim: to its lines' shares, and to what it pays. `earlier`: what of that stands on no line of the
    period, but is for those of closed ones. `lines`: of each its share, and what is paid of it.
    """

    claimed: int
    pays: int
    earlier: int
    lines: Mapping[str, tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Past:
    """What closed periods have of an organization's vouchers: by span what was claimed and paid; by group and voucher the shares of what
    was used, and of its discounts."""

    claimed: Mapping[Span, int] = field(default_factory=dict)
    paid: Mapping[Span, int] = field(default_factory=dict)
    used: Mapping[tuple[Group, str], int] = field(default_factory=dict)
    discounted: Mapping[tuple[Group, str], int] = field(default_factory=dict)


def span_of(voucher: str, settles: Settles, starts_at: datetime, zone: ZoneInfo) -> Span:
    """The span of claims in which a period begins."""
    local = starts_at.astimezone(zone)
    months = MONTHS[settles]
    first = local.replace(month=local.month - (local.month - 1) % months, day=1, hour=0, minute=0, second=0)
    return Span(voucher, clock.to_seconds(first), local.year)


def ends_at(span: Span, settles: Settles, zone: ZoneInfo) -> datetime:
    """When a span of claims is over."""
    after = months_after(clock.from_seconds(span.start).astimezone(zone).date(), MONTHS[settles])
    return clock.from_seconds(clock.to_seconds(datetime.combine(after, time(), zone)))


def settled(
    vouchers: Sequence[Voucher],
    used: Iterable[UsageLine],
    discounts: Iterable[DiscountLine],
    past: Past,
    zone: ZoneInfo,
) -> dict[Span, Settled]:
    """What the lines of a period that closes are claimed, and what that changes of each claim of one organization."""
    by_id = {voucher.id: voucher for voucher in vouchers}
    parts: defaultdict[Span, list[Part]] = defaultdict(list)
    of_groups = Counter(past.used)
    for line in used:
        for voucher, fen in _shares(line, vouchers, past, zone).items():
            of_groups[line.group, voucher] += fen
            parts[span_of(voucher, by_id[voucher].terms.settles, line.starts_at, zone)].append(
                Part(line.id, line.ends_at, fen)
            )
    for off in discounts:
        for voucher in by_id:
            whole = divide_half_away(off.amount * of_groups[off.group, voucher], off.basis) if off.basis else 0
            fen = whole - past.discounted.get((off.group, voucher), 0)
            if fen:
                at = span_of(voucher, by_id[voucher].terms.settles, off.starts_at, zone)
                parts[at].append(Part(off.id, clock.to_seconds(off.starts_at), fen))
    return _claims(by_id, parts, past)


def _shares(line: UsageLine, vouchers: Iterable[Voucher], past: Past, zone: ZoneInfo) -> dict[str, int]:
    if line.used is None:
        return {}
    live, used_up = list[Voucher](), list[Voucher]()
    for voucher in vouchers:
        if not voucher.issued_at <= line.submitted_at < voucher.expires_at:
            continue
        span = span_of(voucher.id, voucher.terms.settles, line.starts_at, zone)
        if voucher.revoked_at is not None and not (
            span in past.claimed and line.closed_at is not None and line.closed_at <= voucher.revoked_at
        ):
            continue
        over = span not in past.claimed and _is_used_up(voucher, span, past)
        (used_up if over else live).append(voucher)
    return share(line.amount, _rates(live, line.used) or _rates(used_up, line.used))


def _rates(vouchers: Iterable[Voucher], used: Used) -> dict[str, int]:
    """Of those that deduct as if there were no others, for they pay first; and then of those that reimburse."""
    offers: defaultdict[Mode, list[Offer]] = defaultdict(list)
    for one in vouchers:
        rate = rate_of(one.terms, one.holder, used)
        offers[one.terms.mode].append(Offer(one.id, one.terms.issuer.level, rate, one.terms.stacks_to))
    rates = together(offers[Mode.DEDUCTED])
    first = [one._replace(rate=rates[one.voucher]) for one in offers[Mode.DEDUCTED] if one.voucher in rates]
    return rates | together(offers[Mode.REIMBURSED], first)


def _is_used_up(voucher: Voucher, span: Span, past: Past) -> bool:
    """By what was paid for earlier spans."""
    before = (fen for at, fen in past.paid.items() if at.voucher == voucher.id and at.start < span.start)
    return sum(before) >= voucher.most


def _claims(by_id: Mapping[str, Voucher], parts: Mapping[Span, Sequence[Part]], past: Past) -> dict[Span, Settled]:
    found = {}
    spans = {*past.claimed, *parts}
    for programme in sorted({voucher.programme for voucher in by_id.values()}):
        own = {id: voucher for id, voucher in by_id.items() if voucher.programme == programme}
        more = {span: sum(part.share for part in parts.get(span, ())) for span in spans if span.voucher in own}
        claims = {span: Claim(*span, past.claimed.get(span, 0) + fen) for span, fen in more.items()}
        terms = next(iter(own.values())).terms
        pays = paid(terms, {id: voucher.most for id, voucher in own.items()}, claims.values())
        for span, claim in claims.items():
            moved = pays[claim] - past.paid.get(span, 0)
            some = parts.get(span, ())
            on_lines = _on_lines(some, moved)
            if some or moved:
                earlier = moved - sum(stands for _, stands in on_lines.values())
                found[span] = Settled(more[span], moved, earlier, on_lines)
    return found


def _on_lines(parts: Sequence[Part], pays: int) -> dict[str, tuple[int, int]]:
    """As far as the lines' own shares reach."""
    least, most = sum(min(part.share, 0) for part in parts), sum(part.share for part in parts)
    stands = spread(parts, max(least, min(pays, most)))
    return {part.line: (part.share, fen) for part, fen in zip(parts, stands, strict=True)}
