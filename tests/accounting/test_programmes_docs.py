"""The worked examples of docs/programmes.md, which were computed by hand, line by line to the fen."""

import json
import re
from collections import defaultdict
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from caravan.contracts.offerings import Tier
from caravan.contracts.prices import Component
from caravan.contracts.programmes import Origin, ProgrammeDraft
from caravan.contracts.vouchers import EligibilityQuestion, VoucherApplicationDraft
from caravan.kernel.clock import to_seconds
from caravan.kernel.local_days import zone_named
from caravan.kernel.money import Money, percent
from services.accounting.programmes.claims import Claim, Holder, Part, Used, funded, paid, rate_of, share, spread

DOCS = Path(__file__).parents[2] / "docs"
PAGES = (DOCS / "programmes.md", DOCS / "programmes.zh.md")
NAMES = sorted(path.stem for path in (DOCS / "programmes").iterdir())
PROVIDER = f"prv_{1:032x}"


def tables(page: Path, name: str) -> list[list[dict[str, str]]]:
    """Those below the heading of the example, by their columns."""
    text = page.read_text().split(f"### [{name}](programmes/{name}.json)")[1].partition("###")[0]
    found = []
    for table in re.findall(r"(?:^\|.*\|\n)+", text, re.MULTILINE):
        head, _, *rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]
        found.append([dict(zip(head, row, strict=True)) for row in rows])
    return found


def fen(text: str) -> int:
    return Money.parse(text.replace(",", "")).fen


def used(text: str) -> Used:
    component, tier, origin = text.split()
    return Used(Component(component), Tier(tier), None if origin == "none" else Origin(origin), PROVIDER)


@pytest.mark.parametrize("page", PAGES)
def test_every_example_is_told_on_the_page(page: Path) -> None:
    assert sorted(re.findall(r"### \[([a-z-]+)\]", page.read_text())) == NAMES


@pytest.mark.parametrize("page", PAGES)
def test_what_an_enterprise_asks_and_applies_with_is_as_the_page_has_it(page: Path) -> None:
    (block,) = re.findall(r"```json\n(.*?)```", page.read_text(), re.DOTALL)
    asked = json.loads(block)
    EligibilityQuestion.model_validate(asked)
    programme = {"programme": f"prg_{1:032x}", "amount": "500000.00"}
    draft = VoucherApplicationDraft.model_validate(asked | programme | {"contract": {"number": "1", "amount": "1.00"}})
    assert set(asked["enterprise"]) == set(type(draft.enterprise).model_fields)
    assert all(f"`{name}`" in page.read_text() for name in type(draft).model_fields.keys() - asked)


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("name", NAMES)
def test_a_worked_example_comes_out_to_the_fen(page: Path, name: str) -> None:
    programme = ProgrammeDraft.model_validate(json.loads((DOCS / "programmes" / f"{name}.json").read_text()))
    zone = zone_named("Asia/Shanghai")
    held, rows = tables(page, name)
    holders = {one["voucher"]: Holder(frozenset(one["kinds"].split()), one["use"] or None, frozenset()) for one in held}
    vouchers = {one["voucher"]: fen(one["issued for"]) for one in held}
    spans: defaultdict[tuple[str, str], list[dict[str, str]]] = defaultdict(list)
    for row in rows:
        spans[row["voucher"], row["span"]].append(row)
    shares = {}
    for row in rows:
        if row["line"] != "sum":
            rate = rate_of(programme, holders[row["voucher"]], used(row["used"]))
            assert percent(rate) == row["rate"]
            shares[row["line"]] = share(fen(row["amount"]), {"": rate})[""]
            assert shares[row["line"]] == fen(row["share"]), row
    claims = {span: claim(span, sum(shares[row["line"]] for row in some[:-1]), zone) for span, some in spans.items()}
    pays = paid(programme, vouchers, claims.values())
    so_far: defaultdict[str, int] = defaultdict(int)
    for span, (*lines, total) in spans.items():
        pay = pays[claims[span]]
        assert total["line"] == "sum" and fen(total["amount"]) == sum(fen(row["amount"]) for row in lines)
        assert (claims[span].full, pay) == (fen(total["share"]), fen(total["pays"].partition(" = ")[0]))
        parts = [Part(row["line"], place, shares[row["line"]]) for place, row in enumerate(lines)]
        assert spread(parts, pay) == [fen(row["pays"]) for row in lines]
        before, now = (funded(one, programme.funders) for one in (so_far[span[0]], so_far[span[0]] + pay))
        so_far[span[0]] += pay
        told = [fen(one) for one in total["pays"].partition(" = ")[2].split(" + ") if one]
        assert told == [after - was for after, was in zip(now, before, strict=True)]


def claim(span: tuple[str, str], full: int, zone: Any) -> Claim:
    voucher, day = span
    start = datetime.fromisoformat(day).replace(tzinfo=zone)
    return Claim(voucher, to_seconds(start), start.year, full)
