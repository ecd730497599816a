"""`caravan agent` as processes of their own, for as long as a block lasts."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Self

from bench.platform import QUICK_AGENTS, Platform

SWEEP: Final = {"CARAVAN_AGENT_SWEEP_SECONDS": "1", "CARAVAN_AGENT_ORPHAN_SECONDS": "1"}
"""For agents that are to leave no litter while one waits."""


class Agents:
    """All of them are killed at the end, frozen or not. `environment` is for each of them."""

    def __init__(
        self, platform: Platform, adapter: str = "local", environment: Mapping[str, str] | None = None
    ) -> None:
        self._platform = platform
        self._adapter = adapter
        self._environment = environment or {}
        self._running: list[subprocess.Popen[bytes]] = []

    def start(self, site: str, log: Path | None = None, /, **environment: str) -> "subprocess.Popen[bytes]":
        """It writes into the platform's log, or into one of its own."""
        plain = {k: v for k, v in os.environ.items() if not k.startswith("CARAVAN_")}
        told = {
            "CARAVAN_MODE": "development",
            "CARAVAN_BROKER_URL": self._platform.url("broker"),
            "CARAVAN_TOKEN": self._platform.token(f"site/{site}:agent", subject="agent"),
        }
        command = [sys.executable, "-m", "caravan.cli", "agent", site, "--adapter", self._adapter]
        with (log or self._platform.log).open("ab") as out:
            process = subprocess.Popen(
                command,
                env={**plain, **QUICK_AGENTS, **told, **self._environment, **environment},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
            )
        self._running.append(process)
        return process

    def kill_all(self) -> None:
        """kill -9."""
        for process in self._running:
            process.kill()
        for process in self._running:
            process.wait()
        self._running.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.kill_all()
