"""`caravan migrate`, `token`, `ledger verify` and what is refused, without a platform."""

import json
import os
import sqlite3
import subprocess
import sys
from base64 import urlsafe_b64decode
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from caravan.cli import app

TAMPERED = "INSERT INTO ledger_balances (account, debit, credit) VALUES ('bank', 100, 0)"


def caravan(*arguments: str, **env: str) -> Result:
    clean = {"CARAVAN_MODE": "development", "CARAVAN_TOKEN": "", "CARAVAN_URL": "http://127.0.0.1:1"}
    return CliRunner().invoke(app, list(arguments), env=clean | env)


def test_books_that_are_right_are_told_so(migrated: Callable[[str], str]) -> None:
    done = caravan("ledger", "verify", CARAVAN_ACCOUNTING_DATABASE_URL=migrated("accounting"))
    assert done.exit_code == 0, done.output
    assert "The books are right" in done.stdout


def test_a_finding_is_shown_and_ends_with_1(tmp_path: Path) -> None:
    data = {"CARAVAN_DATA_DIR": str(tmp_path)}
    assert caravan("migrate", "accounting", **data).exit_code == 0
    with sqlite3.connect(tmp_path / "accounting.db") as db:
        db.execute(TAMPERED)
    db.close()
    done = caravan("ledger", "verify", **data)
    assert done.exit_code == 1
    assert "trial balance" in done.stdout and "1.00 instead of 0.00" in done.stdout
    assert caravan("ledger", "verify", "--json", **data).stdout.startswith("{")


def test_verify_wants_a_database_that_is_there(tmp_path: Path) -> None:
    done = caravan("ledger", "verify", CARAVAN_DATA_DIR=str(tmp_path))
    assert done.exit_code == 2
    assert "CARAVAN_DATA_DIR" in done.stderr


def test_a_restored_database_gets_another_generation(tmp_path: Path) -> None:
    def generation(*options: str) -> str:
        assert caravan("migrate", "broker", *options, CARAVAN_DATA_DIR=str(tmp_path)).exit_code == 0
        with sqlite3.connect(tmp_path / "broker.db") as db:
            (found,) = db.execute("SELECT generation FROM feed_state").fetchone()
        db.close()
        return str(found)

    first = generation("--restored")
    assert generation() == first
    assert generation("--restored") != first


def in_a_process(*arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    """As `caravan`, for what sets up its process's logs."""
    command = [sys.executable, "-m", "caravan.cli", *arguments]
    environment = os.environ | {"CARAVAN_MODE": "development"} | env
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("command", ["migrate", "serve"])
def test_a_database_that_can_not_be_opened_takes_one_line(tmp_path: Path, command: str) -> None:
    url = "postgresql://nobody@127.0.0.1:1/none"
    done = in_a_process(command, "broker", CARAVAN_DATA_DIR=str(tmp_path), CARAVAN_BROKER_DATABASE_URL=url)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1 and done.stderr.startswith("The database of broker can't be opened: ")


def test_a_service_alone_wants_to_know_where_the_others_are(tmp_path: Path) -> None:
    done = in_a_process("serve", "catalog", CARAVAN_DATA_DIR=str(tmp_path))
    assert done.returncode == 2
    assert "CARAVAN_CATALOG_URL is not set" in done.stderr


def test_a_token_is_for_development_only(tmp_path: Path) -> None:
    given = {"CARAVAN_DATA_DIR": str(tmp_path)}
    made = caravan("token", "-p", "platform:admin", **given)
    assert made.exit_code == 0 and made.stdout.count(".") == 2
    production = {"CARAVAN_MODE": "production", "CARAVAN_JWKS": "https://id.example/jwks", "CARAVAN_ISSUER": "id"}
    done = caravan("token", "-p", "platform:admin", **given, **production)
    assert done.exit_code == 2 and not done.stdout


def test_a_token_is_the_subjects_that_is_given(tmp_path: Path) -> None:
    def subject(*options: str) -> object:
        made = caravan("token", "-p", "platform:admin", *options, CARAVAN_DATA_DIR=str(tmp_path)).stdout
        return json.loads(urlsafe_b64decode(made.split(".")[1] + "=="))["sub"]

    assert subject() == "developer"
    assert subject("--subject", "li") == "li"
    assert "idempotency keys of its own" in caravan("token", "--help", COLUMNS="200").stdout


def test_settings_that_are_wrong_are_named(tmp_path: Path) -> None:
    done = caravan("serve", CARAVAN_ZONE="Mars", CARAVAN_DATA_DIR=str(tmp_path))
    assert done.exit_code == 2
    assert "zone" in done.stderr


def test_nobody_asks_without_a_token() -> None:
    done = caravan("jobs", "list")
    assert done.exit_code == 2
    assert "CARAVAN_TOKEN" in done.stderr


def test_a_platform_that_does_not_answer_takes_one_line() -> None:
    done = caravan("jobs", "list", CARAVAN_TOKEN="x")
    assert done.exit_code == 1
    assert done.stderr.count("\n") == 1 and "Nothing answers at http://127.0.0.1:1" in done.stderr
    assert not done.stdout


@pytest.mark.parametrize("url", ["platform.example", "ftp://platform.example", "http://["])
def test_a_url_that_is_none_is_refused(url: str) -> None:
    assert caravan("jobs", "list", CARAVAN_URL=url, CARAVAN_TOKEN="x").exit_code == 2


def test_an_agent_needs_a_token_and_an_adapter(tmp_path: Path) -> None:
    site = "sit_" + "0" * 32
    assert caravan("agent", site).exit_code == 2
    assert caravan("agent", site, "--token-file", str(tmp_path / "none")).exit_code == 2
    (tmp_path / "token").write_text("x\n")
    done = caravan("agent", site, "--token-file", str(tmp_path / "token"), "--adapter", "abacus")
    assert done.exit_code == 2
    assert "abacus is not installed" in done.stderr
