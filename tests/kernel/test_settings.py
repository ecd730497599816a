"""Settings: from the environment, and production that says what it lacks."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from caravan.kernel.settings import Settings

PRODUCTION = {"CARAVAN_JWKS": "/etc/caravan/jwks.json", "CARAVAN_ISSUER": "https://id.example.org"}


def set_environment(monkeypatch: pytest.MonkeyPatch, values: dict[str, str]) -> None:
    for name, value in values.items():
        monkeypatch.setenv(name, value)


def test_production_is_the_default_and_needs_trusted_keys() -> None:
    with pytest.raises(ValidationError, match="CARAVAN_JWKS is not set"):
        Settings()


def test_production_needs_an_issuer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CARAVAN_JWKS", "/etc/caravan/jwks.json")
    with pytest.raises(ValidationError, match="CARAVAN_ISSUER is not set"):
        Settings()


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    set_environment(
        monkeypatch,
        PRODUCTION
        | {
            "CARAVAN_BROKER_DATABASE_URL": "postgresql+asyncpg://caravan@db/broker",
            "CARAVAN_CATALOG_URL": "http://catalog:8000/",
            "CARAVAN_DATA_DIR": "/var/lib/caravan",
            "CARAVAN_LOG_LEVEL": "debug",
            "CARAVAN_BROKER_URL": "",
        },
    )
    settings = Settings()
    assert not settings.development
    assert settings.audience == "caravan"
    assert settings.database_url("broker") == "postgresql+asyncpg://caravan@db/broker"
    assert settings.database_url("catalog") == "sqlite:////var/lib/caravan/catalog.db"
    assert settings.service_url("catalog") == "http://catalog:8000"
    assert settings.service_url("broker") is None
    assert settings.zone == "Asia/Shanghai"


def test_development_needs_nothing(tmp_path: Path) -> None:
    settings = Settings(mode="development", data_dir=tmp_path)
    assert settings.development
    assert settings.keys_dir == tmp_path / "keys"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("zone", "Mars/Olympus"),
        ("zone", "localtime"),
        ("catalog_url", "catalog:8000"),
        ("mode", "staging"),
        ("currency", "EUR"),
        ("log_level", "loud"),
    ],
)
def test_a_wrong_setting_is_refused_by_name(monkeypatch: pytest.MonkeyPatch, field: str, value: str) -> None:
    set_environment(monkeypatch, PRODUCTION | {f"CARAVAN_{field.upper()}": value})
    with pytest.raises(ValidationError, match=field):
        Settings()
