"""The most that a voucher may be issued for. Pure."""

from typing import Any

import pytest

from caravan.contracts.vouchers import SupplyContract
from caravan.kernel.money import Money
from services.accounting.vouchers.limits import limits, of_pool, tightest
from tests.accounting.programmes_cases import programme

CAPS = {"voucher": "500.00", "first_voucher": "200.00", "contract": 3000, "issued_in_year": "800.00"}


@pytest.mark.parametrize(
    ("caps", "first", "issued", "contract", "left", "found"),
    [
        ({}, True, 0, None, 100_00, ("pool", "100.00")),
        (CAPS, True, 0, None, 1000_00, ("first_voucher", "200.00")),
        (CAPS, False, 0, None, 1000_00, ("voucher", "500.00")),
        (CAPS, False, 500_00, None, 1000_00, ("issued_in_year", "300.00")),
        (CAPS, False, 900_00, None, 1000_00, ("issued_in_year", "0.00")),
        (CAPS, False, 0, "1000.05", 1000_00, ("contract", "300.02")),
        (CAPS, False, 0, "100000.00", 1000_00, ("voucher", "500.00")),
        (CAPS, True, 0, None, 199_99, ("pool", "199.99")),
        (CAPS, True, 0, None, 0, ("pool", "0.00")),
    ],
)
def test_the_least_of_what_caps_and_pool_leave_is_the_most(
    caps: dict[str, Any], first: bool, issued: int, contract: str | None, left: int, found: tuple[str, str]
) -> None:
    bought = None if contract is None else SupplyContract(number="1", amount=Money.parse(contract))
    limit = tightest([*limits(programme(caps=caps), first=first, issued=issued, contract=bought), of_pool(left)])
    assert limit is not None
    assert (limit.cap, str(limit.most)) == found
    assert str(limit.most) in limit.words.zh
    assert str(limit.most) in limit.words.en


def test_without_caps_there_is_no_limit() -> None:
    assert tightest(limits(programme(), first=True, issued=0, contract=None)) is None
