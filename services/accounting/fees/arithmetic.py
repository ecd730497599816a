"""How much the fee of a period is. Pure."""

from caravan.kernel.money import divide_half_away
from services.accounting.tax.spreading import WHOLE


def fee_of(gross: int, rate: int, floor: int) -> int:
    """The fee in fen for a provider's `gross` at `rate` (hundredths of a percent), rounded once: at least `floor`, at most the gross.

    Where corrections leave nothing to be paid, there is no floor either: the fee that was taken of what they correct comes back.
    """
    share = divide_half_away(gross * rate, WHOLE)
    return share if gross <= 0 else min(gross, max(floor, share))
