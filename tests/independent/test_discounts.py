"""The independent checker knows what volume takes off, and sees what was taken off otherwise."""

from collections.abc import Callable
from copy import deepcopy
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given

from bench.independent.check import check
from bench.independent.discounts import Group, off
from bench.independent.recharge import Period, PriceList, Rules
from caravan.contracts.prices import Component, VolumeTier
from caravan.pricing import volume_discount
from tests.independent.cases import FIRST, OFF, ORG, PRICE_LIST, PRL, PRV, SECOND, Bill, Json, at, ident, write
from tests.pricing.test_volume import amounts, components, quantities, rising

DISCOUNT: Json = {
    "id": ident("lin", "v"),
    "kind": "volume_discount",
    "period": FIRST,
    "organization": ORG,
    "provider": PRV,
    "project": None,
    "job": None,
    "component": "cpu_core_hour",
    "price_list": PRL,
    "bearer": "organization",
    "quantity": 126,
    "basis": "1.09",
    "amount": "-0.11",
    "corrects": None,
}
"""A tenth of what the bill's first period has in core-seconds: 0.80 + 0.10 + 0.03 + 0.16."""
PRICED: Json = PRICE_LIST | {"volume_discounts": {"cpu_core_hour": [{"above": 0, "percent_off": "10"}]}}


def differences(folder: Path, *discounts: Json, price_list: Json = PRICED) -> list[tuple[str, str, str]]:
    bill = Bill()
    write(folder, bill.usage, [*bill.lines, *discounts], bill.periods, price_list)
    return [(d.kind, d.recomputed, d.found) for d in check(folder).differences]


def test_a_right_discount_is_equal_to_the_fen(tmp_path: Path) -> None:
    assert differences(tmp_path, DISCOUNT) == []


def test_statements_and_accounts_have_the_discount(tmp_path: Path) -> None:
    bill = Bill()
    bill.lines.append(DISCOUNT)
    for statement in bill.statements:
        (section,) = statement["sections"]
        for one in (statement, section):
            one.update(gross="1.48", tax="0.08", net="1.40")
        payout = statement["payout"] and "1.48"
        statement.update(payout=payout, line_count=statement["line_count"] + 1)
    _, prepaid, payable = bill.trial_balance["accounts"]
    prepaid.update(debit="1.63", balance="-98.37")
    payable.update(credit="1.63", balance="-1.63")
    write(bill.write(tmp_path), bill.usage, bill.lines, bill.periods, PRICED)
    assert check(tmp_path).differences == []


@pytest.mark.parametrize(
    ("change", "seen"),
    [
        (lambda line: line.update(amount="-0.10"), ("discount", "-0.11", "-0.10")),
        (lambda line: line.update(quantity=125), ("discount", "126", "125")),
        (lambda line: line.update(basis="1.08"), ("discount", "1.09", "1.08")),
        (
            lambda line: line.update(corrects=SECOND),
            ("discount", "of a closed period, in a later one", "of a period that is not closed"),
        ),
    ],
)
def test_a_wrong_discount_is_red(tmp_path: Path, change: Callable[[Json], None], seen: tuple[str, str, str]) -> None:
    line = deepcopy(DISCOUNT)
    change(line)
    assert seen in differences(tmp_path, line)


def test_a_discount_that_was_not_given_is_red(tmp_path: Path) -> None:
    assert differences(tmp_path) == [("discount", "-0.11", "0.00")]


def test_a_price_list_made_at_the_end_of_a_period_takes_nothing_off_it(tmp_path: Path) -> None:
    late = PRICED | {"created_at": at("12:00:00.000000")}
    assert differences(tmp_path, price_list=late) == []
    just = PRICED | {"created_at": at("11:59:59.999999")}
    assert differences(tmp_path, DISCOUNT, price_list=just) == []


@given(components, rising(), quantities, amounts)
def test_both_ways_to_compute_a_discount_agree(
    component: Component, tiers: tuple[VolumeTier, ...], quantity: int, fen: int
) -> None:
    period = Period(FIRST, 0, 10, closed=True)
    steps = {component.value: tuple((tier.above, Fraction(tier.percent_off)) for tier in tiers)}
    rules = Rules({PRL: PriceList(1, OFF, (), {}, "UTC", 9, steps)}, (period,))
    group = Group(FIRST, ORG, PRV, OFF, component.value)
    assert off(rules, period, group, quantity, fen) == volume_discount(component, tiers, quantity, fen)
