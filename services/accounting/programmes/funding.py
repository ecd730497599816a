"""Which of a programme's funders pays what of what its vouchers pay. Pure; amounts are fen."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from caravan.contracts.programme_reports import FunderPart
from caravan.contracts.programmes import WHOLE, Funder, ProgrammeTerms
from caravan.kernel.money import Money
from services.accounting.programmes.claims import funded


class Part(NamedTuple):
    """What a voucher pays `to` somebody."""

    voucher: str
    to: str
    fen: int


def divided(parts: Iterable[Part], before: Mapping[str, int], funders: Sequence[Funder]) -> list[list[int]]:
    """What each funder pays of each part, where vouchers had paid `before` in all.

    A part is what `funded` makes of all up to it, less what it made of all before: so over a voucher's parts it sums to the rule.
    """
    reached, found = dict(before), []
    for part in parts:
        start = reached.get(part.voucher, 0)
        reached[part.voucher] = end = start + part.fen
        found.append([more - less for more, less in zip(funded(end, funders), funded(start, funders), strict=True)])
    return found


def funders_of(programme: ProgrammeTerms) -> Sequence[Funder]:
    """The issuer pays all where there are no others."""
    return programme.funders or (Funder(name=programme.issuer.name, share=WHOLE),)


def shown(rows: Sequence[Sequence[int]], funders: Sequence[Funder]) -> tuple[FunderPart, ...]:
    """What each pays of all `rows` together."""
    fens = (sum(row[place] for row in rows) for place in range(len(funders)))
    return tuple(FunderPart(funder=one.name, amount=Money(fen)) for one, fen in zip(funders, fens, strict=True))
