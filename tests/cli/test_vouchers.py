"""`caravan programmes`, `caravan vouchers` and `caravan reimbursements`, as far as they need no platform."""

import io
import json
import re
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner, Result

from caravan.cli import app, programmes
from caravan.contracts.programmes import Programme

PROGRAMMES = Path(__file__).parents[2] / "docs" / "programmes"

PROGRAMME, APPLICATION, REIMBURSEMENT = (f"{prefix}_{1:032x}" for prefix in ("prg", "vap", "rei"))


def caravan(*arguments: str) -> Result:
    clean = {"CARAVAN_TOKEN": "x", "CARAVAN_URL": "http://127.0.0.1:1", "COLUMNS": "300"}
    return CliRunner().invoke(app, list(arguments), env=clean)


@pytest.mark.parametrize(
    ("pools", "said"),
    [
        (["2026"], "pools.0.amount: "),
        (["year=1.00"], "Give each pool as YEAR=AMOUNT"),
        (["2026=1"], "pools.0.amount: "),
        (["2026=1.00", "2026=2.00"], "pools: "),
    ],
)
def test_pools_are_a_year_and_an_amount_each(pools: list[str], said: str) -> None:
    done = caravan("programmes", "pools", PROGRAMME, *pools, "--version", "1")
    assert done.exit_code == 2
    assert done.stderr.startswith(said)


def test_a_programme_is_shown_with_what_limits_it() -> None:
    shown = Console(width=200, file=io.StringIO(), record=True)
    terms = json.loads((PROGRAMMES / "province-and-city.json").read_text())
    terms |= {
        "eligibility": {"sizes": ["micro", "small"], "oldest_months": 60, "unaffiliated": True},
        "origins": ["domestic"],
        "floor": "5000.00",
        "caps": {"claim": "2000000.00", "contract": 2000},
        "stacks_to": 6000,
    }
    pools = [pool | {"committed": "0.00"} for pool in terms["pools"]]
    terms |= dict.fromkeys(("created_at", "published_at"), terms["starts_at"])
    known = {"id": PROGRAMME, "state": "published", "version": 3, "pools": pools}
    shown.print(programmes.detail(Programme.model_validate(terms | known)))
    text = shown.export_text()
    for words in (
        "sizes micro, small; oldest_months 60; unaffiliated",
        "2000000.00 a claim; 20.00% of the contract",
        "5000.00 of a claim",
        "up to 60.00% in all",
        "50.00%, ",
    ):
        assert words in text
    assert re.search(r"supports +domestic", text)


def test_what_files_hold_is_checked_before_it_is_sent(tmp_path: Path) -> None:
    file = tmp_path / "any.json"
    file.write_text(json.dumps({"use": "x"}))
    for command in (
        ("programmes", "draft"),
        ("programmes", "change", PROGRAMME, "--version", "1"),
        ("vouchers", "eligibility"),
        ("vouchers", "apply"),
    ):
        done = caravan(*command, str(file))
        assert done.exit_code == 2
        assert "organization: " in done.stderr or "issuer: " in done.stderr
    assert caravan("vouchers", "attach", APPLICATION, str(tmp_path / "none.pdf")).exit_code == 2


@pytest.mark.parametrize("of", [("vouchers", "review", APPLICATION), ("reimbursements", "review", REIMBURSEMENT)])
def test_a_refusal_needs_a_rule_and_a_remedy(of: tuple[str, ...]) -> None:
    refusal = (*of, "--refused", "--version", "1", "--reason", "执照过期")
    for given in ((), ("--rule", "evidence"), ("--remedy", "换发后再申请")):
        done = caravan(*refusal, *given)
        assert (done.exit_code, "rule" in done.stderr, "remedy" in done.stderr) == (2, True, True)
    assert caravan(*refusal, "--rule", "evidence", "--remedy", "换发后再申请").exit_code == 1, "nobody answers"


def test_what_is_filed_reviewed_and_paid_is_checked_before_it_is_sent() -> None:
    for arguments, said in (
        (("file", "org_1", PROGRAMME), "organization: "),
        (("review", REIMBURSEMENT, "--refused", "--version", "1", "--reason", "发票不符"), "remedy"),
        (("pay", REIMBURSEMENT, "--reference", "XAFB-1", "--on", "yesterday"), "paid_on: "),
        (("pay", REIMBURSEMENT, "--reference", "", "--on", "2026-07-31"), "reference: "),
    ):
        done = caravan("reimbursements", *arguments)
        assert (done.exit_code, said in done.stderr) == (2, True), done.stderr


def test_what_is_wrong_with_a_file_is_said_in_plain_words(tmp_path: Path) -> None:
    file = tmp_path / "enterprise.json"
    enterprise = {
        "place": "西安",
        "industry": "软件",
        "size": "small",
        "registered_on": "2020年1月1日",
        "clear_credit": True,
    }
    file.write_text(json.dumps({"organization": "秦岭", "enterprise": enterprise}))
    assert caravan("vouchers", "eligibility", str(file)).stderr.splitlines() == [
        "organization: Give an id: org_ and 32 hexadecimal digits.",
        "enterprise.place: Give a code of six digits by GB/T 2260, like 610100.",
        "enterprise.industry: Give a class of GB/T 4754, its section's letter first and at most four digits, like I65.",
        "enterprise.registered_on: Give a date as RFC 3339, for example 2026-01-31.",
    ]
    file.write_text("")
    assert caravan("vouchers", "eligibility", str(file)).stderr.startswith(f"{file}, at byte 0: ")
    file.write_text('{"name": "算力券", "floor": "1.00", "floor": "9.00"}')
    done = caravan("programmes", "draft", str(file))
    assert (done.exit_code, done.stderr) == (2, f"{file}, at byte 39: The object repeats a key here.\n")
    file.write_text('{"name": "\\u0000"}')
    assert caravan("programmes", "draft", str(file)).stderr.startswith(f"{file}, /name: ")
    done = caravan("programmes", "pools", PROGRAMME, "2026=1,000.00", "--version", "1")
    assert done.stderr == 'pools.0.amount: Money is a string with two places, for example "12.34"\n'
    done = caravan("programmes", "pools", PROGRAMME, f"2026={10**16}.00", "--version", "1")
    assert done.stderr == "pools.0.amount: This amount is too large: give 16 digits before the point at most.\n"
