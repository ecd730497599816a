"""`caravan resale`, as far as it needs no platform, and how who sells is shown."""

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from caravan.cli import app, show
from caravan.contracts.offerings import Capacity, PreemptedBearer, Tier
from caravan.contracts.prices import Component, PriceList, Tariff
from caravan.contracts.quotes import Candidate
from caravan.contracts.resale import ResaleAgreement
from caravan.kernel.money import Money
from tests.cli.test_finance import shown

DISTRICT, ONE, TWO = (f"org_{digit * 32}" for digit in "abc")
PROJECT, OFFERING, AGREEMENT = "prj_" + "1" * 32, "off_" + "1" * 32, "rsl_" + "1" * 32
NOW = datetime(2026, 4, 1, tzinfo=UTC)
TERMS = ("--reseller", DISTRICT, "--project", PROJECT, "--member", ONE, "--member", TWO)
TARIFF = Tariff(name="2026", starts_at=NOW, ends_at=NOW + timedelta(days=1), prices={Component.JOB: Decimal("0.50")})


def caravan(*arguments: str) -> Result:
    clean = {"CARAVAN_TOKEN": "x", "CARAVAN_URL": "http://127.0.0.1:1", "COLUMNS": "300"}
    return CliRunner().invoke(app, ["resale", *arguments], env=clean)


@pytest.mark.parametrize("at", ["tomorrow", "2026-06-16T00:00:00", "2026-06-16T00:30:00Z", "1780000000"])
def test_agreements_begin_and_end_at_whole_hours(at: str) -> None:
    for done, field in (
        (caravan("agree", *TERMS, "--from", at), "starts_at"),
        (caravan("end", AGREEMENT, at), "ends_at"),
    ):
        assert done.exit_code == 2
        assert done.stderr.startswith(f"{field}: ")
    hour = "2026-06-16T00:00:00+08:00"
    for done in (
        caravan("agree", *TERMS, "--from", hour, "--until", "2027-06-16T00:00:00Z"),
        caravan("end", AGREEMENT, hour),
    ):
        assert done.exit_code == 1, "nobody answers"


def test_a_price_list_is_read_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "list.json"
    file.write_text(json.dumps({"reseller": DISTRICT, "tariffs": [TARIFF.model_dump(mode="json") | {"prices": {}}]}))
    done = caravan("publish", OFFERING, str(file))
    assert (done.exit_code, done.stderr.split(":")[0]) == (2, "tariffs.0.prices")
    file.write_text(json.dumps({"reseller": DISTRICT, "tariffs": [TARIFF.model_dump(mode="json")]}))
    assert caravan("publish", OFFERING, str(file)).exit_code == 1, "nobody answers"
    assert caravan("publish", OFFERING, str(tmp_path / "none.json")).exit_code == 2
    file.write_text(json.dumps({"tariffs": [TARIFF.model_dump(mode="json")]}))
    done = caravan("publish", OFFERING, str(file))
    assert (done.exit_code, done.stderr.split(":")[0]) == (2, "reseller"), "it would be the centre's own list"


def test_agreements_and_lists_are_shown() -> None:
    agreement = ResaleAgreement(
        reseller=DISTRICT, project=PROJECT, members=(ONE, TWO), starts_at=NOW, id=AGREEMENT, version=1, created_at=NOW
    )
    text = shown(show.resale_agreements([agreement]))
    assert all(one in text for one in (DISTRICT, PROJECT, ONE, TWO, AGREEMENT, show.when(NOW)))
    plain = PriceList(tariffs=(TARIFF,), id="prl_" + "1" * 32, offering=OFFERING, revision=3, created_at=NOW)
    text = shown(show.price_lists([plain, plain.model_copy(update={"reseller": DISTRICT})]))
    assert f"2026 from {show.when(NOW)} until {show.when(TARIFF.ends_at)}: 0.50 per job" in text
    assert "the provider" in text and DISTRICT in text


def test_a_candidate_names_who_sells_it_and_says_when_what_is_preempted_is_charged() -> None:
    direct = Candidate(
        offering=OFFERING, offering_name="通用计算", provider="prv_" + "1" * 32, provider_name="中心", site="sit_" + "1" * 32,
        tier=Tier.HPC, price_list="prl_" + "1" * 32, price_list_revision=1, worst_case=Money(1), components=(),
        capacity=Capacity(cpus=1, memory_mib=1), has_room=True,
    )  # fmt: skip
    resold = direct.model_copy(update={"reseller": DISTRICT, "reseller_name": "航天基地"})
    assert "航天基地" not in shown(show.candidates([direct]))
    assert "航天基地 (中心)" in shown(show.candidates([direct, resold]))
    charged = direct.model_copy(update={"preempted_borne_by": PreemptedBearer.ORGANIZATION})
    assert "preempted" in shown(show.candidates([charged])) and "preempted" not in shown(show.candidates([direct]))
