"""A running cluster as a test sees it, and how one is started and ended."""

import base64
import csv
import json
import os
import select
import shutil
import signal
import ssl
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.backends import namespaces
from tests.backends.kubernetes import configuration, fakes, outside, queueing
from tests.backends.kubernetes.configuration import ADMIN
from tests.backends.kubernetes.containers import Container, note_end, recorded
from tests.backends.kubernetes.installed import KUBERNETES, KUEUE, KWOK, RUNTIME, Module, installed, version
from tests.backends.shelf import LeftOut

END_SECONDS = 90
START_SECONDS = 60
MOMENT_SECONDS = 5
"""Until then a daemon may still be on its way to be one."""
ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"}
"""Of all that runs in a cluster, containers apart."""
ALWAYS = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "node")
BUSYBOX = "bin/busybox"
"""In a cluster's folder."""
MERGE = "application/merge-patch+json"

Json = Any


class Fault(Exception):
    """What was started doesn't become ready; the message has the end of its log."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """See `configuration.py` for its users and its node."""

    folder: str
    """Its `log` has what each daemon says."""
    pid: int
    """The process with which everything of the cluster ends."""
    number: int
    """Differs between clusters that run at the same time."""
    ports: configuration.Ports

    @property
    def url(self) -> str:
        """The apiserver's, without a path."""
        return f"https://127.0.0.1:{self.ports.api}"

    @property
    def authority(self) -> Path:
        """The certificate that vouches for the apiserver's."""
        return Path(self.folder, "keys/authority.crt")

    @property
    def version(self) -> str:
        """Kubernetes', such as `v1.34.4`."""
        return version()

    def token(self, user: str = ADMIN) -> str:
        with Path(self.folder, "keys/tokens.csv").open(newline="") as tokens:
            return next(token for token, name, *_ in csv.reader(tokens) if name == user)

    def kubeconfig(self, user: str = ADMIN) -> str:
        """The file for `user`."""
        return f"{self.folder}/users/{user}"

    def headers(self, user: str = ADMIN) -> dict[str, str]:
        """What the apiserver wants of a request."""
        return {"Authorization": f"Bearer {self.token(user)}"}

    def ask(self, method: str, path: str, body: bytes | Json = None, content: str = "application/json") -> Json:
        """What the apiserver answers to the administrator. Raises urllib.error.HTTPError, and URLError when it doesn't answer."""
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        headers = {**self.headers(), "Content-Type": content}
        asking = urllib.request.Request(self.url + path, data, headers, method=method)
        with _opener(self.authority).open(asking, timeout=START_SECONDS) as answer:
            return json.load(answer)

    def containers(self) -> list[Container]:
        """Those of pods that the node has started so far, as its runtime saw them, the first one first."""
        return recorded(Path(self.folder, "node"))

    def compact(self) -> None:
        """Have etcd forget all that was before now. Who goes on from there is told 410 by an apiserver that starts after this.

        One that runs goes on from what it has in memory (seen on 1.34). A key of nobody's is written twice before: else who has seen
        the last that was written would go on from there, and etcd still tells what came right after a forgotten revision.
        """
        mark = {"key": base64.b64encode(b"forgotten").decode()}
        now = [self._etcd("put", mark)["header"]["revision"] for _ in range(2)][-1]
        self._etcd("compaction", {"revision": now, "physical": True})

    def kwok(self, count: int, gpus: int = configuration.GPUS, model: str = configuration.H100) -> list[str]:
        """Add `count` nodes that kwok plays (see `fakes.py`); their names. They are ready when this returns. Raises LeftOut, Fault."""
        if not self.processes("kwok"):
            self._offer(KWOK)
            Path(self.folder, "kwok.yaml").write_text(fakes.stages())
            self.start("kwok")
        path = f"/api/v1/nodes?labelSelector={configuration.FAKE}"
        first = len(self.ask("GET", path)["items"])
        names = [f"fake-{number}" for number in range(first, first + count)]
        for name in names:
            self.ask("POST", "/api/v1/nodes", fakes.node(name, gpus, model))
        self._until("kwok", lambda: self._all("Ready", path))
        return names

    def kueue(self) -> None:
        """Start Kueue, for Jobs, if it isn't there; it has no queues yet. Raises LeftOut, Fault."""
        if self.processes("kueue"):
            return
        self._offer(KUEUE)
        folder = Path(self.folder, "kueue")
        metrics = folder / "etc/kueue/metrics/certs"
        metrics.mkdir(parents=True)
        for end in ("crt", "key"):
            for certificates in (folder, metrics):
                (certificates / f"tls.{end}").symlink_to(f"{self.folder}/keys/server.{end}")
        config = queueing.configuration(folder, self.ports.kueue, self.ports.kueue_health)
        (folder / "kueue.yaml").write_text(config)
        self.ask("POST", "/api/v1/namespaces", {"metadata": {"name": queueing.NAMESPACE}})
        for path, document in queueing.documents(installed(KUEUE) / "manifests"):
            read = self.ask("POST", f"{path}?dryRun=All", document, "application/yaml")
            self.ask("POST", path, queueing.adapted(read, self.ports.kueue, self.authority))
        self._until("kube-apiserver", lambda: self._all("Established", queueing.CRDS))
        self.start("kueue")

    def processes(self, daemon: str) -> list[int]:
        """Those of a daemon, as the machine numbers them."""
        found = []
        for entry in Path("/proc").glob("[1-9]*"):
            with suppress(OSError):  # it has ended meanwhile
                name, command = (entry / "comm").read_text().strip(), (entry / "cmdline").read_bytes()
                if name == daemon[:15] and f"{self.folder}/".encode() in command:
                    found.append(int(entry.name))
        return found

    def stop(self, daemon: str, how: signal.Signals = signal.SIGKILL) -> None:
        """End a daemon of `ALWAYS`, `kwok` or `kueue`: it has ended when this returns, and stays away until `start`.

        The node ends with all that is on it, as if its power failed. By SIGTERM an apiserver waits for whoever watches, a minute long.
        """
        processes = [os.pidfd_open(process) for process in self.processes(daemon)]
        try:
            for process in processes:
                with suppress(ProcessLookupError):
                    signal.pidfd_send_signal(process, how)
            for process in processes:
                if not select.select([process], [], [], END_SECONDS)[0]:
                    raise TimeoutError(f"{daemon} doesn't end")
        finally:
            for process in processes:
                os.close(process)
        if daemon == "node":
            outside.empty(self.number)
            note_end(Path(self.folder, "node"), datetime.now(UTC))

    def start(self, daemon: str) -> None:
        """Start again what `stop` ended: it is ready when this returns. Raises Fault."""
        began = datetime.now(UTC).replace(microsecond=0)
        command = configuration.commands(Path(self.folder), self.ports, outside.address(self.number))[daemon]
        enter = ["nsenter", f"--target={self.pid}", "--mount", "--pid", "setsid", "--fork"]
        environment = {**ENVIRONMENT, "HOME": self.folder}
        with self._log(daemon).open("ab") as out:
            subprocess.run(
                [*enter, *command], env=environment, check=True, stdin=subprocess.DEVNULL, stdout=out, stderr=out
            )
        self._until(daemon, lambda: self._ready(daemon, began))
        if daemon == "node":  # a kubelet that starts takes away what it doesn't know of
            gpus = {configuration.GPU: str(configuration.GPUS)}
            status = {"status": {"capacity": gpus, "allocatable": gpus}}
            self.ask("PATCH", f"/api/v1/nodes/{configuration.NODE}/status", status, MERGE)

    def _ready(self, daemon: str, began: datetime) -> bool:
        match daemon:
            case "etcd":
                return bool(self._etcd("range", {"key": "AA==", "count_only": True}))
            case "kube-apiserver":
                return self._well(f"{self.url}/readyz")
            case "kube-controller-manager":
                well = self._well(f"https://127.0.0.1:{self.ports.controllers}/healthz")
                # no pod is taken before it has made that
                return well and bool(self.ask("GET", "/api/v1/namespaces/default/serviceaccounts/default"))
            case "kube-scheduler":
                return self._well(f"https://127.0.0.1:{self.ports.scheduler}/healthz")
            case "node":
                return _true(self.ask("GET", f"/api/v1/nodes/{configuration.NODE}"), "Ready", began)
            case "kueue":
                return self._well(f"http://127.0.0.1:{self.ports.kueue_health}/readyz")
        return bool(self.processes(daemon))

    def _well(self, url: str) -> bool:
        asking = urllib.request.Request(url, headers=self.headers())
        with _opener(self.authority).open(asking, timeout=START_SECONDS) as answer:
            return bool(answer.status == 200)

    def _all(self, condition: str, path: str) -> bool:
        return all(_true(each, condition) for each in self.ask("GET", path)["items"])

    def _etcd(self, what: str, body: Json) -> Json:
        asking = urllib.request.Request(f"http://127.0.0.1:{self.ports.etcd}/v3/kv/{what}", json.dumps(body).encode())
        with _opener(self.authority).open(asking, timeout=START_SECONDS) as answer:
            return json.load(answer)

    def _offer(self, part: Module) -> None:
        link = Path(self.folder, "bin", part.name)
        if not link.exists():
            link.symlink_to(installed(part) / part.name)

    def _until(self, daemon: str, holds: Callable[[], object]) -> None:
        began = time.monotonic()
        while not _answers(holds):
            waited = time.monotonic() - began
            if waited > START_SECONDS or (waited > MOMENT_SECONDS and not self.processes(daemon)):
                lines = self._log(daemon).read_text(errors="replace").splitlines()
                raise Fault("\n".join([f"{daemon} isn't ready", *lines[-20:]]))
            time.sleep(0.05)

    def _log(self, daemon: str) -> Path:
        return Path(self.folder, "log", f"{daemon}.log")


@contextmanager
def running() -> Iterator[Cluster]:
    """A cluster of its own until the block ends, or this process does. Raises LeftOut."""
    parts = [installed(part) for part in (RUNTIME, KUBERNETES)]
    folder = tempfile.mkdtemp(prefix="caravan-kubernetes-")
    process = _supervise(parts, folder, stays=False)
    with namespaces.ending(process, folder, END_SECONDS):
        yield _started(process, folder)


def up(folder: str) -> Cluster:
    """A cluster that stays until `down(folder)`; the one that runs there already, if one does. Raises LeftOut."""
    cluster = _found(folder)
    if cluster is None:
        down(folder)
        parts = [installed(part) for part in (RUNTIME, KUBERNETES)]
        Path(folder).mkdir(parents=True)
        try:
            cluster = _started(_supervise(parts, folder, stays=True), folder)
        except LeftOut:
            down(folder)
            raise
    return cluster


def down(folder: str) -> None:
    """End the cluster in `folder`, and remove the folder."""
    namespaces.end(folder, END_SECONDS)
    if Path(folder, "pid").exists():  # what a killed one left
        if Path(folder, BUSYBOX).exists():
            outside.sweep(Path(folder, BUSYBOX))
        shutil.rmtree(folder)


def _found(folder: str) -> Cluster | None:
    """The cluster that runs in `folder`, when all of it has been started."""
    record = Path(folder, "cluster.json")
    return _read(record.read_text()) if namespaces.supervisor(folder) and record.exists() else None


def _read(record: str) -> Cluster:
    found = json.loads(record)
    return Cluster(**{**found, "ports": configuration.Ports(**found["ports"])})


def _supervise(parts: list[Path], folder: str, *, stays: bool) -> subprocess.Popen[str]:
    programs = [str(program) for part in parts for program in part.iterdir()]
    asked = {"folder": os.path.realpath(folder), "programs": programs}
    return namespaces.supervise("tests.backends.kubernetes.supervisor", asked, stays=stays)


def _started(process: subprocess.Popen[str], folder: str) -> Cluster:
    """Wait for the supervisor's word (what the cluster is to be, or else what was wrong), then start the daemons."""
    assert process.stdout
    said = process.stdout.readline()
    if not said.startswith("{"):
        raise LeftOut(f"Kubernetes: {said}{process.stdout.read()}".rstrip())
    cluster = _read(said)
    try:
        for daemon in ALWAYS:
            cluster.start(daemon)
    except (Fault, OSError, subprocess.SubprocessError) as fault:
        raise LeftOut(f"Kubernetes: {fault}") from fault
    Path(folder, "cluster.json").write_text(json.dumps(asdict(cluster), indent=2))
    return cluster


def _true(thing: Json, condition: str, since: datetime | None = None) -> bool:
    """Whether a condition holds of an object of Kubernetes', and was said to at `since` or later."""
    return any(
        each["type"] == condition
        and each["status"] == "True"
        and (since is None or datetime.fromisoformat(each["lastHeartbeatTime"]) >= since)
        for each in thing.get("status", {}).get("conditions") or ()
    )


def _answers(holds: Callable[[], object]) -> object:
    """Whether it holds; what doesn't answer yet doesn't."""
    try:
        return holds()
    except OSError:  # urllib's errors are such
        return False


def _opener(authority: Path) -> urllib.request.OpenerDirector:
    """Asks the server itself, whatever proxies the environment names."""
    context = ssl.create_default_context(cafile=authority)
    return urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))
