"""Runs services under uvicorn. Apart from `server.py` so that the client's commands don't wait for what only a server needs."""

import gc
from collections.abc import Sequence
from socket import socket
from typing import Final

import typer
import uvicorn

from caravan.cli.asking import misused
from caravan.cli.server import opening
from caravan.embedded import compose, service_app
from caravan.kernel import steps
from caravan.kernel.logs import configure_logs
from caravan.kernel.migrations import migrate, pending
from caravan.kernel.runtime import Runtime
from caravan.kernel.settings import ServiceName
from caravan.kernel.web import ServiceApp
from services.broker.settings import Settings

GRACE_SECONDS: Final = 5
KEEP_ALIVE_SECONDS: Final = 75
"""Longer than the platform's own clients (`transport.IDLE_SECONDS`) and the usual proxies keep a connection that is idle."""


def run(chosen: Settings, names: tuple[ServiceName, ...], host: str, port: int) -> None:
    """Serve one service, or all in one process, until SIGTERM or SIGINT. Ends the command when that can't be done."""
    configure_logs(chosen.log_level, chosen.log_format or ("console" if chosen.development else "json"))
    for name in names:
        _prepare(chosen, name)
    try:
        steps.arm(development=chosen.development)
        app = compose(chosen) if len(names) > 1 else service_app(chosen, names[0])
    except (ValueError, RuntimeError) as error:  # a peer's URL or a key is missing
        misused(str(error))
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=GRACE_SECONDS,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
    )
    services: Sequence[ServiceApp] = [app] if isinstance(app, ServiceApp) else list(app.state.services.values())
    server = _Server(config, services)
    gc.freeze()  # all that was made so far stays: to go through it again and again takes longer than most requests
    server.run()
    if not server.started:
        raise typer.Exit(1)


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
    with opening(name):
        if chosen.development:
            chosen.data_dir.mkdir(parents=True, exist_ok=True)
            migrate(url, name)
        elif waiting := pending(url, name):
            misused(f"The database of {name} is not up to date ({waiting}). Run: caravan migrate")
