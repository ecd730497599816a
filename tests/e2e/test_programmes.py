"""A programme from its draft to a revoked voucher, as the office and an enterprise do it with the `caravan` command."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from caravan.kernel import clock
from caravan.kernel.money import Money, divide_half_away
from tests.e2e.conftest import Town, opened
from tests.e2e.test_client import Caravan, until_settled

ENTERPRISE = {
    "place": "610113",
    "industry": "I6513",
    "size": "small",
    "registered_on": "2024-02-29",
    "clear_credit": True,
}


@pytest.fixture
def caravan(town: Town) -> Caravan:
    return Caravan(town)


def office(town: Town, subject: str = "office") -> Caravan:
    return Caravan(town, town.platform.token("platform:programmes", subject=subject))


def written(folder: Path, name: str, content: Any) -> str:
    file = folder / name
    file.write_text(json.dumps(content), encoding="utf-8")
    return str(file)


def test_a_programme_is_drafted_applied_to_reviewed_issued_and_revoked(caravan: Caravan, tmp_path: Path) -> None:
    town, year = caravan.town, clock.now().year
    starts, ends = (clock.floor_second(clock.now() + timedelta(days=days)) for days in (-1, 30))
    terms = {
        "name": "端到端算力券",
        "issuer": {"name": "市科技局", "level": "city"},
        "starts_at": starts.isoformat(),
        "ends_at": ends.isoformat(),
        "pools": [{"year": year, "amount": "50.00"}, {"year": year + 1, "amount": "50.00"}],
        "eligibility": {"sizes": ["small"]},
        "rates": [{"rate": 3000}],
        "caps": {"voucher": "400.00"},
    }
    draft = office(town).json("programmes", "draft", written(tmp_path, "terms.json", terms))
    id = draft["id"]
    assert "(404 not_found)" in caravan("programmes", "show", id, code=1).stderr
    terms["caps"] = {"voucher": "300.00"}
    office(town)("programmes", "change", id, written(tmp_path, "terms.json", terms), "--version", "1")
    assert "(412 stale)" in office(town)("programmes", "publish", id, "--version", "1", code=1).stderr
    assert "30.00%" in office(town)("programmes", "publish", id, "--version", "2").stdout
    pools = (f"{year}=500.00", f"{year + 1}=600.00")
    office(town)("programmes", "pools", id, *pools, "--version", "3")
    assert "500.00" in caravan("programmes", "show", id).stdout
    assert id in caravan("programmes", "list").stdout

    question = {"organization": town.market.organization, "enterprise": ENTERPRISE}
    asked = caravan("vouchers", "eligibility", written(tmp_path, "question.json", question)).stdout
    assert id in asked and "单张券面额最高 300.00 元" in asked
    large = question | {"enterprise": ENTERPRISE | {"size": "large"}}
    assert "企业规模须为小型" in caravan("vouchers", "eligibility", written(tmp_path, "large.json", large)).stdout
    application = question | {"programme": id, "amount": "300.00"}
    refusals = (
        (application | large, "企业规模须为小型"),
        (application | {"amount": "300.01"}, "单张券面额最高 300.00 元"),
    )
    for wrong, words in refusals:
        said = caravan("vouchers", "apply", written(tmp_path, "wrong.json", wrong), code=1).stderr
        assert words in said
    made = caravan.json("vouchers", "apply", written(tmp_path, "application.json", application), "--key", "a")
    assert caravan.json("vouchers", "apply", str(tmp_path / "application.json"), "--key", "a") == made
    (tmp_path / "营业执照.pdf").write_bytes(b"%PDF \xff")
    read = caravan.json("vouchers", "attach", made["id"], str(tmp_path / "营业执照.pdf"))
    assert [one["name"] for one in read["evidence"]] == ["营业执照.pdf"]

    first, second = office(town, "first"), office(town, "second")
    assert made["id"] in first("vouchers", "applications", "--state", "applied", "--programme", id).stdout
    copy = tmp_path / "copy.pdf"
    first("vouchers", "evidence", made["id"], "营业执照.pdf", "--to", str(copy))
    assert copy.read_bytes() == b"%PDF \xff"
    passes = ("vouchers", "review", made["id"], "--passed", "--reason", "材料齐全", "--version")
    read = first.json(*passes, str(read["version"]))
    assert "(409 same_reviewer)" in first(*passes, str(read["version"]), code=1).stderr
    assert "材料齐全" in second(*passes, str(read["version"])).stdout
    voucher = office(town).json("vouchers", "issue", made["id"])
    assert (voucher["amount"], voucher["organization"]) == ("300.00", town.market.organization)
    assert voucher["id"] in caravan("vouchers", "list", "--programme", id).stdout
    assert voucher["id"] in caravan("vouchers", "application", made["id"]).stdout
    assert town.market.organization in office(town)("programmes", "standing", id).stdout
    table = tmp_path / "vouchers.csv"
    office(town)("programmes", "export", id, "--out", str(table))
    assert voucher["id"] in table.read_text("utf-8-sig")
    assert "(404 not_found)" in caravan("programmes", "export", id, code=1).stderr
    assert "(409 wrong_state)" in caravan("vouchers", "withdraw", made["id"], code=1).stderr
    _pays_its_part(caravan, voucher["id"])
    revoked = office(town).json("vouchers", "revoke", voucher["id"], "--reason", "企业已迁出")
    assert revoked["revocation"]["reason"] == "企业已迁出"
    shown = caravan("vouchers", "show", voucher["id"]).stdout
    assert "revoked" in shown and "企业已" in shown, "the table may fold the reason"
    again = caravan.json("vouchers", "apply", str(tmp_path / "application.json"), "--key", "b")
    refusal = ("--refused", "--reason", "执照过期", "--rule", "places", "--remedy", "换发后再申请", "--version", "1")
    assert "换发后再申请" in first("vouchers", "review", again["id"], *refusal).stdout
    assert "换发后再申请" in first("programmes", "refusals", id).stdout
    assert caravan.json("vouchers", "withdraw", again["id"], code=1)["state"] == "refused"


def _pays_its_part(caravan: Caravan, voucher: str) -> None:
    """Of a job that a real process runs: it's pledged with the hold, and what is left of that is free once the job is settled."""
    id = caravan.submitted("--", "sleep", "1.2")
    until_settled(caravan, id)
    charged = Money.parse(caravan.api(f"/accounting/v1/holds/{id}")["captured"]).fen
    paid = Money(divide_half_away(charged * 3000, 10_000))
    found = caravan.json("vouchers", "show", voucher)
    assert charged and (found["pledged"], found["redeemed"]) == (str(paid), str(paid))


def test_a_draft_is_held_against_a_closed_period_and_its_pool_forecast(tmp_path: Path) -> None:
    (tmp_path / "town").mkdir()
    with opened(tmp_path / "town") as town:
        _previews(Caravan(town), tmp_path)


def _previews(caravan: Caravan, tmp_path: Path) -> None:
    town, now = caravan.town, clock.floor_second(clock.now())
    finance, organization = Caravan(town, town.finance), town.market.organization
    caravan.submitted("--", "sleep", "1.1")
    period = finance.json("finance", "periods", "--limit", "1")["items"][0]["id"]
    cut = (clock.floor_second(clock.now()) + timedelta(seconds=2)).isoformat()
    finance("finance", "cut", period, "--at", cut)
    terms = {
        "name": "测算<券>",
        "issuer": {"name": "市科技局", "level": "city"},
        "starts_at": now.isoformat(),
        "ends_at": (now + timedelta(days=30)).isoformat(),
        "pools": [{"year": year, "amount": "50.00"} for year in (now.year, now.year + 1)],
        "rates": [{"rate": 1000}, {"kind": "awarded", "rate": 10000}],
    }
    draft = office(town).json("programmes", "draft", written(tmp_path, "terms.json", terms))["id"]
    asks = ("programmes", "preview", draft, "--period", period, "--kind", "awarded", "--organization", organization)
    assert "/periods/0" in office(town)(*asks, code=1).stderr
    finance("finance", "close", period)
    found = office(town).json(*asks)
    assert found["pays"] == found["used"] == found["organizations"][0]["pays"] != "0.00"
    drawn = tmp_path / "preview.svg"
    assert found["pays"] in office(town)(*asks, "--chart", str(drawn)).stdout
    assert "测算&lt;券&gt;" in drawn.read_text(encoding="utf-8")
    assert "can't be written" in office(town)(*asks, "--chart", str(tmp_path / "none" / "x.svg"), code=2).stderr
    assert "尚无完整月份" in office(town)("programmes", "forecast", draft).stdout
    assert office(town).json("programmes", "forecast", draft)["pool"] == "50.00"
    assert "(404 not_found)" in caravan("programmes", "forecast", draft, code=1).stderr
