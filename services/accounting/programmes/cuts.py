"""By how much floor and caps cut what lines' shares come to. Pure; amounts are fen."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

from caravan.contracts.programmes import Caps, ProgrammeTerms
from caravan.kernel.money import ZERO
from services.accounting.programmes.claims import Claim, paid


class Limits(NamedTuple):
    """What is paid less by each of them, behind those before it."""

    floor: int
    claim: int
    voucher: int
    redeemed_in_year: int


def cut(terms: ProgrammeTerms, vouchers: Mapping[str, int], claims: Sequence[Claim]) -> dict[Claim, Limits]:
    """What each limit changes of each claim, put on one after the other: `claims` and `vouchers` as `paid` has them.

    A claim's shares, as far as they are above zero, less all of its limits are what `paid` says. Below zero is a limit that cuts an earlier
    claim of the voucher, and so leaves more to this one.
    """
    whole = dict.fromkeys(vouchers, sum(abs(claim.full) for claim in claims))
    caps = terms.caps.model_copy(update={"redeemed_in_year": None})
    steps = (
        (terms.model_copy(update={"floor": ZERO, "caps": Caps()}), whole),
        (terms.model_copy(update={"caps": Caps()}), whole),
        (terms.model_copy(update={"caps": caps}), whole),
        (terms.model_copy(update={"caps": caps}), vouchers),
        (terms, vouchers),
    )
    pays = [paid(rules, most, claims) for rules, most in steps]
    return {claim: Limits(*(before[claim] - after[claim] for before, after in pairwise(pays))) for claim in claims}


def total(cuts: Iterable[Limits]) -> Limits:
    """Of all of them together."""
    return Limits(*(sum(fens) for fens in zip(Limits(0, 0, 0, 0), *cuts, strict=True)))
