"""How `caravan serve` has uvicorn serve."""

from pathlib import Path
from typing import Any

import pytest
import uvicorn

from caravan.cli import serving
from caravan.kernel import transport
from services.broker.settings import Settings


def test_an_idle_connection_is_kept_for_longer_than_clients_use_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    configured: list[uvicorn.Config] = []

    class Server:
        started = True

        def __init__(self, config: uvicorn.Config, services: Any) -> None:
            configured.append(config)

        def run(self) -> None: ...

    monkeypatch.setattr(serving, "_Server", Server)
    monkeypatch.setattr(serving, "configure_logs", lambda *how: None)
    serving.run(Settings(mode="development", data_dir=tmp_path), ("catalog", "broker", "accounting"), "127.0.0.1", 0)
    assert configured[0].timeout_keep_alive > transport.IDLE_SECONDS
