"""`caravan migrate` and `caravan token`: what an operator does beside serving."""

from datetime import timedelta
from typing import Annotated

import typer

from caravan.cli.server import SERVICES, settings
from caravan.kernel.database import WriterTaken
from caravan.kernel.migrations import migrate
from caravan.kernel.settings import ServiceName
from caravan.kernel.tokens import create_signer


def migrate_databases(
    service: Annotated[
        list[str] | None, typer.Argument(help="Services whose database to migrate; all without any.")
    ] = None,
) -> None:
    """Bring the services' databases up to this version. Stop the services first."""
    chosen = settings()
    chosen.data_dir.mkdir(parents=True, exist_ok=True)
    wanted: list[ServiceName] = [name for name in SERVICES if not service or name in service]
    if service and len(wanted) != len(set(service)):
        typer.echo(f"Services are {', '.join(SERVICES)}", err=True)
        raise typer.Exit(2)
    for name in wanted:
        try:
            migrate(chosen.database_url(name), name)
        except WriterTaken as error:
            typer.echo(str(error), err=True)
            raise typer.Exit(2) from None
        typer.echo(f"{name}: up to date")


def token(
    permission: Annotated[
        list[str], typer.Option("--permission", "-p", help="For example org/<id>:admin; repeat for more.")
    ],
    subject: Annotated[str, typer.Option(help="Whose token it is.")] = "developer",
    hours: Annotated[float, typer.Option(help="How long it is good for.", min=0.01, max=24 * 30)] = 8,
) -> None:
    """Print a token signed with the development key. Refused in production: there your identity provider issues them."""
    chosen = settings()
    if not chosen.development:
        typer.echo(
            "`caravan token` is for development only; in production your identity provider issues tokens", err=True
        )
        raise typer.Exit(2)
    typer.echo(create_signer(chosen).sign(subject, permission, timedelta(hours=hours)))


def add_to(app: typer.Typer) -> None:
    app.command("migrate")(migrate_databases)
    app.command()(token)
