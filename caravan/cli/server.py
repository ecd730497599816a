"""`caravan serve`: the platform in one process, or one service of it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Final, Literal

import typer
from pydantic import ValidationError

from caravan.cli.asking import misused
from caravan.kernel.settings import ServiceName
from services.broker.settings import Settings

PORTS: Final[dict[str, int]] = {"all": 8000, "catalog": 8001, "broker": 8002, "accounting": 8003}
SERVICES: Final[tuple[ServiceName, ...]] = ("catalog", "broker", "accounting")


def settings() -> Settings:
    """The environment's settings; ends the command with what is wrong with them."""
    try:
        return Settings()
    except ValidationError as error:
        for one in error.errors():
            typer.echo(f"{'.'.join(str(part) for part in one['loc']) or 'settings'}: {one['msg']}", err=True)
        raise typer.Exit(2) from None


@contextmanager
def opening(service: ServiceName) -> Iterator[None]:
    """Work on a service's database; ends the command with a line when that can't be opened, or another process writes to it."""
    from sqlalchemy.exc import DBAPIError

    from caravan.kernel.database import WriterTaken

    try:
        yield
    except WriterTaken as error:
        misused(str(error))
    except (OSError, DBAPIError) as error:
        misused(f"The database of {service} can't be opened: {str(error).splitlines()[0]}")


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
    from caravan.cli.serving import run

    names: tuple[ServiceName, ...] = SERVICES if service == "all" else (service,)
    run(settings(), names, host, port if port is not None else PORTS[service])


def add_to(app: typer.Typer) -> None:
    app.command()(serve)
