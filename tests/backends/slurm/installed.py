"""Slurm installed: a Debian of each release in a folder of CARAVAN_CACHE (~/.cache/caravan).

A folder is made for what goes into it: suite, architecture, recipe (see `shelf.py`); clusters mount it read-only. Making one needs
root and apt: debootstrap is installed when it's missing, and the mirror is the one that this machine's apt uses for Debian.
"""

import os
import platform
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.backends.shelf import CONTAINED, LeftOut, kept, shelf


@dataclass(frozen=True, slots=True)
class Release:
    name: str
    """Slurm's, as year.month; `newest` is whatever Debian testing has."""
    suite: str
    moves: bool = False
    """The suite changes under us, so a run may be right without it."""
    cgroup_plugin: str = "disabled"
    """What its slurmd starts with where there are no cgroups."""
    apptainer: bool = False
    """Its nodes have apptainer."""
    bundles: bool = False
    """Slurm runs OCI bundles on its nodes, by crun."""


# 22.05 doesn't know `disabled`, and looks for no cgroups with the plugin's name given. Only sid has apptainer, which moves like testing.
RELEASES = (
    Release("22.05", "bookworm", cgroup_plugin="cgroup/v1"),
    Release("24.11", "trixie", bundles=True),
    Release("newest", "testing", moves=True, apptainer=True),
)

APT_SETTINGS = ("Acquire::http", "Acquire::https", "Acquire::Check-Valid-Until", "Acquire::Check-Date")
"""What the new folder's apt takes over from this machine's."""

# Users have fixed uids, far from those that a machine gives to its people: a job's files are theirs outside, too.
SLURM = """
set -eu
export DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8 PATH=/usr/sbin:/usr/bin:/sbin:/bin
printf '#!/bin/sh\\nexit 101\\n' >/usr/sbin/policy-rc.d
chmod 755 /usr/sbin/policy-rc.d
printf '%s' "$MACHINE_APT" >/etc/apt/apt.conf.d/machine
cat >/etc/dpkg/dpkg.cfg.d/lean <<C
force-unsafe-io
path-exclude=/usr/share/doc/*
path-exclude=/usr/share/locale/*
path-exclude=/usr/share/man/*
C
apt-get -qq update
apt-get -qq install -y --no-install-recommends slurmctld slurmd slurmdbd slurmrestd slurm-client slurm-wlm-jwt-plugin \
    slurm-wlm-mysql-plugin munge mariadb-server
useradd --uid 47000 --no-create-home --home-dir /tmp slurmrest
useradd --uid 47001 --no-create-home --home-dir /tmp --shell /bin/bash alice
useradd --uid 47002 --no-create-home --home-dir /tmp --shell /bin/bash bob
mkdir -p /etc/slurm /var/lib/mysql /var/log/slurm
echo '127.0.0.1 localhost slurm' >/etc/hosts
"""
# All else stays the suite's own.
APPTAINER = """
sed 's/ [a-z]* main$/ sid main/' /etc/apt/sources.list >/etc/apt/sources.list.d/sid.list
printf 'Package: *\\nPin: release n=sid\\nPin-Priority: 10\\n' >/etc/apt/preferences.d/sid
apt-get -qq update
apt-get -qq install -y --no-install-recommends apptainer/sid busybox-static
rm /etc/apt/sources.list.d/sid.list /etc/apt/preferences.d/sid
"""
CRUN = """
apt-get -qq install -y --no-install-recommends crun busybox-static
"""
CLEAN = """\
apt-get clean
rm -rf /var/lib/apt/lists/* /var/lib/mysql/* /var/log/*.log /etc/munge/munge.key /etc/apt/apt.conf.d/machine
"""


def installed(release: Release) -> Path:
    """The folder with the release's Debian, made when it isn't there yet. Raises LeftOut."""
    if os.geteuid() != 0:
        raise LeftOut(f"Slurm {release.name}: only root can start it")
    inputs = f"{release.suite} {platform.machine()} {recipe(release)}"
    return kept(shelf("slurm"), release.suite, inputs, lambda root: _make(release, root))


def recipe(release: Release) -> str:
    """What a shell does in the new folder."""
    return SLURM + APPTAINER * release.apptainer + CRUN * release.bundles + CLEAN


def _make(release: Release, root: Path) -> None:
    log = shelf("slurm") / f"{release.suite}.log"
    with log.open("w") as out:
        try:
            mirror = _debian()
            apt = _says("apt-config", "dump", *APT_SETTINGS)
            proxy = dict(re.findall(r'^Acquire::(http)::Proxy "(.+)";$', apt, re.MULTILINE))
            enter = 'mount -t proc proc "$0/proc"; exec chroot "$0" sh -c "$1"'
            environment = {
                **os.environ,
                **{f"{scheme}_proxy": url for scheme, url in proxy.items()},
                "MACHINE_APT": apt,
            }
            for command in (
                ["debootstrap", "--variant=minbase", release.suite, str(root), mirror],
                ["sh", "-ec", enter, str(root), recipe(release)],
            ):
                subprocess.run([*CONTAINED, *command], env=environment, check=True, stdout=out, stderr=out)
        except (OSError, subprocess.CalledProcessError) as fault:
            raise LeftOut(f"Slurm {release.name}: {fault.__class__.__name__} while installing it; see {log}") from fault


def _debian() -> str:
    """The mirror of Debian's archive among this machine's apt sources; debootstrap is there afterwards."""
    apt = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    subprocess.run(["apt-get", "-qq", "update"], check=True, env=apt, stdout=subprocess.DEVNULL)
    if not shutil.which("debootstrap"):
        install = ["apt-get", "-qq", "install", "-y", "--no-install-recommends", "debootstrap"]
        subprocess.run(install, check=True, env=apt, stdout=subprocess.DEVNULL)
    for line in _says("apt-get", "indextargets", "--format", "$(ORIGIN) $(LABEL) $(REPO_URI)").splitlines():
        if line.startswith("Debian Debian "):
            return line.split()[2]
    raise FileNotFoundError("apt has no source of Debian's own archive here")


def _says(*command: str) -> str:
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def must_run(release: Release) -> bool:
    """Whether leaving the release out is a failure here."""
    return os.environ.get("CI") == "true" and not release.moves
