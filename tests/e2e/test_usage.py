"""A centre's books, from its file to a report, against a platform that really runs."""

import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from caravan.cli import app
from tests.e2e.conftest import Town

pytestmark = pytest.mark.slow
HEADER = "jobidraw|cluster|account|user|submit|start|end|state|alloctres"
DAYS = ("--from", "2020-03-01", "--to", "2020-04-01")


def caravan(town: Town, *arguments: str) -> Any:
    env = {"CARAVAN_URL": town.url, "CARAVAN_TOKEN": town.finance}
    done = CliRunner().invoke(app, ["usage", *arguments, "--json"], env=env)
    assert done.exit_code == 0, (done.output, done.exception)
    return json.loads(done.stdout)


def test_a_dump_is_imported_in_thousands_once_and_reported(town: Town, tmp_path: Path) -> None:
    dump, owners = tmp_path / "dump", tmp_path / "owners.csv"
    rows = [
        f"{job}|qin|{'alloys' if job % 2 else 'glass'}|li|2020-03-10T08:00:00|2020-03-10T23:59:00|2020-03-11T00:02:00|COMPLETED|cpu=2"
        for job in range(2500)
    ]
    dump.write_text("\n".join([HEADER, *rows]) + "\n")
    mapped = f"alloys,,{town.market.organization},{town.market.project}"
    owners.write_text(f"account,user,organization,project\n{mapped}\n")
    arguments = (
        "import",
        "sacct",
        str(dump),
        "--site",
        town.market.site,
        "--zone",
        "Asia/Shanghai",
        "--map",
        str(owners),
    )
    first, again = caravan(town, *arguments), caravan(town, *arguments)
    assert (first["imported"], first["unmapped"], first["unchanged"]) == (2500, 1250, 0)
    assert (again["imported"], again["unchanged"]) == (0, 2500)
    report = caravan(town, "report", *DAYS, "--component", "cpu_core_hour")["items"]
    assert [(one["span"], one["organization"], one["account"], one["quantity"]) for one in report] == [
        ("2020-03-10", None, "glass", 150_000),
        ("2020-03-10", town.market.organization, None, 150_000),
        ("2020-03-11", None, "glass", 300_000),
        ("2020-03-11", town.market.organization, None, 300_000),
    ]


def test_a_report_needs_somebody_to_ask_for_it(town: Town) -> None:
    query = {"by": "day", "from": "2020-03-01", "to": "2020-03-02"}
    assert httpx.get(f"{town.url}/accounting/v1/usage", params=query).status_code == 401
