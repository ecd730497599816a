"""The jobs, one for each way to end, and what each of their tasks must come to. Pure data."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from tests.backends.kubernetes.configuration import GPUS

Place = Literal["cpu", "gpu", "missing", "slow"]
"""An offering: of the node's CPUs; with its GPUs; of an image that isn't anywhere; of one whose registry never answers."""

DISK_MIB: Final = 24
"""What a pod may write."""


@dataclass(frozen=True)
class End:
    """How one task ends. `code` and `signal`: None where nothing is to be said of how its program ended."""

    state: str
    outcome: str | None
    code: int | None = None
    runs: int = 1
    """Containers that it had."""
    taken: int = 0
    """The first so many of them were taken from it by the centre, which bears what they held."""


DONE: Final = End("succeeded", "succeeded", 0)
LIMIT: Final = End("failed", "limit")
CANCELLED: Final = End("cancelled", "cancelled")
NEVER: Final = End("cancelled", None, runs=0)


@dataclass(frozen=True)
class Asked:
    """A job. `ends` has the array's indexes; a job without an array has index 0."""

    name: str
    body: str
    ends: Mapping[int, End] = field(default_factory=lambda: {0: DONE})
    place: Place = "cpu"
    says: str | None = None
    """Its output, `@` for the index. None: it isn't looked at."""
    command: tuple[str, ...] = ()
    """Of a container, instead of a script."""
    memory_mib: int = 64
    accelerators: int = 0
    walltime_seconds: int = 120
    max_parallel: int | None = None
    waits: str | None = None
    """Words in what it says while it waits."""
    slow: bool = False
    """It takes long, and stands in the long form alone."""

    @property
    def script(self) -> str:
        return f"#!/bin/sh\n{self.body}\n"


CANCEL_PENDING, CANCEL_PULLING, CANCEL_RUNNING = "cancel-pending", "cancel-pulling", "cancel-running"
NO_ROOM, SUSPENDED = "unschedulable", "suspended"
ODD: Final = "".join(
    f"{odd}\n"
    for odd in (
        "$(HOME) $$ ${X} $X", "`x` 'y' \"z\" \\ \\n", "核时 🚀\t\u2028 é", "\x01\x1b[1m\x7f", "  ", "%s {0} {{ }} # ; & | < > * ? ~ !",
    )
)  # fmt: skip
LINE: Final = "0123456789abcde"
PRIMES: Final = "n = [p for p in range(2, 5000) if all(p % d for d in range(2, int(p ** 0.5) + 1))]"
PYTHON: Final = f"""cd $HOME/python && export PYTHONHOME=$PWD
./ld --library-path . ./python3 -S -c 'import json; {PRIMES}; print(json.dumps([len(n), sum(n)]))'"""
"""See `python.py`."""
ARRAY: Final = dict.fromkeys(range(10), DONE) | {4: End("failed", "user", 5)}

ASKED: Final = (
    Asked("success", "echo success; sleep 2", says="success\n"),
    Asked("exit-7", "echo seven; sleep 1; exit 7", {0: End("failed", "user", 7)}, says="seven\n"),
    Asked("memory", "x=$(head -c 200000000 /dev/zero | tr '\\0' x); echo ${#x}", {0: LIMIT}, memory_mib=32, says=""),
    Asked("disk", f"echo filling; head -c {2 * DISK_MIB}m /dev/zero > /tmp/full; exec sleep 600", {0: LIMIT}, slow=True),
    Asked("walltime", "echo long; exec sleep 600", {0: LIMIT}, walltime_seconds=3, says="long\n"),
    Asked(CANCEL_RUNNING, "echo held; exec sleep 600", {0: CANCELLED}, "gpu", accelerators=GPUS, says="held\n"),
    Asked(CANCEL_PENDING, "exit 0", {0: NEVER}, "gpu", accelerators=GPUS, waits="Insufficient nvidia.com/gpu"),
    Asked(NO_ROOM, "echo room; sleep 1", place="gpu", accelerators=2, says="room\n", waits="Insufficient nvidia.com/gpu"),
    Asked(CANCEL_PULLING, "exit 0", {0: NEVER}, "slow"),
    Asked("no-image", "exit 0", {0: End("failed", "site", runs=0)}, "missing"),
    Asked("start-error", "", {0: End("failed", "user", 128, runs=0)}, command=("/no/such/program",)),
    Asked("array", 'echo "task $CARAVAN_ARRAY_INDEX"; sleep 1; test "$CARAVAN_ARRAY_INDEX" != 4 || exit 5', ARRAY,
          max_parallel=3, says="task @\n"),
    Asked(SUSPENDED, "echo whole; sleep 4", {0: End("succeeded", "succeeded", 0, runs=2, taken=1)}, says="whole\n", slow=True),
    Asked("odd", f"cat <<'THE END'\n{ODD}THE END\n", says=ODD),
    # of what is written in a container's last moment containerd 1.6.20 may lose up to 64 KiB for good
    Asked("output", f"yes {LINE} | head -n 65536; sleep 1", says=f"{LINE}\n" * 65536),
    Asked("python", PYTHON, says="[669, 1548136]\n"),
)  # fmt: skip
