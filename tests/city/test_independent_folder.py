"""The script over a folder: equal claims are 0, each that differs is named and 1, and what can't be read is 2."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from bench.city.independent.__main__ import main
from bench.city.independent.report import Report
from tests.city.told import Fact, close, event, flat, placed, price_list, request, used

HOUR = 3600
MARCH, APRIL = "2026-02-28T16:00:00Z", "2026-03-31T16:00:00Z"

FEE = {
    "agreement": "fee_1",
    "rate": 0,
    "floor": "0.00",
    "amount": "0.00",
    "net": "0.00",
    "tax": "0.00",
    "tax_treatment": "taxed",
    "tax_rate": 0,
    "due": "at_close",
}


def _line(name: str, quantity: int, amount: str, **more: Any) -> Fact:
    known = {
        "id": name,
        "kind": "usage",
        "period": "2026-03",
        "organization": "org_1",
        "provider": "prv_1",
        "seller": "prv_1",
        "project": "prj_1",
        "job": "job_1",
        "component": "cpu_core_hour",
        "accelerator": None,
        "price_list": "prl_1",
        "price_list_revision": 1,
        "tariff": "t",
        "window": "all",
        "bearer": "organization",
        "reason": None,
        "unit_price": "1.00",
        "quantity": quantity,
        "amount": amount,
    }
    return known | more


def _statement(**more: Any) -> Fact:
    sums = {"gross": "10.00", "tax": "0.57", "net": "9.43"}
    more["sections"] = [{"counterparty": more.pop("of"), "treatment": "taxed", "rate": 600} | sums]
    return (
        {"period": "2026-03", "adjustments": "0.00", "borne_by_provider": "0.00", "notional": "0.00", "line_count": 2}
        | sums
        | more
    )


def _city() -> dict[str, list[Fact]]:
    note = {"statement": "stm_1", "line": "lin_1", "amount": "5.00", "reason": "x"}
    facts = [
        event("provider.changed", id="prv_1", tax_rate=600),
        price_list(**flat("1.00")),
        request("record_deposit", {"organization": "org_1", "amount": "100.00", "reference": "a"}, "dep_1"),
        *placed(hold="50.00"),
        *used("2026-03-31 23:00", HOUR, cpus=10),
        request("make_fee_agreement", {"provider": "prv_1", "rate": 0, "starts_at": MARCH}, "fee_1"),
        close("2026-03"),
    ]
    late = [*used("2026-03-31 23:00", HOUR, cpus=8, revision=2), request("issue_credit_note", note, "crn_1")]
    taxed = {"tax": "0.57", "tax_treatment": "taxed", "tax_rate": 600}
    periods = [
        {"id": "2026-03", "starts_at": MARCH, "ends_at": APRIL, "state": "closed"},
        {"id": "2026-04", "starts_at": APRIL, "ends_at": "2026-04-30T16:00:00Z", "state": "open"},
    ]
    return {
        "facts/000": facts,
        "facts/001": late,
        "claims/periods": periods,
        "claims/lines": [
            _line("lin_1", 36_000, "10.00", **taxed),
            _line("lin_3", 1, "0.00", component="job", unit_price="0.00", **taxed | {"tax": "0.00"}),
            _line("lin_2", -7_200, "-2.00", period="2026-04", corrects="2026-03"),
        ],
        "claims/statements": [
            _statement(party="organization", party_id="org_1", of="prv_1", fee=None, payout=None),
            _statement(party="provider", party_id="prv_1", of="org_1", fee=FEE, payout="10.00"),
        ],
        "claims/credit_notes": [
            note
            | {
                "id": "crn_1",
                "provider": "prv_1",
                "seller": "prv_1",
                "organization": "org_1",
                "period": "2026-03",
                "tax": "0.29",
            }
        ],
        "claims/corrections": [],
        "claims/contests": [],
        "claims/funds": [
            {
                "organization": "org_1",
                "deposited": "100.00",
                "credit": "0.00",
                "charged": "3.00",
                "held": "42.00",
                "available": "55.00",
            }
        ],
    }


def _trial_balance() -> Fact:
    balances = {"bank": "100.00", "prepaid:org_1": "-97.00", "payable:prv_1": "-3.00"}
    return {"accounts": [{"account": name, "balance": balance} for name, balance in balances.items()], "sum": "0.00"}


def _run(folder: Path, city: dict[str, list[Fact]], monkeypatch: pytest.MonkeyPatch) -> int:
    for name, lines in city.items():
        path = folder / f"{name}.jsonl"
        path.parent.mkdir(exist_ok=True)
        path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    (folder / "claims" / "trial_balance.json").write_text(json.dumps(_trial_balance()), encoding="utf-8")
    monkeypatch.setattr(sys, "argv", ["independent", str(folder), "--json"])
    return main()


def test_equal_claims(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert _run(tmp_path, _city(), monkeypatch) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["differences"] == []
    assert found["compared"]["line"] == 3


@pytest.mark.parametrize(
    ("file", "place", "field", "value", "kind"),
    [
        ("claims/periods", 1, "state", "closed", "period closed"),
        ("claims/lines", 0, "amount", "10.01", "line"),
        ("claims/lines", 0, "tax", "0.56", "line"),
        ("claims/lines", 0, "unit_price", "1.01", "unit price"),
        ("claims/lines", 2, "corrects", None, "line"),
        ("claims/statements", 1, "payout", "9.00", "statement"),
        ("claims/statements", 1, "fee", FEE | {"due": "when_paid"}, "statement"),
        ("claims/statements", 1, "party", "reseller", "statement"),
        ("claims/credit_notes", 0, "seller", "org_2", "credit note"),
        ("claims/credit_notes", 0, "tax", "0.28", "credit note"),
        ("claims/funds", 0, "held", "0.00", "funds"),
        ("facts/000", 5, "data", None, "line"),
    ],
)
def test_a_claim_that_differs_is_named(
    file: str,
    place: int,
    field: str,
    value: Any,
    kind: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    city = _city()
    if field == "data":
        city[file][place] = used("2026-03-31 23:00", HOUR, cpus=9)[0]
    else:
        city[file][place][field] = value
    assert _run(tmp_path, city, monkeypatch) == 1
    assert kind in {difference["kind"] for difference in json.loads(capsys.readouterr().out)["differences"]}


def test_a_line_that_is_claimed_twice_is_a_difference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    city = _city()
    city["claims/lines"].append(city["claims/lines"][1] | {"id": "lin_4"})
    assert _run(tmp_path, city, monkeypatch) == 1


def test_what_cannot_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    city = _city()
    del city["facts/000"][1]
    assert _run(tmp_path, city, monkeypatch) == 2
    assert "prl_1" in capsys.readouterr().err


def test_differences_of_objects_are_told_by_field() -> None:
    report = Report()
    report.hold("line", "key", {"amount": "1.00", "tax": "0.06"}, {"amount": "2.00", "tax": "0.06"})
    assert [(found.key, found.claimed, found.computed) for found in report.differences] == [
        ("key: amount", "1.00", "2.00")
    ]
