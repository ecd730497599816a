"""What runs in the container of a script: it says where the task is, runs it, and tells a signal from an exit code. Pure."""

import shlex
from typing import Final

FOLDER: Final = "/caravan/job"
"""Where the Job's ConfigMap is mounted: this wrapper (`run`) and the tenant's script, byte by byte."""
WORK: Final = "/caravan/work"
"""The working folder, and HOME."""

_WRAPPER: Final = r"""# Runs the tenant's program, as the first process of its container.
at=0
for part in @RANGES@; do
    first=${part%-*} last=${part#*-}
    CARAVAN_ARRAY_INDEX=$((first + JOB_COMPLETION_INDEX / CARAVAN_NODES - at))
    test "$CARAVAN_ARRAY_INDEX" -le "$last" && break
    at=$((at + last - first + 1))
done
export CARAVAN_ARRAY_INDEX
ulimit -c 0
# The kubelet's signal comes to this process alone: it goes on to all others of the container, which then have its grace to end in.
trap 'signalled=1; kill -TERM -1' TERM
(
    trap : TERM
    # What the shell says of a program that a signal ended is the container's last message. Without it, 139 is an exit code like any other.
    exec 3>&2 2>/dev/termination-log
    (exec @COMMAND@ 2>&3 3>&-)
    code=$?
    exec 2>&3
    exit "$code"
) &
child=$!
signalled=1
# A signal ends the wait, and not the child.
while test -n "$signalled"; do
    signalled=
    wait "$child"
    code=$?
done
exit "$code"
"""


def wrapper(script: str, indices: str) -> str:
    """For a script that lies in `FOLDER`, and the array's `indices` as `0-3,7`."""
    parts = " ".join(part if "-" in part else f"{part}-{part}" for part in indices.split(","))
    return _WRAPPER.replace("@RANGES@", parts).replace("@COMMAND@", _command(script))


def _command(script: str) -> str:
    """Runs the script: as the kernel reads a `#!` line (one argument at most), /bin/sh without one.

    What a ConfigMap holds may lie where files aren't executable, so the script is given to its interpreter by name.
    """
    first = script.partition("\n")[0]
    named = first[2:].strip(" \t\r").split(None, 1) if first.startswith("#!") else []
    return shlex.join([*(named or ["/bin/sh"]), f"{FOLDER}/script"])
