"""An API server over objects in memory, as far as the adapter looks at it: lists, watches, changes, logs, and faults on demand."""

import asyncio
import json
import tempfile
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import httpx

from caravan.kernel import clock
from services.broker.adapters.kubernetes.backend import KubernetesBackend
from services.broker.adapters.kubernetes.devices import Devices
from services.broker.adapters.kubernetes.reference import QUEUE
from services.broker.adapters.kubernetes.rest import Rest
from services.broker.adapters.kubernetes.settings import MODEL_LABELS, Settings
from tests.broker.kubernetes_answers import MARK, OURS, SITE_SETTINGS, STARTED, at, node

PLURALS = {
    "jobs": "Job",
    "pods": "Pod",
    "events": "Event",
    "configmaps": "ConfigMap",
    "nodes": "Node",
    "services": "Service",
    "workloads": "Workload",
    "localqueues": "LocalQueue",
    "clusterqueues": "ClusterQueue",
    "resourceflavors": "ResourceFlavor",
    "limitranges": "LimitRange",
    "resourcequotas": "ResourceQuota",
}


def status(code: int, message: str = "", reason: str = "") -> httpx.Response:
    return httpx.Response(code, json={"kind": "Status", "code": code, "reason": reason, "message": message})


class ApiServer(httpx.AsyncBaseTransport):
    """Change `objects` by `put` and `remove`: watches hear of it."""

    def __init__(self) -> None:
        self.version = 100
        self.oldest = 0
        """Watches from before this version are told that it is too old."""
        self.objects: dict[str, dict[str, dict[str, Any]]] = defaultdict(dict)
        self.history: list[tuple[int, str, dict[str, Any]]] = []
        self.asked: list[str] = []
        """Method and path with its parameters, watches left out."""
        self.watched: list[str] = []
        """From which version each watch went on."""
        self.answers: dict[str, httpx.Response] = {}
        """Instead of what else would come: method and path -> that."""
        self.before: dict[str, Callable[[], object]] = {}
        """What happens just before this method and path is looked at."""
        self.default_queue = False
        """Kueue is there, and all namespaces have a queue named `default`."""
        self.left: set[str] = set()
        """Namespaces that were deleted: what may be done in them alone may not be done any more."""
        self.down = False
        self.ready = True
        """Whether it says so. It knows nobody's rights before."""
        self.cuts = 0
        self.logs: dict[str, bytes] = {}
        """What pods have written: by name."""
        self.first_written = STARTED
        """When the first line was that is left of any log."""
        self.rotated: dict[str, list[bytes]] = defaultdict(list)
        """Of each pod's log the parts before the one that is given."""
        self.running: set[str] = set()
        """Pods whose log may go on."""
        self.streams = 0
        """Of logs that go on."""
        self.given: list[str] = []
        """Logs that were asked for: `follow` before those that go on."""
        self.put("nodes", node())

    def put(self, kind: str, content: dict[str, Any]) -> dict[str, Any]:
        """An object as it is now."""
        self.version += 1
        meta = content["metadata"]
        content = content | {"metadata": {"uid": meta["name"], **meta, "resourceVersion": str(self.version)}}
        before = self.objects[kind].get(meta["name"])
        self.objects[kind][meta["name"]] = content
        self._tell(kind, "ADDED" if before is None else "MODIFIED", content)
        return content

    def remove(self, kind: str, name: str) -> None:
        self.version += 1
        content = self.objects[kind].pop(name)
        self._tell(
            kind, "DELETED", content | {"metadata": content["metadata"] | {"resourceVersion": str(self.version)}}
        )

    def bookmark(self) -> None:
        for kind in PLURALS:
            self._tell(kind, "BOOKMARK", {"metadata": {"resourceVersion": str(self.version)}})

    def _tell(self, kind: str, what: str, content: dict[str, Any]) -> None:
        self.history.append((self.version, kind, {"type": what, "object": content}))

    def cut(self) -> None:
        """All watches break off."""
        self.cuts += 1

    def rotate(self, name: str, text: bytes = b"") -> None:
        """The node begins the log anew, with this. Who follows it reads the part before to its end, and goes on there."""
        self.rotated[name].append(self.logs[name])
        self.logs[name] = text

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if self.down:
            raise httpx.ConnectError("refused")
        await asyncio.sleep(0)  # as any network, it lets others go on
        body = json.loads(await request.aread() or b"null")
        response = self._answer(request, body)
        response.headers["Date"] = format_datetime(clock.now(), usegmt=True)
        return response

    def _answer(self, request: httpx.Request, body: Any) -> httpx.Response:
        path, params = request.url.path, dict(request.url.params)
        parts = path.strip("/").split("/")
        kind = next((part for part in parts if part in PLURALS), "")
        name = parts[parts.index(kind) + 1] if kind and parts[-1] != kind else None
        if params.get("watch"):
            self.watched.append(f"{kind} {params['resourceVersion']}")
            if int(params["resourceVersion"]) < self.oldest:
                return status(410, "too old resource version", "Expired")
            if (told := self.answers.get(f"WATCH {kind}")) is not None:
                return told
            bookmarks = params.get("allowWatchBookmarks") == "true"
            return httpx.Response(200, stream=_Stream(self, kind, int(params["resourceVersion"]), bookmarks))
        if parts[-1] == "log":
            return self._log(parts[-2], params)
        self.asked.append(f"{request.method} {kind or path}{' ' + name if name else ''}")
        self.before.get(f"{request.method} {kind}", str)()
        if (told := self.answers.get(f"{request.method} {kind}")) is not None:
            return told
        if not self.left.isdisjoint(parts) and not (name is None and request.method == "GET"):
            return status(
                403, f'{kind} is forbidden: User "agent" cannot {request.method} resource "{kind}"', "Forbidden"
            )
        if path == "/readyz":
            return httpx.Response(200 if self.ready else 403, text="ok" if self.ready else "forbidden")
        if path == "/version":
            return httpx.Response(200, json={"gitVersion": "v1.34.4"})
        if name is None and request.method == "GET":
            inside = parts[parts.index("namespaces") + 1] if "namespaces" in parts else None
            found = [
                one for one in self.objects[kind].values() if inside in (None, one["metadata"].get("namespace", inside))
            ]
            items = [item for item in found if self._matches(item, params)]
            first = int(params.get("continue", "0"))
            after = first + int(params.get("limit", len(items)))
            meta = {"resourceVersion": str(self.version)} | ({"continue": str(after)} if after < len(items) else {})
            return httpx.Response(200, json={"metadata": meta, "items": items[first:after]})
        if request.method == "POST":
            uid = OURS.uid if kind == "jobs" else body["metadata"]["name"]
            if kind == "jobs" and self.default_queue:
                body["metadata"]["labels"][QUEUE] = "default"
            body["metadata"] |= {"uid": uid, "creationTimestamp": at(clock.to_seconds(clock.now()))}
            if params.get("dryRun"):
                return httpx.Response(201, json=body)
            return httpx.Response(201, json=self.put(kind, body))
        there = self.objects[kind].get(name or "")
        if there is None:
            return status(404, "not found", "NotFound")
        return self._change(request.method, kind, there, body)

    def _log(self, name: str, params: dict[str, str]) -> httpx.Response:
        there = self.objects["pods"].get(name)
        if "container" not in params and there is not None and len(there["spec"]["containers"]) > 1:
            return status(400, "a container name must be specified")
        follow = params.get("follow") == "true"
        if params.get("timestamps") == "true":
            self.given.append(f"first {name}")
            written = at(self.first_written).removesuffix("Z") + ".123456789Z "
            lines = b"".join(written.encode() + line for line in self.logs[name].splitlines(keepends=True))
            return httpx.Response(200, content=lines[: int(params["limitBytes"])])
        self.given.append(f"follow {name}" if follow else name)
        if (told := self.answers.get("GET log")) is not None:
            return told
        if name not in self.logs:
            return status(404, "not found", "NotFound")
        if follow:
            return httpx.Response(200, stream=_Log(self, name))
        return httpx.Response(200, content=self.logs[name])

    def _change(self, method: str, kind: str, there: dict[str, Any], body: Any) -> httpx.Response:
        if method == "GET":
            return httpx.Response(200, json=there)
        meta = there["metadata"]
        wanted = body["metadata"] if method == "PATCH" else body["preconditions"]
        if any(wanted.get(name, meta[name]) != meta[name] for name in ("uid", "resourceVersion")):
            return status(422, "field is immutable") if method == "PATCH" else status(409, "precondition", "Conflict")
        if method == "DELETE":
            self.remove(kind, meta["name"])
            return status(200)
        labels = {**meta["labels"], **body["metadata"].get("labels", {})}
        kept = {name: value for name, value in labels.items() if value is not None}
        notes = meta.get("annotations", {}) | body["metadata"].get("annotations", {})
        marks = {"labels": kept, "annotations": notes}
        changed = {"metadata": meta | marks, "spec": there["spec"] | body.get("spec", {})}
        return httpx.Response(200, json=self.put(kind, there | changed))

    def _matches(self, item: dict[str, Any], params: dict[str, str]) -> bool:
        selector = params.get("labelSelector", "")
        key, _, values = selector.partition(" in " if " in " in selector else "=")
        field, _, name = params.get("fieldSelector", "").partition("metadata.name=")
        named = field or not name or item["metadata"]["name"] == name
        return named and (not key or item["metadata"].get("labels", {}).get(key) in values.strip("()").split(","))


class _Stream(httpx.AsyncByteStream):
    def __init__(self, server: ApiServer, kind: str, version: int, bookmarks: bool) -> None:
        self.server, self.kind, self.version, self.cuts = server, kind, version, server.cuts
        self.bookmarks = bookmarks

    async def __aiter__(self) -> AsyncIterator[bytes]:
        told = 0
        while True:
            for version, kind, event in self.server.history[told:]:
                told += 1
                marks = event["type"] == "BOOKMARK"
                if kind == self.kind and version > self.version - marks and (self.bookmarks or not marks):
                    yield json.dumps(event).encode() + b"\n"
            if self.server.down or self.cuts != self.server.cuts:
                raise httpx.RemoteProtocolError("incomplete chunked read")
            await asyncio.sleep(0.005)


class _Log(httpx.AsyncByteStream):
    """In small pieces, until the pod ends."""

    def __init__(self, server: ApiServer, name: str) -> None:
        self.server, self.name, self.cuts = server, name, server.cuts

    async def __aiter__(self) -> AsyncIterator[bytes]:
        self.server.streams += 1
        try:
            async for piece in self._pieces():
                yield piece
        finally:
            self.server.streams -= 1

    async def _pieces(self) -> AsyncIterator[bytes]:
        before = self.server.rotated[self.name]
        at, part = 0, len(before)
        while True:
            text = before[part] if part < len(before) else self.server.logs.get(self.name, b"")
            piece = text[at : at + 5]
            at += len(piece)
            if piece:
                yield piece
            elif part < len(before):
                at, part = 0, part + 1
            elif self.name not in self.server.running:
                return
            if self.server.down or self.cuts != self.server.cuts:
                raise httpx.RemoteProtocolError("incomplete chunked read")
            await asyncio.sleep(0 if piece else 0.005)


@asynccontextmanager
async def opened(server: ApiServer, output: Path | None = None, **settings: Any) -> AsyncIterator[KubernetesBackend]:
    """A backend on it, whose watches run."""
    rest = Rest(httpx.AsyncClient(transport=server, base_url="https://cluster"))
    chosen, devices = Settings.model_validate(SITE_SETTINGS | settings), Devices({}, MODEL_LABELS, {})
    try:
        with tempfile.TemporaryDirectory() as folder:
            lasting = output is not None
            backend = KubernetesBackend(MARK, chosen, devices, rest, output or Path(folder), lasting=lasting)
            async with backend.watching():
                yield backend
    finally:
        await rest.close()
