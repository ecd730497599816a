"""A preview is held against what was paid to the fen, whatever it is of."""

from typing import Any

import pytest

from bench.city.quarter.compare import compare
from bench.city.quarter.drafts import limited, unlimited

MARCH, APRIL = ("2025-02-28T16:00:00Z", 1740758400), ("2025-03-31T16:00:00Z", 1743436800)
NO_CUT = {"floor": "0.00", "claim": "0.00", "voucher": "0.00", "redeemed_in_year": "0.00"}


def previewed(claimed: tuple[str, str], pays: tuple[str, str], in_all: tuple[str, str], **cut: str) -> dict[str, Any]:
    """Of one organization that used 40.00 at one centre, claimed and paid so in March and April; a voucher for 10.00."""
    sums = {"used": "40.00", "claimed": in_all[0], "pays": in_all[1], "cut": NO_CUT | cut}
    claims = [
        {"starts_at": at, "claimed": one, "pays": fen}
        for (at, _), one, fen in zip((MARCH, APRIL), claimed, pays, strict=True)
    ]
    one = sums | {"organization": "org_1", "voucher": "10.00", "claims": claims}
    centres = [{"provider": "prv_1", "used": "40.00", "pays": in_all[1]}]
    of_all = sums | {"programme": "prg_1", "mode": "deducted", "organizations": [one], "providers": centres}
    terms = limited("province-and-city", [1000, 2000], [500]) | {"floor": "0.00", "caps": {"issued_in_year": "10.00"}}
    return {"terms": terms, "all": of_all, "each": {"org_1": of_all}, "quarter": of_all}


def told(march: int, april: int, *, on_lines: int, pledged: int = 0) -> dict[str, Any]:
    """What that organization was paid, of 500 and 300 fen claimed: so much on lines, the rest for earlier ones."""
    own = {
        "spans": {str(MARCH[1]): 500, str(APRIL[1]): 300},
        "pays": {str(MARCH[1]): march, str(APRIL[1]): april},
        "sold": {"prv_1": 4000},
        "shares": {"prv_1": 800},
        "paid": {"prv_1": on_lines},
        "earlier": march + april - on_lines,
        "pledged": pledged,
    }
    claims = {str(MARCH[1]): [500, march], str(APRIL[1]): [300, april]}
    quarter = {"claims": {"org_1": claims}, "pledged": {"org_1": pledged}}
    return {"organizations": {"org_1": own}, "quarter": quarter}


WHOLE = previewed(("5.00", "3.00"), ("5.00", "3.00"), ("8.00", "8.00"))


def test_what_was_paid_as_previewed_has_no_difference() -> None:
    found = compare(WHOLE, told(500, 300, on_lines=600))
    assert (found.differences, found.pays, found.kept, found.moved) == ([], 800, 0, 0)
    assert (found.counts["pays"], found.counts["centres pay"]) == (2, 1)


@pytest.mark.parametrize(
    ("paid", "differences"),
    [
        (told(500, 299, on_lines=600), 3),
        (told(501, 299, on_lines=600), 4),
        (told(500, 300, on_lines=600) | {"organizations": {}}, 8),
        (told(500, 300, on_lines=600) | {"quarter": {"claims": {}, "pledged": {}}}, 2),
    ],
)
def test_a_fen_more_or_less_or_elsewhere_is_a_difference(paid: dict[str, Any], differences: int) -> None:
    assert len(compare(WHOLE, paid).differences) == differences


def test_what_jobs_had_pledged_is_kept_of_the_voucher_and_told() -> None:
    found = compare(WHOLE, told(500, 100, on_lines=600, pledged=400))
    assert (found.differences, found.kept, found.counts["kept"]) == ([], 200, 1)
    assert compare(WHOLE, told(500, 101, on_lines=601, pledged=400)).differences


def test_limits_are_drawn_from_what_is_claimed_without_any() -> None:
    assert unlimited("quarterly")["caps"] == {}
    found = limited("contracts", range(100, 0, -1), [])
    assert found["caps"] == {"contract": 2000, "issued_in_year": "0.86", "redeemed_in_year": "0.61"}
    assert limited("quarterly", [0, 400, 300, -5], [0, 10, 20, 30])["floor"] == "0.20"
