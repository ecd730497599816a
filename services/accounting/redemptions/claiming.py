"""What an organization's lines in a period are claimed of its vouchers. Pure; amounts are fen, times seconds since the epoch.

A voucher covers the jobs that were submitted while it was valid, and of them what its programme supports. Once it is revoked, only what
corrects periods that were closed before goes to claims that it has. One that earlier spans have used up leaves a line to others, if there
are any.

Which vouchers pay for a component of a job, and at which rates, is judged once: as the first line of it closes. What corrects that is paid,
or given back, by the same, whatever is known since.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, time
from typing import NamedTuple
from zoneinfo import ZoneInfo

from caravan.contracts.programmes import IssuerLevel, Mode, ProgrammeTerms, Settles
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
LEVELS = tuple(IssuerLevel)
"""The higher first."""


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
    job: str
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
    period, but is for those of closed ones. `lines`: of each its share, and what is paid of it; `rates`: at which, of those of jobs.
    """

    claimed: int
    pays: int
    earlier: int
    lines: Mapping[str, tuple[int, int]]
    rates: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Past:
    """What closed periods have of an organization's vouchers: by span what was claimed and paid; by group and voucher the shares of what
    was used, and of its discounts; `rates`: of a job in a group, at which vouchers pay, of those that were judged."""

    claimed: Mapping[Span, int] = field(default_factory=dict)
    paid: Mapping[Span, int] = field(default_factory=dict)
    used: Mapping[tuple[Group, str], int] = field(default_factory=dict)
    discounted: Mapping[tuple[Group, str], int] = field(default_factory=dict)
    rates: Mapping[tuple[str, Group], Mapping[str, int]] = field(default_factory=dict)


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
    by_id = {voucher.id: voucher for voucher in sorted(vouchers, key=_place)}
    parts: defaultdict[Span, list[Part]] = defaultdict(list)
    of_lines: defaultdict[Span, dict[str, int]] = defaultdict(dict)
    of_groups = Counter(past.used)
    for line in used:
        rates = past.rates.get((line.job, line.group))
        if rates is None:
            rates = _rates_of(line, vouchers, past, zone)
        in_order = {voucher: rates[voucher] for voucher in by_id if voucher in rates}
        for voucher, fen in share(line.amount, in_order).items():
            of_groups[line.group, voucher] += fen
            span = span_of(voucher, by_id[voucher].terms.settles, line.starts_at, zone)
            parts[span].append(Part(line.id, line.ends_at, fen))
            of_lines[span][line.id] = rates[voucher]
    for off in discounts:
        of_off = {voucher: of_groups[off.group, voucher] for voucher in by_id}
        for voucher, whole in _off(off, of_off).items():
            fen = whole - past.discounted.get((off.group, voucher), 0)
            if fen:
                span = span_of(voucher, by_id[voucher].terms.settles, off.starts_at, zone)
                parts[span].append(Part(off.id, clock.to_seconds(off.starts_at), fen))
    return {span: replace(claim, rates=of_lines.get(span, {})) for span, claim in _claims(by_id, parts, past).items()}


def _place(voucher: Voucher) -> tuple[bool, int, str]:
    """Of those that pay for the same: what deducts comes first, then the higher level, then what was issued first."""
    return voucher.terms.mode is Mode.REIMBURSED, LEVELS.index(voucher.terms.issuer.level), voucher.id


def _off(off: DiscountLine, used: Mapping[str, int]) -> dict[str, int]:
    """What each voucher has of a discount, by its shares of what that is taken off: together once rounded, and never more than all."""

    def part(some: int) -> int:
        return divide_half_away(off.amount * some, off.basis) if off.basis else 0

    found, upto = {}, 0
    for voucher, fen in used.items():
        found[voucher] = part(upto + fen) - part(upto)
        upto += fen
    return found


def _rates_of(line: UsageLine, vouchers: Iterable[Voucher], past: Past, zone: ZoneInfo) -> dict[str, int]:
    """At which rates they pay for a line that is the first of its job in its group."""
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
    return _rates(live, line.used) or _rates(used_up, line.used)


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
