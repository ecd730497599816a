"""What vouchers pay, from scratch: programmes, vouchers and lines of closed periods in, what each pays of each line out.

The rules are those of docs/programmes.md, written down a second time.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import product
from typing import Any, NamedTuple

LEVELS = ("national", "province", "city", "district")
MONTHS = {"month": 1, "quarter": 3, "year": 12}
Month = tuple[int, int]
"""A year and a month of it."""
Rates = Sequence[tuple[str, Fraction]]
"""Which vouchers pay a line and which part of it, the higher level first."""


class Voucher(NamedTuple):
    """`programme`: its JSON. `issued`, `expires`: seconds; of those issued at once the first by id. `revoked`: after how
    many closes."""

    id: str
    programme: Mapping[str, Any]
    organization: str
    amount: int
    issued: int
    expires: int
    kinds: frozenset[str] = frozenset()
    use: str | None = None
    affiliates: frozenset[str] = frozenset()
    revoked: int | None = None


class Line(NamedTuple):
    """A line that the organization bears. `close`: which one it came with; `month`: of the period whose usage it is about, which was
    closed by `about` (the same close where it corrects nothing). `job`: None for a volume discount. `group`: the organization's lines
    for a component of an offering. `off`: of a volume discount what it is taken off, in fen; of its group.
    """

    id: str
    organization: str
    close: int
    about: int
    month: Month
    component: str
    tier: str
    origin: str | None
    seller: str
    job: str | None
    submitted: int
    ended: int
    amount: int
    group: str = ""
    off: int | None = None


class Claim(NamedTuple):
    voucher: str
    span: Month


@dataclass
class Paid:
    """In fen. `lines`: by line and voucher; `earlier`: by close and claim, what is paid for lines of closes before it. `discounted`: by
    claim, the shares of volume discounts."""

    full: Counter[Claim] = field(default_factory=Counter)
    claims: Counter[Claim] = field(default_factory=Counter)
    lines: Counter[tuple[str, str]] = field(default_factory=Counter)
    earlier: Counter[tuple[int, Claim]] = field(default_factory=Counter)
    discounted: Counter[Claim] = field(default_factory=Counter)

    def of_voucher(self, voucher: str) -> int:
        return sum(fen for claim, fen in self.claims.items() if claim.voucher == voucher)

    def of_line(self, line: str) -> int:
        return sum(fen for (one, _), fen in self.lines.items() if one == line)


def paid(vouchers: Sequence[Voucher], lines: Iterable[Line]) -> Paid:
    """Close by close."""
    by_close: defaultdict[int, list[Line]] = defaultdict(list)
    for line in lines:
        by_close[line.close].append(line)
    claims = Claims()
    for close in sorted(by_close):
        claims.close(close, vouchers, by_close[close])
    return claims.paid


class Claims:
    """What vouchers have paid so far."""

    def __init__(self) -> None:
        self.paid = Paid()
        self._shares: dict[str, dict[Claim, int]] = {}
        self._judged: dict[tuple[str | None, str, Month], Rates] = {}
        self._groups: defaultdict[tuple[str, Month], _Group] = defaultdict(_Group)

    def close(
        self, close: int, vouchers: Sequence[Voucher], lines: Iterable[Line], buyers: Collection[str] | None = None
    ) -> None:
        """A period closes with these lines, by which the claims of `buyers` come to what they are now: of those who bear some, if not said
        otherwise."""
        lines = sorted(lines, key=lambda one: one.off is not None)
        found, known = self.paid, {one.id: one for one in vouchers}
        shares: defaultdict[Claim, list[tuple[Line, int]]] = defaultdict(list)
        for line in lines:
            self._shares[line.id] = {}
            for voucher, share in self._of_line(vouchers, line).items():
                claim = Claim(voucher, span_of(line.month, known[voucher].programme))
                self._shares[line.id][claim] = share
                shares[claim].append((line, share))
                found.full[claim] += share
                found.discounted[claim] += share if line.off is not None else 0
        buyers = {line.organization for line in lines} if buyers is None else buyers
        now = capped(known, {at: fen for at, fen in found.full.items() if known[at.voucher].organization in buyers})
        for claim, pays in now.items():
            some = sorted(shares.get(claim, ()), key=lambda one: (one[0].ended, one[0].id))
            more = pays - found.claims[claim]
            stands = filled([share for _, share in some], more)
            for (line, _), fen in zip(some, stands, strict=True):
                found.lines[line.id, claim.voucher] += fen
            found.earlier[close, claim] += more - sum(stands)
            found.claims[claim] = pays

    def _of_line(self, vouchers: Sequence[Voucher], line: Line) -> dict[str, int]:
        group = self._groups[line.group, line.month]
        if line.off is not None:
            return group.given_back(line.amount, line.off, in_order(vouchers))
        first = line.job, line.group, line.month
        if first not in self._judged:
            self._judged[first] = judged(vouchers, line, self.paid)
        found = shares_of(self._judged[first], line.amount)
        group.used.update(found)
        return found

    def give_back(self, line: Line, before: int, amount: int) -> dict[str, int]:
        """A credit note gives `amount` back of a line, after `before`: each of its vouchers' claims is less by its part, and has paid less,
        together once rounded, as far as a close has left of it. Returns what each has back."""

        def part(fen: int) -> int:
            whole = [rounded(Fraction(fen * given, line.amount)) for given in (before, before + amount)]
            return whole[1] - whole[0]

        found, share, pays = {}, 0, 0
        for claim, own in sorted(self._shares[line.id].items()):
            stands = self.paid.lines[line.id, claim.voucher]
            self.paid.full[claim] -= part(share + own) - part(share)
            found[claim.voucher] = min(part(pays + stands) - part(pays), self.paid.claims[claim])
            self.paid.claims[claim] -= found[claim.voucher]
            share, pays = share + own, pays + stands
        return found


@dataclass
class _Group:
    """All that a volume discount is taken off: the vouchers' shares of it, and of the discount so far; what that came to, and of what."""

    used: Counter[str] = field(default_factory=Counter)
    discounted: Counter[str] = field(default_factory=Counter)
    amount: int = 0
    off: int = 0

    def given_back(self, amount: int, off: int, order: Iterable[str]) -> dict[str, int]:
        """By voucher, in this order together once rounded, what is more than before."""
        self.amount, self.off = self.amount + amount, self.off + off
        part = Fraction(self.amount, self.off) if self.off else Fraction(0)
        found, upto = {}, 0
        for voucher in order:
            whole = rounded(part * (upto + self.used[voucher])) - rounded(part * upto)
            upto += self.used[voucher]
            found[voucher] = whole - self.discounted[voucher]
            self.discounted[voucher] = whole
        return {voucher: fen for voucher, fen in found.items() if fen}


def in_order(vouchers: Iterable[Voucher]) -> list[str]:
    """The higher level first, and of one level the one that was issued first."""
    by_level = sorted(vouchers, key=lambda one: (LEVELS.index(one.programme["issuer"]["level"]), one.issued, one.id))
    return [one.id for one in by_level]


def span_of(month: Month, programme: Mapping[str, Any]) -> Month:
    """The first month of the span in which it lies."""
    long = MONTHS[programme.get("settles", "quarter")]
    return month[0], (month[1] - 1) // long * long + 1


def rate_of(voucher: Voucher, line: Line) -> Fraction:
    """What it would pay of the line alone."""
    terms = voucher.programme
    who = terms.get("eligibility", {})
    if (
        line.component not in (terms.get("components") or [line.component])
        or line.tier not in (terms.get("tiers") or [line.tier])
        or line.origin not in (terms.get("origins") or [line.origin])
        or line.seller not in (who.get("suppliers") or [line.seller])
        or (who.get("unaffiliated") and line.seller in voucher.affiliates)
    ):
        return Fraction(0)
    met = [
        one["rate"]
        for one in terms["rates"]
        if one.get("kind") in {None, *voucher.kinds}
        and one.get("origin") in (None, line.origin)
        and one.get("use") in (None, voucher.use)
    ]
    return Fraction(max(met, default=0), 10_000)


def judged(vouchers: Iterable[Voucher], line: Line, so_far: Paid) -> Rates:
    """Which of them pay the first line of a job for its group in a month, and all that corrects it, by what they have paid so far."""
    fresh, used_up = list[Voucher](), list[Voucher]()
    for one in vouchers:
        claim = Claim(one.id, span_of(line.month, one.programme))
        begun = claim in so_far.claims
        if (
            one.organization != line.organization
            or one.programme.get("mode", "deducted") != "deducted"
            or not one.issued <= line.submitted < one.expires
            or (one.revoked is not None and not (begun and line.about < line.close and line.about <= one.revoked))
        ):
            continue
        before = sum(fen for at, fen in so_far.claims.items() if at.voucher == one.id and at.span < claim.span)
        (used_up if not begun and before >= one.amount else fresh).append(one)
    return together(fresh, line) or together(used_up, line)


def shares_of(rates: Rates, amount: int) -> dict[str, int]:
    """What each is to pay of it."""
    shares, upto = {}, Fraction(0)
    for voucher, rate in rates:
        shares[voucher] = rounded(amount * (upto + rate)) - rounded(amount * upto)
        upto += rate
    return shares


def together(covering: Iterable[Voucher], line: Line) -> Rates:
    """The best of each level alone, or some of these that stack, up to the least that any of them stacks to; the higher level first."""
    best: dict[str, Voucher] = {}
    for one in sorted(covering, key=lambda one: (-rate_of(one, line), one.issued, one.id)):
        best.setdefault(one.programme["issuer"]["level"], one)
    ways: list[list[tuple[str, Fraction]]] = [[]]
    for chosen in product((True, False), repeat=len(LEVELS)):
        some = [best[level] for level, is_in in zip(LEVELS, chosen, strict=True) if is_in and level in best]
        stacks_to = [one.programme.get("stacks_to") or 0 for one in some]
        left = Fraction(min(stacks_to, default=0), 10_000) if len(some) > 1 else Fraction(1)
        way = []
        for one in some:
            rate = min(rate_of(one, line), left)
            left -= rate
            way += [(one.id, rate)] if rate else []
        ways.append(way)
    return max(ways, key=lambda way: (sum(rate for _, rate in way), len(way)))


def capped(vouchers: Mapping[str, Voucher], full: Mapping[Claim, int]) -> dict[Claim, int]:
    """What all claims pay: the earlier span first, in a span the voucher that was issued first."""
    found: dict[Claim, int] = {}
    of_voucher, of_year = Counter[str](), Counter[tuple[str, str, int]]()
    for claim in sorted(full, key=lambda one: (one.span, vouchers[one.voucher].issued, one.voucher)):
        voucher = vouchers[claim.voucher]
        caps = voucher.programme.get("caps", {})
        year = str(voucher.programme["id"]), voucher.organization, claim.span[0]
        most = [full[claim], voucher.amount - of_voucher[voucher.id]]
        if caps.get("claim"):
            most.append(fen_of(caps["claim"]))
        if caps.get("redeemed_in_year"):
            most.append(fen_of(caps["redeemed_in_year"]) - of_year[year])
        pays = 0 if full[claim] < fen_of(voucher.programme.get("floor", "0.00")) else max(0, min(most))
        found[claim] = pays
        of_voucher[voucher.id] += pays
        of_year[year] += pays
    return found


def filled(shares: Sequence[int], more: int) -> list[int]:
    """What of each share stands on its line, where the claim pays `more` than before: what lines give back whole, and the others one after
    the other, until it is used up. Nothing, where these add to the claim and it pays no more."""
    back = sum(share for share in shares if share < 0)
    stands = max(back, min(more, sum(shares)))
    found, left = [], stands - back
    for share in shares:
        found.append(min(share, left) if stands else 0)
        left -= max(0, found[-1])
    return found


def funded(pays: int, funders: Sequence[Mapping[str, Any]]) -> list[int]:
    """What each pays of it, by the largest remainder: of equal ones the first."""
    exact = [Fraction(pays * one["share"], 10_000) for one in funders]
    found = [fen.numerator // fen.denominator for fen in exact]
    by_remainder = sorted(range(len(exact)), key=lambda place: found[place] - exact[place])
    for place in by_remainder[: pays - sum(found)] if funders else ():
        found[place] += 1
    return found


def rounded(fen: Fraction) -> int:
    """Halves away from zero."""
    whole = (abs(fen) + Fraction(1, 2)).__floor__()
    return whole if fen >= 0 else -whole


def fen_of(text: str) -> int:
    return int(Fraction(text) * 100)
