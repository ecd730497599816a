"""`caravan serve`: the platform in one process, or one service of it."""

from collections.abc import Sequence
from socket import socket
from typing import Annotated, Final, Literal

import typer
import uvicorn
from pydantic import ValidationError
from starlette.types import ASGIApp

from caravan.kernel import steps
from caravan.kernel.database import WriterTaken
from caravan.kernel.logs import configure_logs
from caravan.kernel.migrations import migrate, pending
from caravan.kernel.runtime import Runtime
from caravan.kernel.settings import ServiceName
from caravan.kernel.web import ServiceApp
from services.broker.settings import Settings

PORTS: Final[dict[str, int]] = {"all": 8000, "catalog": 8001, "broker": 8002, "accounting": 8003}
GRACE_SECONDS: Final = 5
SERVICES: Final[tuple[ServiceName, ...]] = ("catalog", "broker", "accounting")


def settings() -> Settings:
    """The environment's settings; ends the command with what is wrong with them."""
    try:
        return Settings()
    except ValidationError as error:
        for one in error.errors():
            typer.echo(f"{'.'.join(str(part) for part in one['loc']) or 'settings'}: {one['msg']}", err=True)
        raise typer.Exit(2) from None


def serve(
    service: Annotated[
        Literal["all", "catalog", "broker", "accounting"],
        typer.Argument(help="One service alone, or all in one process."),
    ] = "all",
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[
        int | None, typer.Option(help="8000 for all; 8001, 8002, 8003 for catalog, broker, accounting.")
    ] = None,
) -> None:
    """Run the platform, or one service of it, until SIGTERM or Ctrl-C."""
    chosen = settings()
    configure_logs(chosen.log_level, chosen.log_format or ("console" if chosen.development else "json"))
    steps.arm(development=chosen.development)
    names: tuple[ServiceName, ...] = SERVICES if service == "all" else (service,)
    try:
        for name in names:
            _prepare(chosen, name)
        app, services = _compose(chosen) if service == "all" else _alone(chosen, service)
    except (WriterTaken, ValueError) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from None
    config = uvicorn.Config(
        app,
        host=host,
        port=port if port is not None else PORTS[service],
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    server = _Server(config, services)
    server.run()
    if not server.started:
        raise typer.Exit(1)


def _compose(chosen: Settings) -> tuple[ASGIApp, Sequence[ServiceApp]]:
    from caravan.embedded import compose

    app = compose(chosen)
    return app, list(app.state.services.values())


def _alone(chosen: Settings, service: ServiceName) -> tuple[ASGIApp, Sequence[ServiceApp]]:
    from caravan.embedded import service_app

    app = service_app(chosen, service)
    return app, [app]


class _Server(uvicorn.Server):
    """Answers long polls before it waits for open requests: else each of them would hold up the end until it is cut off."""

    def __init__(self, config: uvicorn.Config, services: Sequence[ServiceApp]) -> None:
        super().__init__(config)
        self._databases = [app.provided[Runtime].db for app in services]

    async def shutdown(self, sockets: list[socket] | None = None) -> None:
        for database in self._databases:
            database.close_waits()
        await super().shutdown(sockets)


def _prepare(chosen: Settings, name: ServiceName) -> None:
    """Development brings the database up by itself; production wants a person to run `caravan migrate`."""
    url = chosen.database_url(name)
    if chosen.development:
        chosen.data_dir.mkdir(parents=True, exist_ok=True)
        migrate(url, name)
    elif waiting := pending(url, name):
        typer.echo(f"The database of {name} is not up to date ({waiting}). Run: caravan migrate", err=True)
        raise typer.Exit(2)


def add_to(app: typer.Typer) -> None:
    app.command()(serve)
