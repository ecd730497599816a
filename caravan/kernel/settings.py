"""Settings: read once from the environment (prefix `CARAVAN_`) when a process starts, frozen, and passed on.

A service may subclass `Settings` for fields of its own; the prefix stays. Nothing reads the environment at import.
"""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator
from pydantic_core import PydanticCustomError
from pydantic_settings import BaseSettings, SettingsConfigDict

from caravan.kernel.local_days import zone_named

ServiceName = Literal["catalog", "broker", "accounting"]


def _base_url(value: str | None) -> str | None:
    if value is not None and not value.startswith(("http://", "https://")):
        raise PydanticCustomError("base_url", "Give a URL that starts with http:// or https://")
    return value.rstrip("/") if value else None


def _zone(value: str) -> str:
    try:
        zone_named(value)
    except ValueError:
        raise PydanticCustomError("zone", 'Not a time zone of the IANA database; for example "Asia/Shanghai"') from None
    return value


BaseUrl = Annotated[str | None, AfterValidator(_base_url)]


class Settings(BaseSettings):
    """What an installation chooses. Each field is the environment variable `CARAVAN_<FIELD>`.

    Production needs `CARAVAN_JWKS` and `CARAVAN_ISSUER`, and refuses to start without them. Development makes a key pair
    of its own in `<data_dir>/keys` and trusts it.
    """

    model_config = SettingsConfigDict(env_prefix="CARAVAN_", frozen=True, extra="ignore", env_ignore_empty=True)

    mode: Literal["production", "development"] = "production"
    data_dir: Path = Path("caravan-data")

    catalog_database_url: str | None = Field(
        default=None, description="SQLAlchemy URL; a SQLite file in data_dir if empty."
    )
    broker_database_url: str | None = None
    accounting_database_url: str | None = None

    catalog_url: BaseUrl = Field(
        default=None, description="Where the catalog answers; empty when all run in one process."
    )
    broker_url: BaseUrl = None
    accounting_url: BaseUrl = None

    issuer: str = Field(default="caravan-development", description="The `iss` that tokens must have.")
    audience: str = Field(default="caravan", description="The `aud` that tokens must have.")
    jwks: str | None = Field(default=None, description="Trusted keys: the path or the URL of a JWK set.")
    service_key: Path | None = Field(
        default=None,
        description="PEM private key with which a service signs its own tokens; its public key is in jwks.",
    )

    zone: Annotated[str, AfterValidator(_zone)] = Field(
        default="Asia/Shanghai", description="The platform's zone: periods and tariff calendars are cut in it."
    )
    currency: Literal["CNY"] = "CNY"

    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["json", "console"] | None = Field(
        default=None, description="json, or console for people; by default json in production."
    )

    @model_validator(mode="after")
    def _production_is_explicit(self) -> Self:
        if self.mode == "production":
            if not self.jwks:
                raise PydanticCustomError(
                    "jwks",
                    "CARAVAN_JWKS is not set: production needs the path or URL of the trusted keys (a JWK set). "
                    "To try Caravan out, set CARAVAN_MODE=development",
                )
            if "issuer" not in self.model_fields_set:
                raise PydanticCustomError(
                    "issuer", "CARAVAN_ISSUER is not set: production needs the `iss` of the tokens it accepts"
                )
        return self

    @property
    def development(self) -> bool:
        return self.mode == "development"

    @property
    def keys_dir(self) -> Path:
        """Where a development installation keeps the key pair it made."""
        return self.data_dir / "keys"

    def database_url(self, service: ServiceName) -> str:
        """The service's own database: as set, or `<data_dir>/<service>.db`."""
        given: str | None = getattr(self, f"{service}_database_url")
        return given or f"sqlite:///{(self.data_dir / f'{service}.db').absolute()}"

    def service_url(self, service: ServiceName) -> str | None:
        """Where a service answers, without a trailing slash; None when it is in this process."""
        url: str | None = getattr(self, f"{service}_url")
        return url
