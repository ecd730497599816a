"""One kind of object at the API server, listed once and watched from there on: nothing is asked for again while nothing is missed.

A watch is resumed by the version of what came last, whatever cut it; a version that is too old (410) has all listed anew.
"""

import asyncio
import json
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final

from caravan.kernel import clock
from caravan.kernel.logs import get_logger
from services.broker.adapters.kubernetes.failures import EXPIRED
from services.broker.adapters.kubernetes.rest import Refusal, Rest, readable
from services.broker.adapters.port import Unavailable

log = get_logger(__name__)

PAGE: Final = "500"
WATCH_SECONDS: Final = 20
"""The server ends each watch after so long, with a bookmark: so a quiet one is known to be alive."""
SILENT_SECONDS: Final = WATCH_SECONDS + 10.0
"""A watch that has neither said anything nor ended by then is dead."""
PAUSE_SOONEST_SECONDS: Final = 0.2
PAUSE_LATEST_SECONDS: Final = 5.0
"""Between a watch that was cut, or couldn't be opened, and the next."""
FIRST_LIST_SECONDS: Final = 10.0
"""How long a question waits for the first list."""

Take = Callable[[str, Mapping[str, Any]], None]
"""Of one object: ADDED, MODIFIED or DELETED, and how it is, or was at last."""
Keep = Callable[[Collection[str], int], None]
"""All uids that a list has, and its version: what is newer may be missing."""


class Expired(Exception):
    """What came last is too long ago to go on from there."""


def pause_after(last: float, open_seconds: float) -> float:
    """Seconds until a watch that was open for so long is opened again; `last`: how long was waited before it, 0 after one that ended in
    good order. One that was open for longer than that begins again at once: who takes watches and ends each at once isn't hammered."""
    return PAUSE_SOONEST_SECONDS if open_seconds >= last else min(last * 2, PAUSE_LATEST_SECONDS)


class Watch:
    """Of `path`, what `selector` (parameters of the request) names."""

    def __init__(self, rest: Rest, path: str, selector: Mapping[str, str], take: Take, keep: Keep) -> None:
        self._rest = rest
        self._path = path
        self._selector = dict(selector)
        self._take = take
        self._keep = keep
        self._version: str | None = None
        self._listed = asyncio.Event()
        self.second = 0
        """The server's clock up to which all of it is known: when the watch last said something, or ended in good order."""
        self.fault: Unavailable | None = None
        """Why it isn't being watched now."""
        self._opened_at: float | None = None
        self._expired = False
        """The last try ended so, and nothing has been heard since."""

    async def ready(self) -> None:
        """Wait for the first list. Raises Unavailable: it doesn't come."""
        try:
            await asyncio.wait_for(self._listed.wait(), FIRST_LIST_SECONDS)
        except TimeoutError:
            raise self.fault or Unavailable(f"{self._path} was not listed yet") from None

    @property
    def well(self) -> bool:
        """All was listed, and what has changed since is told."""
        return self._version is not None and self.fault is None

    async def run(self) -> None:
        """Until cancelled."""
        pause = 0.0
        while True:
            self._opened_at = None
            try:
                if self._version is None:
                    await self._list()
                await self._follow()
                self.fault, self._expired, pause = None, False, 0.0
            except Expired:
                log.info("kubernetes_watch_expired", path=self._path)
                if self._expired:
                    self.fault = Unavailable(
                        f"{self._path}: what was listed a moment ago is too old to go on from (410)"
                    )
                self._version, self._expired = None, True
                pause = await self._pause(pause)
            except Unavailable as error:
                if self.fault is None:
                    log.warning("kubernetes_watch_cut", path=self._path, reason=str(error))
                self.fault = error
                pause = await self._pause(pause)
            except Exception as error:  # Whatever one watch meets, it is logged, told and tried again.
                log.exception("kubernetes_watch_failed", path=self._path)
                self.fault = Unavailable(f"{self._path}: a fault of the adapter ({type(error).__name__}), see its log")
                pause = await self._pause(pause)

    async def _pause(self, last: float) -> float:
        """Wait before the next watch; returns for how long. `last`: as in `pause_after`."""
        pause = pause_after(last, self._open_seconds())
        await asyncio.sleep(pause)
        return pause

    def _open_seconds(self) -> float:
        """For how long the present watch has been open; 0 where it wasn't."""
        return 0.0 if self._opened_at is None else clock.monotonic() - self._opened_at

    async def _list(self) -> None:
        """All pages are of one version. Raises Unavailable, Expired."""
        uids: set[str] = set()
        page: dict[str, str] = {}
        while True:
            answer = await self._rest.read(self._path, **self._selector, limit=PAGE, **page)
            if answer.is_a(EXPIRED):
                raise Expired
            second, content = self._rest.second, answer.read()
            with readable():
                for item in content["items"]:
                    self._one("ADDED", item)
                    uids.add(item["metadata"]["uid"])
                version, more = content["metadata"]["resourceVersion"], content["metadata"].get("continue")
                if not more:
                    self._keep(uids, int(version))
                    break
            page = {"continue": more}
        self._version, self.second = version, second
        self._listed.set()

    async def _follow(self) -> None:
        """One watch. Raises Unavailable, Expired."""
        how = {"watch": "true", "allowWatchBookmarks": "true", "timeoutSeconds": str(WATCH_SECONDS)}
        try:
            stream = self._rest.stream(
                self._path, SILENT_SECONDS, **self._selector, **how, resourceVersion=self._version or ""
            )
            async with stream as response:
                self._opened_at = clock.monotonic()
                if not self._expired:
                    self.fault = None
                rest = b""
                # httpx also ends lines where JSON doesn't: U+0085 stands in it as it is
                async for chunk in response.aiter_bytes():
                    *lines, rest = (rest + chunk).split(b"\n")
                    for line in lines:
                        with readable():
                            self._hear(json.loads(line))
        except Refusal as refusal:
            if refusal.failed.status == EXPIRED:
                raise Expired from refusal
            raise
        if self._open_seconds() < PAUSE_SOONEST_SECONDS:
            raise Unavailable("the API server ends a watch as it begins")
        self.second = self._rest.second

    def _hear(self, event: Mapping[str, Any]) -> None:
        kind, content = event["type"], event["object"]
        if kind == "ERROR":
            if content.get("code") == EXPIRED:
                raise Expired
            raise Unavailable(f"a watch ended: {content.get('message')}")
        if kind != "BOOKMARK":
            self._one(kind, content)
        self._version, self.second = content["metadata"]["resourceVersion"], self._rest.second
        self.fault, self._expired = None, False

    def _one(self, kind: str, content: Mapping[str, Any]) -> None:
        """One object that can't be read doesn't keep others from being seen."""
        try:
            self._take(kind, content)
        except Exception as error:
            name = content.get("metadata", {}).get("name")
            log.error("kubernetes_object_unreadable", path=self._path, name=name, error=repr(error))
