"""The wheel works on every Python that the platform promises and this machine has."""

import os
import re
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

from bench.case import Trial, Verdict, case
from scripts.wheel_check import ROOT, asked, build, install

OLDEST = (3, 11)
PACKED = ("caravan", "services")


@case(
    "pythons",
    claim="The wheel installs from the pinned requirements, serves and answers on Python 3.11 and every other python3.N on PATH",
    goal="3 services answer on each",
)
def pythons(trial: Trial) -> Verdict:
    found = interpreters()
    wheel = build(trial.folder)
    return installed(trial, wheel, found) if trial.long else unpacked(trial, wheel, found)


def installed(trial: Trial, wheel: Path, found: dict[str, str]) -> Verdict:
    answered = {}
    for version, python in found.items():
        folder = trial.folder / version
        folder.mkdir()
        answered[version] = len(asked(install(wheel, folder, python), folder / "served"))
        trial.say(f"{version}: {answered[version]} services answer")
    return Verdict(
        "3.11" in answered and all(count == 3 for count in answered.values()),
        ", ".join(f"{version}: {count} services answer" for version, count in answered.items()),
    )


def unpacked(trial: Trial, wheel: Path, found: dict[str, str]) -> Verdict:
    """The short form, without an index of packages: the wheel has every file of the packages, and each Python reads all of them."""
    folder = trial.folder / "unpacked"
    with ZipFile(wheel) as archive:
        archive.extractall(folder)
    lost = sorted(committed() - {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()})
    faults = {"not in the wheel": " ".join(lost)} | {
        version: unread(python, folder) for version, python in found.items()
    }
    for name, fault in faults.items():
        if fault:
            trial.say(f"{name}: {fault}")
    return Verdict(
        bool(found) and not any(faults.values()),
        f"{len(lost)} files not in the wheel; the others read by {', '.join(one for one in found if not faults[one]) or 'none'}",
        {"faults": faults},
    )


def committed() -> set[str]:
    """Every file of the packages, by its path."""
    listed = subprocess.run(
        ["git", "ls-tree", "-r", "-z", "--name-only", "HEAD", *PACKED],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    return set(listed.stdout.split("\0")) - {""}


def unread(python: str, folder: Path) -> str:
    """What this Python says of files whose language it doesn't know; nothing where it knows all."""
    command = [python, "-m", "compileall", "-q", "-f", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else done.stdout + done.stderr


def interpreters() -> dict[str, str]:
    """Version -> a python3.N on PATH that runs (a shim may lead nowhere) and can make environments; this one too."""
    found = {"{}.{}".format(*sys.version_info): sys.executable}
    for folder in os.get_exec_path():
        for path in sorted(Path(folder).glob("python3.*")) if Path(folder).is_dir() else ():
            version = re.fullmatch(r"python(3\.(\d+))", path.name)
            if version and (3, int(version[2])) >= OLDEST and version[1] not in found and runs(path):
                found[version[1]] = str(path)
    return found


def runs(python: Path) -> bool:
    command = [str(python), "-c", "import ensurepip, venv"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0
