"""The platform as processes of this machine: started, killed, started again, stopped."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

import httpx

from caravan.client import AccountingClient, BrokerClient, CatalogClient, Peers
from caravan.kernel.settings import Settings
from caravan.kernel.tokens import create_signer

SERVICES: Final = ("catalog", "accounting", "broker")
START_SECONDS: Final = 60
PACE: Final = {
    "CARAVAN_AGENT_PROGRESS_SECONDS": "1",
    "CARAVAN_AGENT_OBSERVE_SECONDS": "0.25",
    "CARAVAN_AGENT_RETRY_SECONDS": "1",
}
"""The agent looks more often than it would at a centre of thousands of jobs, so that the story is short."""


class NotStarted(Exception):
    """The platform did not come up; the words say what its log says."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Platform:
    """All services in one process, or each in a process of its own when `split`."""

    def __init__(self, folder: Path, *, split: bool, port: int | None) -> None:
        self.folder = folder
        self.split = split
        self.log = folder / "platform.log"
        folder.mkdir(parents=True, exist_ok=True)
        if split:
            self.urls = {service: f"http://127.0.0.1:{free_port()}" for service in SERVICES}
        else:
            base = f"http://127.0.0.1:{port or free_port()}"
            self.urls = {service: f"{base}/{service}" for service in SERVICES}
        self._processes: list[subprocess.Popen[bytes]] = []
        settings = Settings(
            mode="development", data_dir=folder, jwks=None, service_key=None, issuer="caravan-development"
        )
        self._signer = create_signer(settings)
        self._peers: list[Peers] = []

    @property
    def pids(self) -> list[int]:
        return [process.pid for process in self._processes]

    @property
    def environment(self) -> dict[str, str]:
        """What a platform process gets: nothing of CARAVAN_* that happens to be set here."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("CARAVAN_")}
        peers = {f"CARAVAN_{name.upper()}_URL": url for name, url in self.urls.items()} if self.split else {}
        return {**kept, **PACE, **peers, "CARAVAN_MODE": "development", "CARAVAN_DATA_DIR": str(self.folder)}

    async def start(self) -> float:
        """Start it and wait until every service is ready. Returns the seconds that took. Raises NotStarted."""
        began = time.monotonic()
        self._spawn()
        async with httpx.AsyncClient(trust_env=False) as http:
            for service in SERVICES:
                await self._ready(http, f"{self.urls[service]}/readyz", began + START_SECONDS)
        return time.monotonic() - began

    def _spawn(self) -> None:
        if self.split:
            ports = {service: url.rpartition(":")[2] for service, url in self.urls.items()}
            wanted = [[service, "--port", port] for service, port in ports.items()]
        else:
            wanted = [["--port", self.urls["catalog"].removesuffix("/catalog").rpartition(":")[2]]]
        with self.log.open("ab") as log:
            for arguments in wanted:
                command = [sys.executable, "-c", "from caravan.cli import app; app()", "serve", *arguments]
                started = subprocess.Popen(
                    command, env=self.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
                )
                self._processes.append(started)

    async def _ready(self, http: httpx.AsyncClient, url: str, deadline: float) -> None:
        while True:
            if any(process.poll() is not None for process in self._processes) or time.monotonic() > deadline:
                tail = self.log.read_text(errors="replace").splitlines()[-15:]
                raise NotStarted("\n".join([f"the platform did not start ({url}); its log ends:", *tail]))
            try:
                if (await http.get(url)).is_success:
                    return
            except httpx.TransportError:
                pass  # it is not listening yet
            await asyncio.sleep(0.1)

    def kill(self) -> None:
        """SIGKILL, as a crash or a power cut would have it."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """SIGTERM, and wait for the clean end."""
        self._end(signal.SIGTERM)

    def _end(self, number: signal.Signals) -> None:
        for process in self._processes:
            process.send_signal(number)
        for process in self._processes:
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._processes.clear()

    def person(self, subject: str, *permissions: str) -> Peers:
        """The three APIs as this person sees them, with a token such as `caravan token` prints."""
        token = self._signer.sign(subject, permissions)
        peers = Peers(
            catalog=CatalogClient(self.urls["catalog"], token),
            broker=BrokerClient(self.urls["broker"], token),
            accounting=AccountingClient(self.urls["accounting"], token),
        )
        self._peers.append(peers)
        return peers

    async def close(self) -> None:
        for peers in self._peers:
            await peers.aclose()
