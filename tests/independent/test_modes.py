"""Time that a site doesn't bill, worked out by hand from docs/prices.md: the checker agrees, and sees what was billed all the same."""

from pathlib import Path

import pytest

from tests.independent.cases import Json
from tests.independent.test_windows import equal, of_core, of_job, records, sold, tariff

MODES: Json = {
    "modes": [
        {"mode": "notional", "starts_at": "2026-01-10T10:55:00Z"},
        {"mode": "tracked", "starts_at": "2026-01-10T11:00:00Z"},
        {"mode": "billed", "starts_at": "2026-01-10T11:01:00Z"},
    ]
}
USED = records("2026-01-10T10:50:00Z", "2026-01-10T11:01:10Z")
"""310 s that are billed, 300 s notional, 60 s tracked."""
BILLED = [*of_core("all", 310), of_job("all")]
NOTIONAL = [one | {"bearer": "nobody"} for one in of_core("all", 300, "notional")]
TRACKED = [one | {"bearer": "nobody", "unit_price": "0", "amount": "0.00"} for one in of_core("all", 60, "tracked")]


def test_what_a_site_does_not_bill_is_nobodys(tmp_path: Path) -> None:
    equal(tmp_path, sold(tariff([])) | MODES, USED, [*BILLED, *NOTIONAL, *TRACKED])


def test_time_that_is_billed_all_the_same_is_seen(tmp_path: Path) -> None:
    with pytest.raises(AssertionError):
        equal(tmp_path, sold(tariff([])) | MODES, USED, [*of_core("all", 610), of_job("all"), *TRACKED])
