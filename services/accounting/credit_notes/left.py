"""How much of a line may be given back, and the tax in it. Pure; all amounts are fen."""

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


def tax_in(line: Billed, tax: int, amount: int) -> int:
    """The tax in `amount` more of a line with `tax`. Notes of all of a line give all of its tax back, in however many parts."""
    return _share(line, tax, line.noted + amount) - _share(line, tax, line.noted)


def _share(line: Billed, tax: int, of: int) -> int:
    return divide_half_away(tax * of, line.amount)
