"""Builds the wheel, installs it far from the sources and asks the platform it serves: `python -m scripts.wheel_check`.

The environment holds what requirements/runtime.txt pins and the wheel, nothing else, and the server runs in an empty
folder: a file that the wheel lacks, or a dependency that only development has, shows here.
"""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parent.parent
SERVICES = ("catalog", "broker", "accounting")
START_SECONDS = 60


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="caravan-wheel-") as folder:
        for line in asked(install(build(Path(folder)), Path(folder)), Path(folder) / "served"):
            print(line)


def asked(binaries: Path, served: Path) -> list[str]:
    """Serve from an empty folder and ask every service."""
    served.mkdir()
    with serving(binaries, served) as url:
        return [f"GET /{service}/healthz {answer(f'{url}/{service}/healthz')}" for service in SERVICES]


def build(folder: Path) -> Path:
    """The wheel of the committed tree: what lies around in this one must not get in."""
    source = folder / "source"
    source.mkdir()
    archive = subprocess.run(["git", "archive", "HEAD"], cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout
    subprocess.run(["tar", "-x"], cwd=source, check=True, input=archive)
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(source)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return next(folder.glob("*.whl"))


def install(wheel: Path, folder: Path, python: str = sys.executable) -> Path:
    """The wheel and what it needs in an environment of `python`'s own; the folder of its commands."""
    environment = folder / "environment"
    subprocess.run([python, "-m", "venv", str(environment)], check=True)
    pip = [str(environment / "bin" / "python"), "-m", "pip", "install", "-q", "--no-compile"]
    subprocess.run([*pip, "--require-hashes", "-r", str(ROOT / "requirements" / "runtime.txt")], check=True)
    subprocess.run([*pip, "--no-deps", str(wheel)], check=True)
    subprocess.run([str(environment / "bin" / "python"), "-m", "pip", "check"], check=True)
    return environment / "bin"


@contextmanager
def serving(binaries: Path, folder: Path) -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = folder.parent / "serve.log"
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "CARAVAN_MODE": "development"}
    with log.open("wb") as output:
        server = subprocess.Popen(
            [str(binaries / "caravan"), "serve", "--port", str(port)],
            cwd=folder,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        wait_for(f"http://127.0.0.1:{port}/{SERVICES[0]}/healthz", server)
        yield f"http://127.0.0.1:{port}"
        server.send_signal(signal.SIGTERM)
        # uvicorn stops cleanly, then raises the signal again
        if server.wait(timeout=30) not in (0, -signal.SIGTERM) or "Traceback" in log.read_text():
            raise SystemExit(f"`caravan serve` ended badly on SIGTERM ({server.returncode})")
    except BaseException:
        print(log.read_text(errors="replace"), file=sys.stderr)
        raise
    finally:
        if server.poll() is None:
            server.kill()
            server.wait()


def wait_for(url: str, server: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            answer(url)
            return
        except urllib.error.URLError as error:
            if server.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"{url} never answered: {error}") from error
        time.sleep(0.1)


def answer(url: str) -> str:
    with urllib.request.urlopen(url, timeout=10) as response:
        return f"{response.status} {response.read().decode()}"


if __name__ == "__main__":
    main()
