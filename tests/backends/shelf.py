"""What real backends are installed into, or built in: folders of CARAVAN_CACHE (~/.cache/caravan), one for each state of what goes in.

Such a folder is made once and never written again, so it's safe to share between checkouts, and to remove when nothing of it runs.
"""

import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

# What a step of an installation mounts or starts goes with its namespaces, and they go with this process.
CONTAINED = ("setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--pid", "--fork", "--kill-child")


class LeftOut(Exception):
    """A backend that can't be set up here; the message says which, and why."""


def shelf(backend: str) -> Path:
    """Where the folders of a backend are."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(os.environ.get("CARAVAN_CACHE") or Path(home) / "caravan") / backend
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def kept(shelf: Path, name: str, inputs: str, make: Callable[[Path], None]) -> Path:
    """The folder that `make` made of these inputs. It's given where to make it: what it puts beside that is removed.

    One process makes one folder of a shelf at a time, and what was cut short is never taken for the whole.
    """
    folder = shelf / f"{name}-{hashlib.sha256(inputs.encode()).hexdigest()[:16]}"
    if not folder.exists():
        with (shelf / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not folder.exists():
                for left in shelf.glob(".fresh.*"):  # by a process that was killed: we hold the lock
                    shutil.rmtree(left)
                with tempfile.TemporaryDirectory(prefix=".fresh.", dir=shelf) as fresh:
                    make(Path(fresh, "made"))
                    Path(fresh, "made").rename(folder)
    return folder
