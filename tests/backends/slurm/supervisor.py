"""The first process of a cluster's namespaces: starts the daemons, waits for the end, and leaves nothing.

`cluster.py` starts it under `unshare`, so it is process 1 there: what it started ends with it, however it ends. The daemons see a root
made of the installed folder (read-only) and a few folders in memory; FOLDER is at the same path for them as for the machine.
"""

import json
import os
import secrets
import select
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from tests.backends import namespaces
from tests.backends.slurm import configuration
from tests.backends.slurm.cluster import ENVIRONMENT, Cluster, record
from tests.backends.slurm.installed import RELEASES, Release

START_SECONDS = 60
# Debian testing's MariaDB has another folder by default. What a crash would lose is removed anyway. slurmdbd's way with transactions
# fails under what MariaDB 11.8 does unless it's told (older ones don't know that option).
MARIADB = " ".join(
    (
        "--no-defaults",
        "--datadir=/var/lib/mysql",
        "--skip-networking",
        "--innodb-buffer-pool-size=64M",
        "--innodb-log-file-size=16M",
        "--innodb-lock-wait-timeout=900",
        "--innodb-flush-log-at-trx-commit=0",
        "--loose-innodb-snapshot-isolation=OFF",
    )
)

# A chroot may have no user namespaces of its own (unshare(2)), and apptainer needs one.
PIVOTED = ("unshare", "--mount", "sh", "-ec", 'cd "$0"; pivot_root . .; umount --lazy .; exec "$@"')


class Fault(Exception):
    """The cluster doesn't start."""


class Supervisor:
    def __init__(self, release: Release, installed: Path, folder: Path, *, stays: bool) -> None:
        self.release = release
        self.installed = installed
        self.folder = folder
        self.root = folder / "root"
        self.stays = stays
        self.daemons: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, changes: Mapping[str, str]) -> configuration.Ports:
        ports = configuration.Ports.free()
        self._lay_out()
        self._configure(ports, changes)
        self._daemon("munged", "munge", "munged --foreground --key-file=/run/munge/key --seed-file=/run/munge/seed")
        self._run(f"mariadb-install-db {MARIADB} --user=mysql --auth-root-authentication-method=socket --skip-test-db")
        self._daemon("mariadbd", "mysql", f"mariadbd {MARIADB} --init-file=/run/mysqld/start.sql")
        self._until("mariadbd", lambda: self._says("mariadb-admin --no-defaults ping"))
        self._daemon("slurmdbd", "slurm", "slurmdbd -D")
        self._until("slurmdbd", lambda: self._says("sacctmgr -n show tres"))
        self._run("sacctmgr -i add cluster caravan")
        self._run("sacctmgr -i add account proj1,proj2 Description=project Organization=caravan")
        self._run("sacctmgr -i add user alice,bob Account=proj1,proj2 DefaultAccount=proj1")
        self._daemon("slurmctld", "slurm", "slurmctld -D")
        self._until("slurmctld", lambda: self._says("scontrol ping"))
        for node in configuration.NODES:
            self._start(f"slurmd.{node}", [*PIVOTED, str(self.root), "slurmd", "-D", "-N", node])
        self._daemon("slurmrestd", "slurmrest", configuration.slurmrestd(ports.rest), SLURM_JWT="daemon")
        self._until("slurmrestd", lambda: listens(ports.rest))
        idle = "sinfo -h -N -p batch -t idle"
        self._until("slurmctld", lambda: self._says(idle).count("\n") == len(configuration.NODES))
        return ports

    def version(self) -> str:
        return self._run("sinfo --version").split()[-1]

    def keep(self) -> None:
        """Return when the cluster isn't wanted any longer."""
        while self._wanted():
            time.sleep(0.2)
            namespaces.reap()

    def end(self) -> None:
        namespaces.kill_all()
        os.chdir("/")
        if self.root.is_mount():
            subprocess.run(["umount", "--recursive", "--lazy", self.root], check=True)
        shutil.rmtree(self.folder)

    def _wanted(self) -> bool:
        """Until the pipe at standard input closes; or, of a cluster that stays, until the signal that ends this process."""
        return self.stays or not select.select([sys.stdin], [], [], 0)[0]

    def _lay_out(self) -> None:
        """The root that the daemons see."""
        socket.sethostname(configuration.HOST)
        self.folder.chmod(0o755)
        self.root.mkdir()
        mount("-t", "tmpfs", "-o", "mode=755", "slurm", self.root)
        for entry in self.installed.iterdir():
            here = self.root / entry.name
            if entry.is_symlink():
                here.symlink_to(entry.readlink())
            elif entry.name in ("etc", "usr", "var"):
                self._bind(entry, here, "remount,bind,ro")
            else:
                here.mkdir()
        mount("-t", "proc", "proc", self.root / "proc")
        self._bind(Path("/sys"), self.root / "sys", "remount,bind,ro")
        cgroup = self.root / "sys/fs/cgroup"
        if self.release.bundles and cgroup.is_dir():  # crun looks there, also when it is to use none
            mount("-t", "tmpfs", "-o", "mode=755", "cgroup", cgroup)
        (self.root / "tmp").chmod(0o1777)
        self._devices(self.root / "dev")
        seen_at = {"etc": "etc/slurm", "log": "var/log/slurm", "database": "var/lib/mysql", ".": str(self.folder)[1:]}
        for name, at in seen_at.items():
            (self.folder / name).mkdir(exist_ok=True)
            self._bind(self.folder / name, self.root / at)

    def _devices(self, dev: Path) -> None:
        numbers = {"null": (1, 3), "zero": (1, 5), "full": (1, 7), "random": (1, 8), "urandom": (1, 9), "tty": (5, 0)}
        # the accelerators are clones of /dev/null
        for name, number in (numbers | dict.fromkeys(configuration.DEVICES, (1, 3))).items():
            os.mknod(dev / name, 0o20666, os.makedev(*number))
            (dev / name).chmod(0o666)
        links = {"fd": "/proc/self/fd", "stdin": "fd/0", "stdout": "fd/1", "stderr": "fd/2", "ptmx": "pts/ptmx"}
        for name, target in links.items():
            (dev / name).symlink_to(target)
        for name in ("pts", "shm"):
            (dev / name).mkdir()
        (dev / "shm").chmod(0o1777)
        mount("-t", "devpts", "-o", "ptmxmode=666", "devpts", dev / "pts")

    def _configure(self, ports: configuration.Ports, changes: Mapping[str, str]) -> None:
        state = configuration.STATE
        self._own("slurm", "/var/log/slurm", state, f"{state}/controller")
        self._own("root", *(f"{state}/{node}" for node in configuration.NODES))
        self._own("munge", "/run/munge")
        self._own("mysql", "/run/mysqld", "/var/lib/mysql")
        self._write("/run/munge/key", secrets.token_bytes(128), "munge")
        self._write(configuration.KEY, secrets.token_bytes(32), "slurm")
        self._write("/etc/slurm/slurmdbd.conf", configuration.slurmdbd_conf(ports).encode(), "slurm")
        self._write("/run/mysqld/start.sql", configuration.DATABASE.encode(), "mysql")
        etc = self.folder / "etc"
        (etc / "slurm.conf").write_text(configuration.slurm_conf(ports, changes))
        (etc / "gres.conf").write_text(configuration.GRES)
        (etc / "cgroup.conf").write_text(f"CgroupPlugin={self.release.cgroup_plugin}\n")
        if self.release.bundles:
            (etc / "oci.conf").write_text(configuration.OCI)
        (self.folder / "work").mkdir()
        (self.folder / "work").chmod(0o1777)

    def _daemon(self, name: str, user: str, command: str, **environment: str) -> None:
        self._start(name, self._as(user, command.split()), **environment)

    def _start(self, name: str, command: list[str], **environment: str) -> None:
        with (self.folder / "log" / f"{name}.out").open("wb") as out:
            self.daemons[name] = subprocess.Popen(
                command,
                env={**ENVIRONMENT, **environment},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
            )

    def _as(self, user: str, command: list[str]) -> list[str]:
        return ["chroot", f"--userspec={user}", "--groups=", str(self.root), *command]

    def _run(self, command: str) -> str:
        """What a command of the cluster prints."""
        done = subprocess.run(
            self._as("root", command.split()), env=ENVIRONMENT, capture_output=True, text=True, timeout=START_SECONDS
        )
        if done.returncode:
            raise Fault(f"{command}: {done.stderr or done.stdout}")
        return done.stdout

    def _says(self, command: str) -> str:
        """As `_run`; nothing when it fails."""
        try:
            return self._run(command)
        except Fault:
            return ""

    def _until(self, name: str, holds: Callable[[], object]) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not holds():
            ended = [name for name, daemon in self.daemons.items() if daemon.poll() is not None]
            if ended:
                raise Fault(f"{ended[0]} ended\n{self._log(ended[0])}")
            if time.monotonic() > deadline or not self._wanted():
                raise Fault(f"{name} isn't ready\n{self._log(name)}")
            time.sleep(0.05)

    def _log(self, name: str) -> str:
        logs = [self.folder / "log" / f"{name}{end}" for end in (".out", ".log")]
        lines = [line for log in logs if log.exists() for line in log.read_text(errors="replace").splitlines()]
        return "\n".join(lines[-20:])

    def _own(self, user: str, *folders: str) -> None:
        self._run(f"install -d -m 755 -o {user} {' '.join(folders)}")

    def _write(self, path: str, content: bytes, user: str) -> None:
        """A file that `user` alone may read."""
        file = self.root / path[1:]
        file.touch(0o600)
        file.write_bytes(content)
        self._run(f"chown {user} {path}")

    def _bind(self, what: Path, where: Path, *options: str) -> None:
        where.mkdir(parents=True, exist_ok=True)
        mount("--bind", what, where)
        for option in options:
            mount("-o", option, where)


def mount(*arguments: str | Path) -> None:
    subprocess.run(["mount", *arguments], check=True)


def listens(port: int) -> bool:
    with socket.socket() as tried:
        return tried.connect_ex(("127.0.0.1", port)) == 0


def api_versions(cluster: Cluster) -> tuple[str, ...]:
    """Those that slurmrestd's own description of itself names, the oldest first."""
    asking = urllib.request.Request(f"{cluster.url}/openapi/v3", headers=cluster.headers())
    with urllib.request.urlopen(asking, timeout=START_SECONDS) as answer:
        paths = json.load(answer)["paths"]
    return tuple(sorted({path.split("/")[2] for path in paths if path.startswith("/slurm/v")}))


def main() -> None:
    asked = json.loads(sys.argv[1])
    folder = Path(asked["folder"])
    pid = namespaces.enter(folder)
    release = next(release for release in RELEASES if release.name == asked["release"])
    supervisor = Supervisor(release, Path(asked["installed"]), folder, stays=asked["stays"])
    try:
        ports = supervisor.start(asked["changes"])
        url = f"http://127.0.0.1:{ports.rest}"
        cluster = Cluster(release.name, supervisor.version(), url, (), str(folder), pid)
        record(replace(cluster, api_versions=api_versions(cluster)))
        print(flush=True)
        supervisor.keep()
    except (Fault, OSError, subprocess.SubprocessError) as fault:
        print(f"{type(fault).__name__}: {fault}", flush=True)
    finally:
        supervisor.end()


if __name__ == "__main__":
    main()
