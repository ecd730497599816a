"""The wheel works on every Python that the platform promises and this machine has."""

import os
import re
import subprocess
import sys
from pathlib import Path

from bench.case import Trial, Verdict, case
from scripts.wheel_check import asked, build, install

OLDEST = (3, 11)


@case(
    "pythons",
    claim="The wheel installs from the pinned requirements, serves and answers on Python 3.11 and every other python3.N on PATH",
    goal="3 services answer on each",
)
def pythons(trial: Trial) -> Verdict:
    found = interpreters()
    if not trial.long:
        return Verdict(bool(found), f"found {', '.join(found)}")
    wheel = build(trial.folder)
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
