"""Talking to a service's app in a test: as whom, through the HTTP client, with the lifespan running."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
from pydantic import BaseModel

from caravan.kernel.settings import ServiceName, Settings
from caravan.kernel.tokens import Signer, create_signer
from caravan.kernel.web import ServiceApp, started

Json = Any
"""What an answer's body holds: tests look into it freely."""


def development(keys: Path, **settings: Any) -> Settings:
    """Settings of a development installation that trusts the key pair in `keys`."""
    return Settings(mode="development", data_dir=keys, log_format="console", **settings)


def database(service: ServiceName, url: str) -> dict[str, str]:
    """The setting that names a service's database."""
    return {f"{service}_database_url": url}


class Person:
    """Someone with a token, calling one service. Paths are below /v1."""

    def __init__(self, http: httpx.AsyncClient, token: str) -> None:
        self._http = http
        self._headers = {"Authorization": f"Bearer {token}"}

    async def get(self, path: str, **query: Any) -> httpx.Response:
        return await self._http.get(f"/v1{path}", params=query, headers=self._headers)

    async def post(
        self, path: str, body: BaseModel | Json = None, headers: Mapping[str, str] | None = None
    ) -> httpx.Response:
        return await self._send("POST", path, body, headers or {})

    async def put(self, path: str, body: BaseModel | Json, version: int | None = None) -> httpx.Response:
        return await self._send("PUT", path, body, {} if version is None else {"If-Match": f'"{version}"'})

    async def upload(self, path: str, content: bytes) -> httpx.Response:
        headers = {**self._headers, "Content-Type": "application/octet-stream"}
        return await self._http.put(f"/v1{path}", content=content, headers=headers)

    async def _send(self, method: str, path: str, body: BaseModel | Json, headers: Mapping[str, str]) -> httpx.Response:
        json = body.model_dump(mode="json", exclude_unset=True) if isinstance(body, BaseModel) else body
        return await self._http.request(method, f"/v1{path}", json=json, headers={**self._headers, **headers})


class Running:
    """A service that runs in this process."""

    def __init__(self, app: ServiceApp, http: httpx.AsyncClient, signer: Signer) -> None:
        self.app = app
        self.http = http
        self._signer = signer

    def person(self, subject: str, *permissions: str) -> Person:
        return Person(self.http, self._signer.sign(subject, permissions))


@asynccontextmanager
async def running(app: ServiceApp) -> AsyncIterator[Running]:
    """Start the app, and stop it at the end."""
    async with (
        started(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://service") as http,
    ):
        yield Running(app, http, create_signer(app.settings))


async def until(holds: Callable[[], Awaitable[bool]], seconds: float = 20) -> None:
    """Ask until it holds; TimeoutError when it doesn't in time."""
    async with asyncio.timeout(seconds):
        while not await holds():  # noqa: ASYNC110 - what is waited for is behind HTTP
            await asyncio.sleep(0.01)


def ok(response: httpx.Response, status: int = 200) -> Json:
    """The answer's body; fails with the whole problem when the status is another."""
    assert response.status_code == status, response.text
    return response.json()


def refused(response: httpx.Response, status: int, code: str) -> Json:
    """The problem; fails when the answer is another."""
    assert response.status_code == status, response.text
    problem = response.json()
    assert problem["code"] == code, problem
    return problem


def pointers(problem: Json) -> list[str]:
    return [error["pointer"] for error in problem["errors"]]
