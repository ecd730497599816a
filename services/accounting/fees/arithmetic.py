"""How much the fee of a period is, and how much of it is due. Pure."""

from collections.abc import Sequence
from fractions import Fraction
from typing import NamedTuple

from caravan.kernel.money import divide_half_away
from services.accounting.tax.spreading import WHOLE


def fee_of(gross: int, rate: int, floor: int) -> int:
    """The fee in fen for a provider's `gross` at `rate` (hundredths of a percent), rounded once: at least `floor`, at most the gross.

    Where corrections leave nothing to be paid, there is no floor either: the fee that was taken of what they correct comes back.
    """
    share = divide_half_away(gross * rate, WHOLE)
    return share if gross <= 0 else min(gross, max(floor, share))


def paid(grosses: Sequence[int], money: int) -> list[int]:
    """What of an organization's statements, the oldest first, `money` fen have paid: those before a later one, whole.

    A statement below zero owes nothing, and pays for others as money does.
    """
    left, found = money - sum(min(gross, 0) for gross in grosses), []
    for gross in grosses:
        found.append(max(0, min(gross, left)))
        left -= found[-1]
    return found


class Share(NamedTuple):
    """What of a provider's gross is one organization's (`weight`, above zero), of whose statement `paid` of `gross` is paid."""

    weight: int
    paid: int
    gross: int


def due_of(fee: int, shares: Sequence[Share]) -> int:
    """What of a fee is due in fen, cut: the part of what it was taken of that is paid, and all of it only once all is.

    A statement's payment is that of each of its lines, in proportion. What comes back (a fee below zero) is due at once.
    """
    if fee <= 0:
        return fee
    part = sum((Fraction(one.weight * one.paid, one.gross) for one in shares), Fraction())
    return int(fee * part / sum(one.weight for one in shares))
