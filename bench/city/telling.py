"""Telling accounting something over HTTP or by a feed, and keeping what was told as `README.md` has it."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import httpx

from bench.charges.market import Event
from bench.city.jobs import Fact
from caravan.kernel import ids
from caravan.kernel.tokens import create_signer
from caravan.kernel.web import ServiceApp

URL: Final = "http://accounting"
LIST_PAGE: Final = 200
BROKER: Final = "service:broker"
OPERATIONS: Final = {
    "record_deposit": ("POST", "/deposits"),
    "set_credit_limit": ("PUT", "/funds/{organization}/credit-limit"),
    "post_tax_rule": ("POST", "/tax-rules"),
    "make_fee_agreement": ("POST", "/fee-agreements"),
    "propose_price_correction": ("POST", "/price-corrections"),
    "approve_price_correction": ("POST", "/price-corrections/{correction}/approve"),
    "contest_run": ("POST", "/contests"),
    "decide_contest": ("POST", "/contests/{contest}/decide"),
    "issue_credit_note": ("POST", "/credit-notes"),
    "close_period": ("POST", "/periods/{period}/close"),
}
"""What is recorded as one fact each, by operation id."""


class Record:
    """The facts of a city, in numbered files."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        self._folder, self._number = folder, 0
        self._file = self._open()

    def say(self, facts: Iterable[Fact]) -> None:
        self._file.writelines(f'{{"event":"{fact.type}","data":{fact.data}}}\n' for fact in facts)

    def ask(self, operation: str, by: str, path: dict[str, str], body: Any, answer: Any) -> None:
        fact = {"operation": operation, "by": by, "path": path or None, "body": body, "answer": answer}
        told = {name: value for name, value in fact.items() if value is not None}
        self._file.write(json.dumps(told, ensure_ascii=False, separators=(",", ":")) + "\n")

    def next_file(self) -> None:
        self.close()
        self._number += 1
        self._file = self._open()

    def close(self) -> None:
        self._file.close()

    def _open(self) -> Any:
        return (self._folder / f"{self._number:03}.jsonl").open("w", encoding="utf-8")


class Asking:
    """The API as those who call it see it. A subject's name says what it may: of finance, of a provider or organization, of the office
    (`office…`), or the broker."""

    def __init__(self, app: ServiceApp, record: Record) -> None:
        self._signer = create_signer(app.settings)
        self._http = httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url=f"{URL}/v1")
        self._record = record

    async def aclose(self) -> None:
        await self._http.aclose()

    async def tell(self, operation: str, by: str, body: Any = None, **path: str) -> Any:
        answer = await self._tell(operation, by, body, path)
        self._record.ask(operation, by, path, body, answer)
        return answer

    async def tell_all(self, operation: str, by: str, bodies: Sequence[tuple[Any, dict[str, str]]]) -> None:
        """What may come in any order: (body, path)."""
        answers = await asyncio.gather(*(self._tell(operation, by, *one) for one in bodies))
        for (body, path), answer in zip(bodies, answers, strict=True):
            self._record.ask(operation, by, path, body, answer)

    async def _tell(self, operation: str, by: str, body: Any, path: dict[str, str]) -> Any:
        """A PUT is of what was never set before."""
        method, template = OPERATIONS[operation]
        headers = self._headers(by) | {"Idempotency-Key": ids.new("own"), "If-Match": '"0"'}
        return self._content(await self._http.request(method, template.format(**path), json=body, headers=headers))

    async def post(self, path: str, by: str, body: Any = None, version: int = 0) -> Any:
        """What isn't kept as a fact."""
        headers = self._headers(by) | {"Idempotency-Key": ids.new("own"), "If-Match": f'"{version}"'}
        return self._content(await self._http.post(path, json=body, headers=headers))

    async def put_holds(self, holds: list[dict[str, Any]]) -> None:
        """Each is a fact."""
        response = await self._http.post("/holds:batch", json={"holds": holds}, headers=self._headers(BROKER))
        for hold, outcome in zip(holds, self._content(response)["items"], strict=True):
            if not (outcome["answer"] and outcome["answer"]["granted"]):
                raise RuntimeError(f"a hold was not granted: {outcome}")
            body = {name: value for name, value in hold.items() if name != "job"}
            self._record.ask("put_hold", BROKER, {"job": hold["job"]}, body, outcome["answer"])

    async def look(self, path: str, **query: Any) -> Any:
        return self._content(await self._http.get(path, params=query, headers=self._headers("finance")))

    async def each(self, path: str, **query: Any) -> AsyncIterator[Any]:
        """All items of a list."""
        cursor: dict[str, str] = {}
        while True:
            page = await self.look(path, limit=LIST_PAGE, **query, **cursor)
            for item in page["items"]:
                yield item
            if page["next"] is None:
                return
            cursor = {"cursor": page["next"]}

    def _headers(self, by: str) -> dict[str, str]:
        kinds = {"prv_": f"provider/{by}:admin", "org_": f"org/{by}:admin", "office": "platform:programmes"}
        found = (permission for prefix, permission in kinds.items() if by.startswith(prefix))
        may = BROKER if by == BROKER else next(found, "platform:finance")
        return {"Authorization": f"Bearer {self._signer.kept_token(by, [may])}"}

    @staticmethod
    def _content(response: httpx.Response) -> Any:
        if response.is_error:
            raise RuntimeError(
                f"{response.request.method} {response.request.url}: {response.status_code} {response.text}"
            )
        return response.json()


def fact_of(event: Event) -> Fact:
    return Fact(event.type, event.subject, event.data.model_dump_json(by_alias=True))


def envelope(number: int, source: str, fact: Fact, at: datetime) -> str:
    """A CloudEvent."""
    return (
        f'{{"specversion":"1.0","id":"evt_{number:032x}","source":"{source}","type":"{fact.type}","subject":"{fact.subject}",'
        f'"time":"{at.isoformat()}","data":{fact.data}}}'
    )
