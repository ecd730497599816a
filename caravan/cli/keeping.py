"""`caravan migrate`, `caravan token` and `caravan ledger verify`: what an operator does beside serving.

What only an operator needs is imported by the command that needs it: the client's commands start without it.
"""

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer

from caravan.cli import show
from caravan.cli.asking import REFUSED, AsJson, answer, console, misused
from caravan.cli.server import SERVICES, opening, settings
from caravan.kernel.settings import ServiceName


def migrate_databases(
    service: Annotated[
        list[str] | None, typer.Argument(help="Services whose database to migrate; all without any.")
    ] = None,
    restored: Annotated[
        bool,
        typer.Option("--restored", help="The databases come from a backup: tell followers to start from a snapshot."),
    ] = False,
) -> None:
    """Bring the services' databases up to this version. Stop the services first."""
    from caravan.kernel.migrations import migrate, new_generation

    chosen = settings()
    chosen.data_dir.mkdir(parents=True, exist_ok=True)
    wanted: list[ServiceName] = [name for name in SERVICES if not service or name in service]
    if service and len(wanted) != len(set(service)):
        typer.echo(f"Services are {', '.join(SERVICES)}", err=True)
        raise typer.Exit(2)
    for name in wanted:
        with opening(name):
            migrate(chosen.database_url(name), name)
            if restored:
                new_generation(chosen.database_url(name))
        typer.echo(f"{name}: up to date")


def token(
    permission: Annotated[
        list[str], typer.Option("--permission", "-p", help="For example org/<id>:admin; repeat for more.")
    ],
    subject: Annotated[
        str, typer.Option(help="Whose token it is. Each subject has idempotency keys of its own.")
    ] = "developer",
    hours: Annotated[float, typer.Option(help="How long it is good for.", min=0.01, max=24 * 30)] = 8,
) -> None:
    """Print a token signed with the development key. Refused in production: there your identity provider issues them."""
    from caravan.kernel.tokens import create_signer

    chosen = settings()
    if not chosen.development:
        typer.echo(
            "`caravan token` is for development only; in production your identity provider issues tokens", err=True
        )
        raise typer.Exit(2)
    typer.echo(create_signer(chosen).sign(subject, permission, timedelta(hours=hours)))


ledger = typer.Typer(no_args_is_help=True, help="The books.")


@ledger.command("verify")
def verify_ledger(as_json: AsJson = False) -> None:
    """Prove the books from what is stored: entries, balances, seals, lines and statements. Changes nothing, and may be run
    while the platform serves. The exit code is 1 when anything doesn't hold."""
    from sqlalchemy import make_url

    from caravan.kernel.database import Database
    from caravan.kernel.migrations import pending
    from services.accounting.ledger import verify

    url = settings().database_url("accounting")
    path = make_url(url).database
    if url.startswith("sqlite") and not Path(path or "").exists():
        misused(f"There is no {path}: is CARAVAN_DATA_DIR the platform's data folder?")
    if waiting := pending(url, "accounting"):
        misused(f"The database of accounting is not up to date ({waiting}). Run: caravan migrate")

    async def prove() -> verify.VerifyReport:
        db = Database(url, read_only=True)
        await db.start()
        try:
            return await verify.verify_ledger(db)
        finally:
            await db.stop()

    report = asyncio.run(prove())
    if as_json:
        answer(report)
    else:
        out = console()
        counted = ("entries", "postings", "accounts", "seals", "unsealed", "lines", "jobs", "statements")
        out.print(show.pairs((name, f"{getattr(report, name):,}") for name in counted))
        if report.ok:
            out.print("The books are right.")
        else:
            rows = [(finding.check, finding.subject, finding.detail) for finding in report.findings]
            out.print(show.table(("what does not hold", "!where", "how"), rows))
    if not report.ok:
        raise typer.Exit(REFUSED)


def add_to(app: typer.Typer) -> None:
    app.command("migrate")(migrate_databases)
    app.command()(token)
    app.add_typer(ledger, name="ledger")
