"""`caravan agent`: a site's agent at its centre. It calls the platform; nothing calls it."""

import asyncio
import gc
import signal
from pathlib import Path
from typing import Annotated, Literal

import typer
import uvloop

from caravan.cli.asking import Connection, misused
from caravan.client import BrokerClient
from caravan.kernel import steps
from caravan.kernel.logs import configure_logs
from caravan.kernel.problems import NotFound, Unauthenticated


def agent(
    ctx: typer.Context,
    site: Annotated[str, typer.Argument(metavar="SITE", help="The site's id, sit_….")],
    token_file: Annotated[
        Path | None,
        typer.Option(
            envvar="CARAVAN_TOKEN_FILE",
            help="A file with the agent's token (site/<id>:agent), read again for each call; or CARAVAN_TOKEN.",
        ),
    ] = None,
    adapter: Annotated[
        str | None, typer.Option(help="The adapter to announce first; the site's own setting decides.")
    ] = None,
    secrets: Annotated[
        Path | None,
        typer.Option(envvar="CARAVAN_AGENT_SECRETS", help="Folder of the credentials that the site's settings name."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            envvar="CARAVAN_AGENT_OUTPUT",
            help="Folder in which output is kept that the site's backend won't keep (Kubernetes). Without: it stays there for a while.",
        ),
    ] = None,
    mode: Annotated[Literal["production", "development"], typer.Option(envvar="CARAVAN_MODE")] = "production",
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"], typer.Option(envvar="CARAVAN_LOG_LEVEL")
    ] = "info",
) -> None:
    """Be a site's agent until SIGTERM or Ctrl-C. What runs at the site goes on without it.

    Register the site with `agent: centre`. CARAVAN_BROKER_URL says where the broker answers (else <CARAVAN_URL>/broker), and
    CARAVAN_AGENT_* how it paces itself.
    """
    from services.broker.agent import run_agent

    connection: Connection = ctx.obj
    if token_file is not None:
        _read(token_file)
    elif not connection.token:
        misused("An agent needs its token: set CARAVAN_TOKEN_FILE or CARAVAN_TOKEN")
    configure_logs(log_level, "console" if mode == "development" else "json")
    steps.arm(development=mode == "development")

    def token() -> str:
        return token_file.read_text().strip() if token_file is not None else connection.token or ""

    async def act() -> None:
        stopped = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stopped.set)
        async with BrokerClient(connection.broker, token) as broker:
            acting = asyncio.create_task(
                run_agent(
                    site,
                    broker,
                    adapter=adapter,
                    production=mode == "production",
                    secrets=secrets,
                    output=output,
                    private=tuple(path.absolute() for path in (token_file, secrets, output) if path is not None),
                )
            )
            stopping = asyncio.create_task(stopped.wait())
            await asyncio.wait((acting, stopping), return_when=asyncio.FIRST_COMPLETED)
            stopping.cancel()
            acting.cancel()
            await asyncio.wait((acting,))
            if not acting.cancelled() and (error := acting.exception()) is not None:
                raise error

    gc.freeze()  # what was made so far stays: the collector need not go through it again and again
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(act())
    except LookupError as error:
        misused(str(error))
    except (NotFound, Unauthenticated) as refused:
        misused(
            f"{connection.broker} refuses an agent of {site}: {refused.detail} "
            f"Check the site's id, and that the token is for its agent (site/{site}:agent) and has not expired."
        )


def _read(path: Path) -> None:
    try:
        if not path.read_text().strip():
            misused(f"{path} is empty; it should hold the agent's token")
    except (OSError, UnicodeDecodeError) as error:
        misused(f"{path}: {error}")


def add_to(app: typer.Typer) -> None:
    app.command()(agent)
