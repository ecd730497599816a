"""The worked examples of docs/programmes.md, which were computed by hand."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

DOCS: Final = Path(__file__).parents[2] / "docs"
Month = tuple[int, int]


@dataclass(frozen=True)
class Row:
    """A line; amounts are fen."""

    name: str
    component: str
    tier: str
    origin: str | None
    amount: int
    share: int
    pays: int


@dataclass(frozen=True)
class Claim:
    """A voucher's lines in a span, from its first month on, and their sums. `parts`: the funders'."""

    voucher: str
    span: Month
    lines: list[Row] = field(default_factory=list)
    sums: list[int] = field(default_factory=list)
    parts: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class Held:
    """A voucher, as it is issued."""

    name: str
    amount: int
    kinds: tuple[str, ...]
    use: str | None


@dataclass(frozen=True)
class Example:
    name: str
    terms: dict[str, Any]
    vouchers: list[Held]
    claims: list[Claim]


def examples() -> list[Example]:
    """In the order of the page."""
    text = (DOCS / "programmes.md").read_text()
    found = []
    for name, below in re.findall(
        r"^### \[([a-z-]+)\]\(programmes/.*?$(.*?)(?=^### |\Z)", text, re.DOTALL | re.MULTILINE
    ):
        held, rows = (list(_table(one)) for one in re.findall(r"(?:^\|.*\|\n?)+", below, re.MULTILINE))
        terms = json.loads((DOCS / "programmes" / f"{name}.json").read_text())
        found.append(Example(name, terms, [_held(row) for row in held], _claims(rows)))
    return found


def _table(text: str) -> Iterator[dict[str, str]]:
    head, _, *rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines()]
    for row in rows:
        yield dict(zip(head, row, strict=True))


def _held(row: dict[str, str]) -> Held:
    return Held(row["voucher"], _fen(row["issued for"]), tuple(row["kinds"].split()), row["use"] or None)


def _claims(rows: list[dict[str, str]]) -> list[Claim]:
    found: dict[tuple[str, Month], Claim] = {}
    for row in rows:
        year, month, _ = row["span"].split("-")
        at = row["voucher"], (int(year), int(month))
        claim = found.setdefault(at, Claim(*at))
        pays, _, parts = row["pays"].partition(" = ")
        amounts = [_fen(row["amount"]), _fen(row["share"]), _fen(pays)]
        if row["line"] == "sum":
            claim.sums.extend(amounts)
            claim.parts.extend(_fen(part) for part in parts.split(" + ") if part)
        else:
            component, tier, origin = row["used"].split()
            claim.lines.append(Row(row["line"], component, tier, None if origin == "none" else origin, *amounts))
    return list(found.values())


def _fen(text: str) -> int:
    yuan, fen = text.replace(",", "").split(".")
    return int(yuan + fen)
