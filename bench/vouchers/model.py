"""What vouchers, pools and money should be after each step, by docs/programmes.md alone. Amounts are fen, times seconds since the epoch.

What closed periods pay is the independent script's; here is what goes on beside it: pledges, what is redeemed before a close, ends of
vouchers, clawbacks and credit notes.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from bench.independent.vouchers import Claims, Line, Month, Voucher, rate_of, rounded


@dataclass
class Held:
    """A voucher. `voucher`: as it was issued."""

    voucher: Voucher
    year: int
    state: str = "issued"
    revoked: int | None = None
    released: int = 0
    clawed_back: int = 0


@dataclass
class Use:
    """A job, by `voucher` if one is pledged. `charged`: what its lines in open periods come to; `unclosed`: whether there are any."""

    id: str
    organization: str
    submitted: int
    held: int
    like: Line
    voucher: str | None = None
    pledged: int = 0
    redeemed: int = 0
    settled: bool = False
    charged: int = 0
    unclosed: bool = False


@dataclass
class Model:
    """`pending`: by voucher, what the next statement is to name of clawbacks. `statements`: by close and organization, of each voucher what
    it pays of lines, and for earlier statements. `unsettled`: those at whose claims the next close looks, whatever was used."""

    vouchers: dict[str, Held] = field(default_factory=dict)
    jobs: dict[str, Use] = field(default_factory=dict)
    claims: Claims = field(default_factory=Claims)
    committed: Counter[tuple[str, int]] = field(default_factory=Counter)
    pending: Counter[str] = field(default_factory=Counter)
    statements: dict[tuple[int, str], dict[str, tuple[int, int]]] = field(default_factory=dict)
    unsettled: set[str] = field(default_factory=set)
    closes: int = 0

    def issue(self, voucher: Voucher, year: int) -> None:
        self.vouchers[voucher.id] = Held(voucher, year)
        self.committed[voucher.programme["id"], year] += voucher.amount

    def hold(self, use: Use) -> None:
        """The voucher that pays most of it is pledged; of equal ones the one that was issued first."""
        self.jobs[use.id] = use
        for id, one in sorted(self.vouchers.items()):
            voucher = one.voucher
            if (
                voucher.organization == use.organization
                and one.state == "issued"
                and voucher.issued <= use.submitted < voucher.expires
            ):
                pledged = min(rounded(rate_of(voucher, use.like) * use.held), self.left(id))
                if pledged > use.pledged:
                    use.voucher, use.pledged = id, pledged

    def state(self, voucher: str) -> str:
        """Once closed periods have paid all of it, it is redeemed."""
        one = self.vouchers[voucher]
        all_paid = one.state != "revoked" and self.claims.paid.of_voucher(voucher) == one.voucher.amount
        return "redeemed" if all_paid else one.state

    def left(self, voucher: str) -> int:
        """What of it may still be pledged."""
        one = self.vouchers[voucher]
        return one.voucher.amount - one.released - self.pledged(voucher)

    def pledged(self, voucher: str) -> int:
        return self._of_jobs(voucher) + self._kept(voucher)

    def redeemed(self, voucher: str) -> int:
        return sum(use.redeemed for use in self.jobs.values() if use.voucher == voucher) + self._kept(voucher)

    def _of_jobs(self, voucher: str) -> int:
        return sum(use.pledged for use in self.jobs.values() if use.voucher == voucher)

    def _kept(self, voucher: str) -> int:
        """Of what closed periods have paid, what was not clawed back."""
        return self.claims.paid.of_voucher(voucher) - self.vouchers[voucher].clawed_back

    def charge(self, charged: Mapping[str, int], unclosed: Collection[str], settled: Collection[str]) -> None:
        """By job, what its lines in open periods come to; which jobs have any; and which are settled by now."""
        for use in self.jobs.values():
            use.charged, use.unclosed = charged.get(use.id, 0), use.id in unclosed
            use.redeemed = self._redeemed(use, use.charged)
            use.settled = use.settled or use.id in settled
            if use.settled:
                use.pledged = use.redeemed

    def _redeemed(self, use: Use, charged: int) -> int:
        if use.voucher is None:
            return 0
        part = rounded(rate_of(self.vouchers[use.voucher].voucher, use.like) * charged)
        return max(0, min(part, use.pledged))

    def close(
        self, lines: Iterable[Line], buyers: Collection[str], charged: Mapping[str, int], users: Collection[str]
    ) -> None:
        """A period closes with these lines. `buyers` have a statement, and those for whom credit notes let vouchers pay otherwise.
        `users`: the jobs that have some, and what they are `charged` by lines that stay open."""
        self.closes += 1
        for use in self.jobs.values():
            if use.id in users:
                now = min(use.redeemed, self._redeemed(use, charged.get(use.id, 0)))
                use.pledged, use.redeemed = use.pledged - (use.redeemed - now), now
        vouchers = [
            one.voucher._replace(
                amount=one.voucher.amount - one.released + one.clawed_back - self._of_jobs(id), revoked=one.revoked
            )
            for id, one in self.vouchers.items()
        ]
        lines = list(lines)
        looked_at = {*buyers, *(self.vouchers[id].voucher.organization for id in self.unsettled)}
        self.claims.close(self.closes, vouchers, lines, looked_at)
        self.unsettled.clear()
        most = {one.id: one.amount for one in vouchers}
        for organization in looked_at:
            own = [id for id, one in self.vouchers.items() if one.voucher.organization == organization]
            # what jobs have pledged is paid to claims by a later close
            self.unsettled.update(id for id in own if self._of_jobs(id) and self._claimed(id) >= most[id])
            paid = {id: self._paid(id, lines) for id in own}
            for id in own:
                self._undo(id)
            if organization in buyers or any(map(any, paid.values())):
                self.statements[self.closes, organization] = {
                    id: (on_lines, earlier - self.pending.pop(id, 0)) for id, (on_lines, earlier) in paid.items()
                }

    def _paid(self, voucher: str, lines: Iterable[Line]) -> tuple[int, int]:
        """By this close: on lines, and for those of earlier ones."""
        paid = self.claims.paid
        on_lines = sum(paid.lines[line.id, voucher] for line in lines)
        at_close = ((at, fen) for (close, at), fen in paid.earlier.items() if close == self.closes)
        return on_lines, sum(fen for at, fen in at_close if at.voucher == voucher)

    def revoke(self, voucher: str) -> None:
        self.vouchers[voucher].state, self.vouchers[voucher].revoked = "revoked", self.closes
        self.release()

    def look(self, now: int) -> None:
        """Whose time is over has expired."""
        for one in self.vouchers.values():
            if one.state == "issued" and one.voucher.expires <= now:
                one.state = "expired"
        self.release()

    def release(self) -> None:
        """The pool has again what nothing needs any more."""
        for id, one in self.vouchers.items():
            needed = id in self.unsettled or any(use.voucher == id and use.pledged for use in self.jobs.values())
            if one.state == "expired":
                needed = needed or any(
                    use.organization == one.voucher.organization
                    and one.voucher.issued <= use.submitted < one.voucher.expires
                    and (not use.settled or use.unclosed)
                    for use in self.jobs.values()
                )
            if one.state != "issued" and not needed:
                left = max(0, self.left(id))
                one.released += left
                self.committed[one.voucher.programme["id"], one.year] -= left

    def clawable(self, voucher: str) -> int:
        return self._kept(voucher)

    def claw_back(self, voucher: str, fen: int) -> None:
        """The organization owes it again, its next statement names it, and the pool has it again, but not the voucher."""
        one = self.vouchers[voucher]
        one.clawed_back += fen
        one.released += fen
        self.committed[one.voucher.programme["id"], one.year] -= fen
        self.pending[voucher] += fen

    def _claimed(self, voucher: str) -> int:
        """What closes have paid, whatever was clawed back since."""
        return self._kept(voucher) + self.vouchers[voucher].clawed_back

    def _undo(self, voucher: str) -> None:
        """What was given back isn't taken a second time."""
        twice = max(0, -self._kept(voucher))
        self.vouchers[voucher].clawed_back -= twice
        self.pending[voucher] -= twice

    def note(self, line: Line, before: int, amount: int) -> int:
        """A credit note, after others of `before`. Returns what of it vouchers had paid."""
        back = self.claims.give_back(line, before, amount)
        self.unsettled.update(back)
        for voucher in back:
            self._undo(voucher)
        return sum(back.values())

    def of_year(self, programme: str, organization: str, year: int) -> tuple[int, int]:
        """What an enterprise was issued of a programme's year, and paid for claims of that."""
        own = {
            id: one
            for id, one in self.vouchers.items()
            if (one.voucher.programme["id"], one.voucher.organization) == (programme, organization)
        }
        issued = sum(one.voucher.amount - one.released for one in own.values() if one.year == year)
        paid = sum(fen for at, fen in self.claims.paid.claims.items() if at.voucher in own and at.span[0] == year)
        return issued, paid

    def claimed(self, programme: str) -> dict[tuple[str, Month], tuple[int, int]]:
        """By voucher and span, what was claimed and paid."""
        paid = self.claims.paid
        return {
            (at.voucher, at.span): (full, paid.claims[at])
            for at, full in paid.full.items()
            if self.vouchers[at.voucher].voucher.programme["id"] == programme
        }
