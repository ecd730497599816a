"""A running cluster as a test sees it, and how one is started and ended."""

import base64
import hmac
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.backends import namespaces
from tests.backends.shelf import LeftOut
from tests.backends.slurm import configuration
from tests.backends.slurm.installed import Release, installed

END_SECONDS = 30
START_SECONDS = 60
ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin", "LC_ALL": "C.UTF-8"}
"""Of all that runs in a cluster, jobs apart."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """Users `alice` and `bob` have the accounts `proj1` (their default) and `proj2`; see `configuration.py` for nodes and partitions."""

    release: str
    """`Release.name`."""
    version: str
    """In full, such as `22.05.8`."""
    url: str
    """slurmrestd's, without a path."""
    api_versions: tuple[str, ...]
    """The versions that slurmrestd serves, such as `v0.0.38`, the oldest first."""
    folder: str
    """Holds `etc` (the configuration and the signing key), `log` and `work`. Its path is the same for jobs."""
    pid: int
    """The process with which everything of the cluster ends."""

    @property
    def etc(self) -> Path:
        return Path(self.folder, "etc")

    @property
    def work(self) -> Path:
        """Where jobs of all users may write."""
        return Path(self.folder, "work")

    def token(self, user: str = "alice", seconds: int = 3600) -> str:
        """A token for `user`, signed with the cluster's key; its life begins now and may be negative."""
        now = int(time.time())
        parts = {"alg": "HS256", "typ": "JWT"}, {"iat": now, "exp": now + seconds, "sun": user}
        signed = b".".join(_base64(json.dumps(part).encode()) for part in parts)
        signature = hmac.digest((self.etc / "jwt_hs256.key").read_bytes(), signed, "sha256")
        return (signed + b"." + _base64(signature)).decode()

    def headers(self, user: str = "alice") -> dict[str, str]:
        """What slurmrestd wants of a request. 22.05 needs the name too; newer ones take it from the token."""
        return {"X-SLURM-USER-NAME": user, "X-SLURM-USER-TOKEN": self.token(user)}

    def run(self, *command: str, user: str = "root") -> str:
        """Run one of Slurm's commands in the cluster; its output. Raises CalledProcessError."""
        enter = ["nsenter", f"--target={self.pid}", "--mount", "--pid", "--uts"]
        become = ["chroot", f"--userspec={user}", "--groups=", f"{self.folder}/root", *command]
        return subprocess.run([*enter, *become], env=ENVIRONMENT, check=True, capture_output=True, text=True).stdout

    def offer(self, command: str, folder: Path) -> None:
        """Put a program of that name into `folder` which is the cluster's, in its caller's time zone and format of times."""
        enter = f"nsenter --target={self.pid} --mount --pid --uts chroot {self.folder}/root"
        program = folder / command
        program.write_text(
            f'#!/bin/sh\nexec {enter} env TZ="$TZ" SLURM_TIME_FORMAT="$SLURM_TIME_FORMAT" {command} "$@"\n'
        )
        program.chmod(0o755)

    def processes(self, daemon: str) -> list[int]:
        """Those of a daemon, as the machine numbers them."""
        inside = os.readlink(f"/proc/{self.pid}/ns/pid")
        found = []
        for entry in Path("/proc").glob("[1-9]*"):
            with suppress(OSError):  # it has ended meanwhile
                if (entry / "comm").read_text().strip() == daemon and os.readlink(entry / "ns/pid") == inside:
                    found.append(int(entry.name))
        return found

    def stop(self, daemon: str, how: signal.Signals = signal.SIGTERM) -> None:
        """End `slurmctld`, `slurmdbd` or `slurmrestd`: it has ended when this returns, and stays away until `start`."""
        for process in self.processes(daemon):
            with suppress(ProcessLookupError):
                os.kill(process, how)
        _until(lambda: not self.processes(daemon), f"{daemon} to end")

    def start(self, daemon: str) -> None:
        """Start again what `stop` ended: it answers when this returns."""
        port = self.url.rpartition(":")[2]
        rest = f"SLURM_JWT=daemon setsid --fork {configuration.slurmrestd(int(port))} </dev/null >/dev/null 2>&1"
        starts, user, asks = {
            "slurmctld": (["slurmctld"], "slurm", ["scontrol", "ping"]),
            "slurmdbd": (["slurmdbd"], "slurm", ["sacctmgr", "--noheader", "show", "tres"]),
            "slurmrestd": (["sh", "-c", rest], "slurmrest", ["bash", "-c", f"exec 3<>/dev/tcp/127.0.0.1/{port}"]),
        }[daemon]
        self.run(*starts, user=user)
        _until(lambda: self._says(*asks), f"{daemon} to answer")

    def _says(self, *command: str) -> bool:
        try:
            self.run(*command)
        except subprocess.CalledProcessError:
            return False
        return True


@contextmanager
def running(release: Release, changes: Mapping[str, str] | None = None) -> Iterator[Cluster]:
    """A cluster of its own until the block ends, or this process does. `changes` are settings of slurm.conf. Raises LeftOut."""
    root = installed(release)
    folder = tempfile.mkdtemp(prefix=f"caravan-slurm-{release.name}-")
    process = _supervise(release, root, folder, changes or {}, stays=False)
    with namespaces.ending(process, folder, END_SECONDS):
        yield _ready(release, process, folder)


def up(release: Release, folder: str) -> Cluster:
    """A cluster that stays until `down(folder)`; the one that runs there already, if one does. Raises LeftOut."""
    cluster = _found(folder)
    if cluster is None:
        down(folder)
        root = installed(release)
        Path(folder).mkdir(parents=True)
        cluster = _ready(release, _supervise(release, root, folder, {}, stays=True), folder)
    return cluster


def down(folder: str) -> None:
    """End the cluster in `folder`, and remove the folder."""
    namespaces.end(folder, END_SECONDS)
    if Path(folder, "pid").exists():  # what a killed one left
        shutil.rmtree(folder)


def record(cluster: Cluster) -> None:
    """Leave what `cluster` is in its folder, for another process."""
    Path(cluster.folder, "cluster.json").write_text(json.dumps(asdict(cluster), indent=2))


def _until(holds: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not holds():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {START_SECONDS} s in vain: {what}")
        time.sleep(0.02)


def _base64(content: bytes) -> bytes:
    return base64.urlsafe_b64encode(content).rstrip(b"=")


def _found(folder: str) -> Cluster | None:
    """The cluster that runs in `folder`, when it's ready."""
    record = Path(folder, "cluster.json")
    if not (namespaces.supervisor(folder) and record.exists()):
        return None
    found = json.loads(record.read_text())
    return Cluster(**{**found, "api_versions": tuple(found["api_versions"])})


def _supervise(
    release: Release, root: Path, folder: str, changes: Mapping[str, str], *, stays: bool
) -> subprocess.Popen[str]:
    asked = {
        "release": release.name,
        "installed": str(root),
        "folder": os.path.realpath(folder),
        "changes": dict(changes),
    }
    return namespaces.supervise("tests.backends.slurm.supervisor", asked, "--uts", stays=stays)


def _ready(release: Release, process: subprocess.Popen[str], folder: str) -> Cluster:
    """Wait for the supervisor's word: an empty line when the cluster runs, else what was wrong."""
    assert process.stdout
    said = process.stdout.readline()
    cluster = _found(folder) if said == "\n" else None
    if cluster is None:
        raise LeftOut(f"Slurm {release.name}: {said}{process.stdout.read()}".rstrip())
    return cluster
