"""The `caravan` client against a platform that really runs."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner, Result

from caravan.cli import app
from caravan.kernel import clock, ids
from services.broker.adapters import local
from services.broker.adapters.local import linux
from tests.e2e.conftest import Town

pytestmark = pytest.mark.slow


@pytest.fixture
def caravan(town: Town) -> "Caravan":
    return Caravan(town)


@pytest.fixture
def finance(town: Town) -> "Caravan":
    return Caravan(town, town.finance)


class Caravan:
    """Runs the command as the enterprise's admin, or with another token."""

    def __init__(self, town: Town, token: str | None = None) -> None:
        self.town = town
        self.token = token or town.enterprise
        self.env = {
            "CARAVAN_MODE": "development",
            "CARAVAN_DATA_DIR": str(town.platform.data),
            "CARAVAN_URL": town.url,
            "CARAVAN_TOKEN": self.token,
            "CARAVAN_PROJECT": town.market.project,
        }

    def __call__(self, *arguments: str, code: int = 0, **env: str) -> Result:
        done = CliRunner().invoke(app, list(arguments), env=self.env | env)
        assert done.exit_code == code, (done.output, done.exception)
        return done

    def json(self, *arguments: str, code: int = 0) -> Any:
        """What it prints with --json, and nothing beside it."""
        given = list(arguments)
        given.insert(given.index("--") if "--" in given else len(given), "--json")
        return json.loads(self(*given, code=code).stdout)

    def api(self, path: str) -> Any:
        """The same by plain HTTP."""
        response = httpx.get(f"{self.town.url}{path}", headers={"Authorization": f"Bearer {self.token}"})
        assert response.is_success, response.text
        return response.json()

    def submitted(self, *arguments: str) -> str:
        """A job that has been waited for."""
        id: str = self.json("submit", "--wait", "-t", "60s", "-m", "64M", *arguments)["id"]
        return id


def test_offerings_are_found_and_priced_for_a_shape(caravan: Caravan) -> None:
    shown = caravan("offerings", "单核").stdout
    assert "Single-core jobs" in shown and "72.00 per cpu-core-hour" in shown and "General" not in shown
    priced = caravan.json("offerings", "--cpus", "1", "--hours", "2")
    assert [one["price"] for one in priced["items"]] == ["72.00", "144.00"]
    assert priced == caravan.api("/catalog/v1/offerings?cpus=1&hours=2&limit=50")


def test_a_price_is_explained_before_anything_runs(caravan: Caravan) -> None:
    (found,) = caravan.json("offerings", "单核")["items"]
    asked = ("price", found["offering"]["id"], "--start", "2100-01-01T22:00:00+08:00", "-t", "3h")
    shown = caravan(*asked).stdout
    assert "2100-01-01（星期五），22:00 至 24:00：2 小时 = 7200 秒；1 核 x 7200 秒 = 7200 核秒" in shown
    assert "7200 + 3600 = 10800 core-seconds; 10800 x 72.00 / 3600 = 216.00" in shown
    assert caravan.json(*asked)["total"] == "216.00"


def test_a_quote_says_what_is_set_aside_and_why_not_elsewhere(caravan: Caravan) -> None:
    shown = caravan("quote", "--cpus", "2", "-t", "60s").stdout
    assert "124 core-seconds at 36.00 (standard) = 1.24" in shown
    assert "It allows at most 1 cpus per node, the job asks for 2" in shown
    quote = caravan.json("quote", "--cpus", "2", "-t", "60s")
    assert quote == caravan.api(f"/broker/v1/quotes/{quote['id']}")


def test_a_job_is_submitted_waited_for_read_and_explained(caravan: Caravan) -> None:
    id = caravan.submitted(
        "-n", "greeting", "-e", "WHO=长安", "-l", "team=wing", "--", "sh", "-c", "echo hello $WHO; sleep 1.2"
    )
    assert caravan("jobs", "logs", id).stdout == "hello 长安\n"
    assert caravan.json("jobs", "show", id) == caravan.api(f"/broker/v1/jobs/{id}")
    shown = caravan("jobs", "show", id).stdout
    assert "succeeded" in shown and "job.settled" in shown and "team=wing" in shown
    assert "General: 能运行它的 2 个产品中最便宜，" in shown
    assert id in caravan("jobs", "list", "--name", "greeting").stdout
    assert caravan.json("jobs", "list", "--limit", "1") == caravan.api("/broker/v1/jobs?limit=1")
    until_settled(caravan, id)
    assert "1 core x " in caravan("explain", id).stdout
    explained = caravan.json("explain", id)
    assert explained == caravan.api(f"/accounting/v1/jobs/{id}/explanation")
    line = explained["lines"][0]["line"]["id"]
    assert "由企业承担" in caravan("explain", line).stdout
    assert caravan.json("explain", line) == caravan.api(f"/accounting/v1/lines/{line}/explanation")


def test_a_job_that_fails_gives_exit_code_3(caravan: Caravan) -> None:
    done = caravan("submit", "--wait", "-t", "60s", "-m", "64M", "--", "sh", "-c", "echo no >&2; exit 7", code=3)
    assert "failed" in done.stdout
    id = caravan.json("jobs", "list", "--limit", "1")["items"][0]["id"]
    assert caravan("jobs", "wait", id, code=3).stdout.startswith("job")
    assert caravan("jobs", "logs", id, "--stream", "stderr").stdout == "no\n"


def test_an_array_runs_each_index(caravan: Caravan) -> None:
    id = caravan.submitted("-n", "array", "-a", "1,3%2", "--", "sh", "-c", "echo at $CARAVAN_ARRAY_INDEX")
    assert caravan("jobs", "logs", id, "--index", "3").stdout == "at 3\n"


def test_a_batch_script_runs_as_its_lines_ask(caravan: Caravan, tmp_path: Path) -> None:
    script = tmp_path / "job.sh"
    script.write_text(
        "#!/bin/sh\n#SBATCH -J batch -n 2\n#SBATCH --time=0:45 --mem-per-cpu=32M\n#SBATCH --array=1-4:3\n"
        "#SBATCH --export=NONE -o out.%j\n\necho at $CARAVAN_ARRAY_INDEX of $WHO\n"
    )
    done = caravan("submit", "--wait", "-e", "WHO=wing", str(script))
    assert f"{script}: warning: line 5: -o out.%j: the platform keeps what the job writes" in done.stderr
    job = caravan.json("jobs", "list", "--name", "batch")["items"][0]["id"]
    assert caravan("jobs", "logs", job, "--index", "4").stdout == "at 4 of wing\n"
    spec = caravan.json("jobs", "show", job)["spec"]
    assert spec["script"] == script.read_text() and spec["array"]["indices"] == [1, 4]
    asked = {name: spec["resources"][name] for name in ("tasks_per_node", "memory_mib_per_node", "walltime_seconds")}
    assert asked == {"tasks_per_node": 2, "memory_mib_per_node": 64, "walltime_seconds": 60}


def test_a_batch_script_names_an_accelerator_of_the_catalog(caravan: Caravan, tmp_path: Path) -> None:
    script = tmp_path / "job.sh"
    script.write_text("#!/bin/sh\n#SBATCH --gres=gpu:h100:1 -t 1 --mem=64M\ntrue\n")
    assert "General" in caravan("submit", str(script), code=1).stderr
    refused = caravan.json("quote", str(script))["refused"]
    assert refused and all("/resources/accelerators_per_node" in json.dumps(one) for one in refused)
    script.write_text(script.read_text().replace("h100", "a100"))
    done = caravan("submit", str(script), code=2)
    assert "line 2: --gres=gpu:a100:1: 'a100' may be any of acc_nvidia-a100-40g, acc_nvidia-a100-80g" in done.stderr


def test_logs_are_followed_to_the_end(caravan: Caravan) -> None:
    script = "for i in 1 2 3; do echo $i; sleep 0.4; done"
    id = caravan.json("submit", "-t", "60s", "-m", "64M", "--", "sh", "-c", script)["id"]
    assert caravan("jobs", "logs", "--follow", id).stdout == "1\n2\n3\n"


def test_a_log_comes_as_text_while_it_is_written(caravan: Caravan) -> None:
    id = caravan.json("submit", "-t", "5m", "-m", "64M", "--", "sh", "-c", "echo 第一行; exec sleep 300")["id"]
    url, headers = f"{caravan.town.url}/broker/v1/jobs/{id}/logs", {"Authorization": f"Bearer {caravan.token}"}
    with httpx.stream("GET", url, params={"follow": True}, headers=headers, timeout=60) as following:
        assert following.headers["content-type"] == "text/plain; charset=utf-8"
        lines = following.iter_lines()
        assert next(lines) == "第一行"
        caravan("jobs", "cancel", id)
        assert list(lines) == []


def test_logs_are_followed_from_a_try_that_its_site_failed_to_the_next(caravan: Caravan) -> None:
    script = f"if mkdir {ids.new('run')} 2>&-; then echo the first try; exec sleep 60; else echo again; fi"
    id = caravan.json("submit", "-t", "2m", "-m", "64M", "--", "sh", "-c", script)["id"]
    command = [sys.executable, "-m", "caravan.cli", "jobs", "logs", "--follow", id]
    with subprocess.Popen(command, env=os.environ | caravan.env, stdout=subprocess.PIPE, text=True) as following:
        assert following.stdout is not None
        assert following.stdout.readline() == "the first try\n"
        _poll(lambda: _identity(caravan, id) is not None)
        process = linux.process(int(str(_identity(caravan, id)).split(":")[2]))
        assert process is not None
        os.kill(process.parent, signal.SIGKILL)
        assert following.communicate(timeout=60)[0] == "again\n"
    assert following.returncode == 0


def test_a_job_is_cancelled(caravan: Caravan) -> None:
    id = caravan.json("submit", "-t", "5m", "-m", "64M", "--", "sleep", "300")["id"]
    caravan("jobs", "cancel", id)
    assert "cancelled" in caravan("jobs", "wait", id, code=3).stdout


def test_a_spec_file_and_a_key_make_one_job(caravan: Caravan, tmp_path: Path) -> None:
    spec = {
        "name": "from-file",
        "project": caravan.town.market.project,
        "script": "true\n",
        "resources": {"walltime_seconds": 5},
    }
    (tmp_path / "spec.json").write_text(json.dumps(spec))
    once, twice = (caravan.json("submit", "--spec", f"{tmp_path}/spec.json", "--key", "only-once") for _ in range(2))
    assert once["id"] == twice["id"] and once["name"] == "from-file"
    caravan("jobs", "wait", once["id"])


def test_too_little_money_is_said_in_figures(caravan: Caravan) -> None:
    done = caravan("submit", "--cpus", "8", "-t", "10h", "--", "true", code=1)
    assert "超出预算 Budget exceeded" in done.stderr and "(402 budget_exceeded)" in done.stderr
    assert "limit: 20.00" in done.stderr and "walltime seconds that fits" in done.stderr
    assert not done.stdout
    problem = caravan.json("submit", "--cpus", "8", "-t", "10h", "--", "true", code=1)
    assert problem["code"] == "budget_exceeded" and problem["status"] == 402


def test_a_job_that_fits_nowhere_says_why(caravan: Caravan) -> None:
    done = caravan("submit", "--cpus", "64", "--", "true", code=1)
    assert "没有可用的算力产品 No offering fits" in done.stderr
    assert "General" in done.stderr and "It allows at most 8 cpus per node, the job asks for 64" in done.stderr


def test_what_is_not_there_is_said_in_both_languages(caravan: Caravan) -> None:
    done = caravan("jobs", "show", "job_" + "0" * 32, code=1)
    assert "未找到 Not found" in done.stderr
    assert "Traceback" not in done.output


def test_an_id_of_another_kind_names_the_place(caravan: Caravan) -> None:
    assert "job" in caravan("jobs", "show", "nonsense", code=1).stderr


def test_budgets_show_what_is_left(caravan: Caravan) -> None:
    shown = caravan("budgets").stdout
    assert "本季 Quarter" in shown and "20.00" in shown
    assert caravan.json("budgets")["items"][0]["limit"] == "20.00"


def test_the_books_are_proved_while_the_platform_serves(caravan: Caravan) -> None:
    assert "The books are right" in caravan("ledger", "verify").stdout
    assert caravan.json("ledger", "verify")["findings"] == []


def test_statements_are_listed_shown_and_written(caravan: Caravan, tmp_path: Path) -> None:
    until_settled(caravan, caravan.submitted("-n", "billed", "--", "sleep", "2.1"))
    _close_the_period(caravan.town)
    mine = caravan.json("statements", "list", "--party", caravan.town.market.organization)["items"][0]
    assert mine["number"] in caravan("statements", "list").stdout
    shown = caravan("statements", "show", mine["id"]).stdout
    assert mine["gross"] in shown and "billed" in shown
    assert caravan.json("statements", "show", mine["id"]) == caravan.api(f"/accounting/v1/statements/{mine['id']}")
    caravan("statements", "csv", mine["id"], "--out", f"{tmp_path}/statement.csv")
    document = (tmp_path / "statement.csv").read_bytes()
    assert document.startswith(b"\xef\xbb\xbf")
    assert caravan("statements", "csv", mine["id"]).stdout_bytes == document


def test_finance_records_a_deposit_once_and_reads_funds_and_the_books(caravan: Caravan, finance: Caravan) -> None:
    organization = caravan.town.market.organization
    draft = ("--organization", organization, "--amount", "7.00", "--reference", "bank 7 货款")
    before = finance.json("finance", "funds", organization)
    made = finance.json("finance", "deposit", *draft, "--key", "deposit-7")
    assert (made["organization"], made["amount"], made["reference"]) == (organization, "7.00", "bank 7 货款")
    assert finance.json("finance", "deposit", *draft, "--key", "deposit-7") == made
    assert "(409 already_exists)" in finance("finance", "deposit", *draft, code=1).stderr
    after = finance.json("finance", "funds", organization)
    assert Decimal(after["deposited"]) - Decimal(before["deposited"]) == 7
    assert after["available"] in finance("finance", "funds", organization).stdout
    books = finance.json("finance", "trial-balance")
    assert books["sum"] == "0.00"
    bank = next(one for one in books["accounts"] if one["account"] == "bank")
    assert re.search(rf"bank .*{bank['debit']}", finance("finance", "trial-balance").stdout)
    assert "(404 not_found)" in caravan("finance", "trial-balance", code=1).stderr


def test_finance_cuts_a_period_and_sees_what_its_closing_waits_for(caravan: Caravan, finance: Caravan) -> None:
    until_settled(caravan, caravan.submitted("--", "true"))
    site, period = caravan.town.market.site, finance.json("finance", "periods", "--limit", "1")["items"][0]
    assert period["id"] in finance("finance", "periods").stdout
    at = (clock.floor_second(clock.now()) + timedelta(seconds=8)).isoformat()
    cut = finance.json("finance", "cut", period["id"], "--at", at, "--key", "cut-once")
    assert cut["ends_at"] == at.replace("+00:00", "Z")
    waiting = finance.json("finance", "close", period["id"], "--no-wait", "--key", "close-once")
    assert (waiting["state"], waiting["waiting_for"]) == ("closing", [site])
    done = finance("finance", "close", period["id"], "--key", "close-once")
    name = caravan.api(f"/catalog/v1/sites/{site}")["name"]
    assert f"{period['name']} waits for its end at " in done.stderr
    assert f"the usage of {name} ({site})" in done.stderr
    assert re.search(r"state +closed", done.stdout)
    assert finance.json("finance", "cut", period["id"], "--at", at, "--key", "cut-once") == cut
    assert finance.json("finance", "close", period["id"]) == finance.api(f"/accounting/v1/periods/{period['id']}")


def test_an_agent_at_a_centre_takes_its_site_and_leaves_cleanly(caravan: Caravan, tmp_path: Path) -> None:
    site = _site_with_its_agent_at_the_centre(caravan.town, tmp_path / "site")
    (tmp_path / "token").write_text(caravan.town.platform.token(f"site/{site}:agent", subject="agent"))
    env = {k: v for k, v in os.environ.items() if not k.startswith("CARAVAN_")}
    command = [sys.executable, "-m", "caravan.cli", "agent", site, "--token-file", str(tmp_path / "token")]
    with (tmp_path / "log").open("wb") as log:
        agent = subprocess.Popen(
            command, env=env | {"CARAVAN_URL": caravan.town.url, "CARAVAN_MODE": "development"}, stdout=log, stderr=log
        )
        try:
            _poll(lambda: _health(caravan.town, site) == "healthy")
        finally:
            agent.send_signal(signal.SIGTERM)
            assert agent.wait(timeout=30) == 0, (tmp_path / "log").read_text()
    lease = httpx.post(
        f"{caravan.town.url}/broker/v1/sites/{site}/lease",
        json={"holder": "the next one", "descriptor": local.adapter.descriptor.model_dump(mode="json")},
        headers={"Authorization": f"Bearer {(tmp_path / 'token').read_text()}"},
    )
    assert (lease.status_code, lease.json().get("epoch")) == (200, 2), lease.text


def test_an_agent_that_the_broker_refuses_says_so_and_ends(caravan: Caravan, tmp_path: Path) -> None:
    town, site = caravan.town, ids.new("sit")
    for token, why in (
        (town.platform.token(f"site/{ids.new('sit')}:agent"), "refuses an agent of"),
        (town.platform.signer.sign("late", (f"site/{site}:agent",), timedelta(seconds=-60)), "has expired"),
    ):
        env = {k: v for k, v in os.environ.items() if not k.startswith("CARAVAN_")}
        done = subprocess.run(
            [sys.executable, "-m", "caravan.cli", "agent", site],
            env=env | {"CARAVAN_URL": town.url, "CARAVAN_TOKEN": token, "CARAVAN_MODE": "development"},
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == 2
        assert why in " ".join(done.stderr.split())


def _site_with_its_agent_at_the_centre(town: Town, folder: Path) -> str:
    body = {
        "provider": town.market.provider,
        "name": "Second hall",
        "region": "Xi'an",
        "adapter": "local",
        "agent": "centre",
        "settings": {"folder": str(folder)},
    }
    response = httpx.post(f"{town.url}/catalog/v1/sites", json=body, headers=_centre(town))
    assert response.status_code == 201, response.text
    id: str = response.json()["id"]
    return id


def _centre(town: Town) -> dict[str, str]:
    return {"Authorization": f"Bearer {town.platform.token(f'provider/{town.market.provider}:admin')}"}


def _health(town: Town, site: str) -> str | None:
    found = httpx.get(f"{town.url}/catalog/v1/sites/{site}", headers=_centre(town)).json()["health"]
    return found["state"] if found else None


def until_settled(caravan: Caravan, job: str) -> None:
    _poll(lambda: caravan.api(f"/accounting/v1/holds/{job}")["status"] == "settled")


def _close_the_period(town: Town) -> None:
    base = f"{town.url}/accounting/v1/periods"
    with httpx.Client(headers={"Authorization": f"Bearer {town.finance}"}) as http:
        at = clock.floor_second(clock.now()) + timedelta(seconds=1)
        period = http.get(base, params={"limit": 1}).json()["items"][0]["id"]
        cut = http.post(f"{base}/{period}/cut", json={"at": at.isoformat()}, headers={"Idempotency-Key": "cut"})
        assert cut.is_success, cut.text
        assert http.post(f"{base}/{period}/close", headers={"Idempotency-Key": "close"}).is_success
        _poll(lambda: http.get(f"{base}/{period}").json()["state"] == "closed")


def _identity(caravan: Caravan, job: str) -> str | None:
    """The backend's name of the process of the job's first task."""
    found: str | None = caravan.api(f"/broker/v1/jobs/{job}/tasks")["items"][0]["backend_identity"]
    return found


def _poll(holds: Callable[[], bool], seconds: float = 60) -> None:
    deadline = clock.monotonic() + seconds
    while not holds():
        assert clock.monotonic() < deadline, "waited in vain"
        time.sleep(0.1)
