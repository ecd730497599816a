"""How much of a line may be given back, and what belongs to that. Pure; all amounts are fen."""

from typing import NamedTuple

from caravan.kernel.money import divide_half_away


class Billed(NamedTuple):
    """What was billed, and what of it was given back by notes."""

    amount: int
    noted: int

    @property
    def left(self) -> int:
        return self.amount - self.noted


def left(line: Billed, with_corrections: Billed, statement: Billed) -> int:
    """What may still be given back of a line: no more than is left of it, of it with all that corrects the same, and of its statement."""
    return max(0, min(line.left, with_corrections.left, statement.left))


def part_in(line: Billed, whole: int, amount: int) -> int:
    """What of `whole`, which belongs to a line (its tax, what vouchers pay of it), is in `amount` more of it. Notes of all of a line give
    all of that back, in however many parts."""
    return _share(line, whole, line.noted + amount) - _share(line, whole, line.noted)


def _share(line: Billed, whole: int, of: int) -> int:
    return divide_half_away(whole * of, line.amount)
