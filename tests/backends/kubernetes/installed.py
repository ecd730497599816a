"""Kubernetes installed: folders of programs in CARAVAN_CACHE (see `shelf.py`), built from Go modules or out of Debian's packages.

A folder is made for what goes into it: the files of `hyper/`, `kwok/` or `kueue/` beside this one, or the names of the packages. Go's
caches (gigabytes) are removed with each build. Nothing is installed on the machine itself.
"""

import os
import platform
import re
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from tests.backends.shelf import CONTAINED, LeftOut, kept, shelf

HERE = Path(__file__).parent
SAY_SECONDS = 30


@dataclass(frozen=True, slots=True)
class Module:
    """A program that is built from the Go module in the folder of its name."""

    name: str
    package: str
    """Of the program, as Go names it."""
    links: tuple[str, ...] = ()
    """What else the program is called: it does what its name says."""
    stamps: bool = False
    """Kubernetes' version is written into it."""
    manifests: str = ""
    """The folder of the package's own module that is kept beside the program."""

    def inputs(self) -> str:
        files = sorted(HERE.joinpath(self.name).iterdir())
        return "".join(f"{file.name}\n{file.read_text()}" for file in files) + repr(self)

    def make(self, folder: Path, log: Path) -> None:
        if not shutil.which("go"):
            raise LeftOut(f"Kubernetes: there is no Go here to build {self.name} with")
        caches = folder.parent / "go"
        caches.joinpath("tmp").mkdir(parents=True)
        environment = {
            **os.environ,
            "CGO_ENABLED": "0",
            "GOMODCACHE": f"{caches}/modules",
            "GOCACHE": f"{caches}/built",
            "GOTMPDIR": f"{caches}/tmp",
        }
        linked = ["-s", "-w", *(_stamp() if self.stamps else [])]
        # what is for a debugger is left out of all, which takes a twentieth of the time
        build = [
            "go",
            "build",
            "-v",
            "-trimpath",
            "-buildvcs=false",
            "-gcflags=all=-dwarf=false",
            f"-ldflags={' '.join(linked)}",
        ]
        _run([*build, f"-o={folder}/{self.name}", self.package], log, HERE / self.name, environment)
        for link in self.links:
            (folder / link).symlink_to(self.name)
        if self.manifests:
            where = ["go", "list", "-f", "{{.Module.Dir}}", self.package]
            module = subprocess.run(where, cwd=HERE / self.name, env=environment, check=True, stdout=subprocess.PIPE)
            shutil.copytree(Path(os.fsdecode(module.stdout.strip()), self.manifests), folder / "manifests")


@dataclass(frozen=True, slots=True)
class Packages:
    """Programs out of Debian's packages, without what those depend on."""

    name: str
    packages: tuple[str, ...]
    programs: tuple[str, ...]

    def inputs(self) -> str:
        return repr(self)

    def make(self, folder: Path, log: Path) -> None:
        fetched, unpacked = folder.parent / "packages", folder.parent / "unpacked"
        fetched.mkdir()
        _run(["apt-get", "-qq", "update"], log)
        _run(["apt-get", "-qq", "download", *self.packages], log, fetched)
        for package in fetched.iterdir():
            _run(["dpkg-deb", "--extract", str(package), str(unpacked)], log)
        folder.mkdir()
        for program in self.programs:
            (unpacked / program).rename(folder / Path(program).name)


KUBERNETES = Module(
    "hyper", ".", ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet"), stamps=True
)
KWOK = Module("kwok", "sigs.k8s.io/kwok/cmd/kwok")
KUEUE = Module("kueue", "sigs.k8s.io/kueue/cmd/kueue", manifests="config/components")
RUNTIME = Packages(
    "runtime",
    ("containerd", "runc", "containernetworking-plugins", "busybox-static"),
    (
        *("usr/bin/containerd", "usr/bin/containerd-shim-runc-v2", "usr/bin/ctr", "usr/sbin/runc"),
        *("usr/lib/cni/bridge", "usr/lib/cni/host-local", "usr/lib/cni/loopback", "bin/busybox"),
    ),
)
PARTS = (RUNTIME, KUBERNETES, KWOK, KUEUE)


def installed(part: Module | Packages) -> Path:
    """The folder of a part, made when it isn't there yet. Raises LeftOut."""
    if os.geteuid() != 0:
        raise LeftOut("Kubernetes: only root can start it")
    return kept(shelf("kubernetes"), part.name, f"{platform.machine()} {part.inputs()}", lambda to: _make(part, to))


def version() -> str:
    """Kubernetes', such as `v1.34.4`."""
    module = HERE.joinpath(KUBERNETES.name, "go.mod").read_text()
    (found,) = re.findall(r"^\tk8s\.io/kubernetes (v\S+)$", module, re.MULTILINE)
    return str(found)


def must_run() -> bool:
    """Whether leaving Kubernetes out is a failure here."""
    return os.environ.get("CI") == "true"


def _make(part: Module | Packages, folder: Path) -> None:
    log = shelf("kubernetes") / f"{part.name}.log"
    log.write_text("")
    began = time.monotonic()
    _say(f"making {part.name}, a matter of minutes; see {log}")
    try:
        part.make(folder, log)
    except (OSError, subprocess.CalledProcessError) as fault:
        last = (log.read_text().splitlines() or [str(fault)])[-1]
        raise LeftOut(f"Kubernetes: {part.name} can't be made: {last} (see {log})") from fault
    _say(f"made {part.name} in {time.monotonic() - began:.0f} s")


def _stamp() -> list[str]:
    """How the linker is told the version: without it a kubelet is too old for its apiserver."""
    full = version()
    major, minor, _ = full[1:].split(".")
    values = {"gitVersion": full, "gitMajor": major, "gitMinor": minor}
    return [f"-X k8s.io/component-base/version.{name}={value}" for name, value in values.items()]


def _run(command: list[str], log: Path, folder: Path = HERE, environment: dict[str, str] | None = None) -> None:
    """Run a step, and say now and then how far it is."""
    with log.open("a") as out:
        nicely = ["nice", "-n", "10", *command]
        process = subprocess.Popen([*CONTAINED, *nicely], cwd=folder, env=environment, stdout=out, stderr=out)
        while True:
            try:
                if process.wait(SAY_SECONDS):
                    raise subprocess.CalledProcessError(process.returncode, command)
                return
            except subprocess.TimeoutExpired:
                _say(f"{log.stem}: {len(log.read_text().splitlines())} steps done")


def _say(what: str) -> None:
    print(f"Kubernetes: {what}", file=sys.stderr, flush=True)
