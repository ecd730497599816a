"""Files that are there whole or not at all, also after the power fails. Standard library only: the supervisor imports it bare."""

import json
import os
from typing import Any


def sync_folder(path: str) -> None:
    """Make the names in a folder durable."""
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def write(path: str, data: bytes, *, mode: int = 0o600) -> None:
    """A new file in a folder that nobody looks into yet: synced, not renamed."""
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(file, view) :]
        os.fchmod(file, mode)
        os.fsync(file)
    finally:
        os.close(file)


def dumps(content: Any) -> str:
    return json.dumps(content, separators=(",", ":"))


def _temporary(path: str) -> str:
    folder, name = os.path.split(path)
    return os.path.join(folder, f".{name}.{os.getpid()}.{os.urandom(4).hex()}")


def is_temporary(entry: str, name: str) -> bool:
    """Whether a folder's entry is a file called `name` that was never finished."""
    return entry.startswith(f".{name}.")


def replace(path: str, content: Any, *, mode: int = 0o600) -> None:
    """Write `content` as JSON by temporary file, fsync, rename, fsync of the folder."""
    temporary = _temporary(path)
    write(temporary, dumps(content).encode(), mode=mode)
    os.rename(temporary, path)
    sync_folder(os.path.dirname(path))


def create(path: str, content: Any, *, mode: int = 0o600) -> bool:
    """Write `content` as JSON if nothing is at `path`: whole and durable when seen. False when something was there."""
    temporary = _temporary(path)
    write(temporary, dumps(content).encode(), mode=mode)
    try:
        os.link(temporary, path)
    except FileExistsError:
        return False
    finally:
        os.unlink(temporary)
    sync_folder(os.path.dirname(path))
    return True


def read(path: str) -> dict[str, Any] | None:
    """The JSON object at `path`, or None when there is none."""
    try:
        with open(path, "rb") as file:
            content: dict[str, Any] = json.load(file)
            return content
    except FileNotFoundError:
        return None
