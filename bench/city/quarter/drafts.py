"""The programmes of docs/programmes/, with limits that bind in a city of any size. Pure; amounts are fen."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from caravan.kernel.money import Money

FOLDER: Final = Path(__file__).parents[3] / "docs" / "programmes"
SPAN: Final = {"starts_at": "2025-01-01T00:00:00+08:00", "ends_at": "2026-01-01T00:00:00+08:00"}
POOL: Final = Money(10**14)
"""More than is issued."""


@dataclass(frozen=True)
class Draft:
    """A programme of docs/, what enterprises are taken to be, and its limits: so many percent of claims are below `floor` and `claim`, and
    of what organizations claim in all below the others. `issued` is of each of those caps that say what a voucher is for."""

    kinds: tuple[str, ...] = ()
    use: str | None = None
    issued: int = 80
    floor: int | None = None
    claim: int | None = None
    redeemed_in_year: int | None = None
    changes: dict[str, Any] = field(default_factory=dict)


DRAFTS: Final = {
    "accelerators": Draft(issued=60),
    "quarterly": Draft(issued=75, floor=35),
    "contracts": Draft(issued=85, redeemed_in_year=60, changes={"settles": "year"}),
    "province-and-city": Draft(issued=90, claim=70, redeemed_in_year=50, floor=15, changes={"settles": "month"}),
    "paid-first": Draft(kinds=("awarded_project",), issued=75, redeemed_in_year=55),
}
_ISSUED: Final = ("voucher", "first_voucher", "issued_in_year")


def unlimited(name: str) -> dict[str, Any]:
    """A ProgrammeDraft of what the rates alone pay."""
    terms = _adapted(name)
    return terms | {"floor": "0.00", "caps": {}}


def limited(name: str, totals: Sequence[int], claims: Sequence[int]) -> dict[str, Any]:
    """A ProgrammeDraft with limits, by what organizations claim where there are none: `totals` in all, `claims` in each span."""
    draft, terms = DRAFTS[name], _adapted(name)
    caps = {cap: _at(totals, draft.issued) for cap in terms["caps"] if cap in _ISSUED}
    if draft.redeemed_in_year is not None:
        caps["redeemed_in_year"] = _at(totals, draft.redeemed_in_year)
    if draft.claim is not None:
        caps["claim"] = _at(claims, draft.claim)
    if "contract" in terms["caps"]:
        caps["contract"] = terms["caps"]["contract"]
    floor = "0.00" if draft.floor is None else _at(claims, draft.floor)
    return terms | {"floor": floor, "caps": caps}


def issued_for(terms: Mapping[str, Any]) -> Money:
    """The highest amount of an enterprise's only voucher."""
    return min(Money.parse(fen) for cap, fen in terms["caps"].items() if cap in _ISSUED)


def _adapted(name: str) -> dict[str, Any]:
    terms: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    return terms | SPAN | {"pools": [{"year": 2025, "amount": str(POOL)}]} | DRAFTS[name].changes


def _at(amounts: Sequence[int], percent: int) -> str:
    """What so many percent of the amounts above 0 are below."""
    found = sorted(fen for fen in amounts if fen > 0)
    return str(Money(found[len(found) * percent // 100]))
