"""The batch script around what a tenant runs: it says where the task is, runs it, and leaves its exit code. Pure."""

import shlex
from typing import Final

_WRAPPER: Final = r"""#!/bin/sh
# Runs the tenant's program, and leaves its exit code beside its output. A script of the tenant's stands below the last line.
job=${SLURM_ARRAY_JOB_ID:-$SLURM_JOB_ID}
export CARAVAN_ARRAY_INDEX="${SLURM_ARRAY_TASK_ID:-@INDEX@}"
export CARAVAN_SUBMISSION="$job-@TASKS@-@TAG@-@USER@"
export SLURM_ARRAY_TASK_ID="$CARAVAN_ARRAY_INDEX"
left=@FOLDER@/caravan-@TAG@-$job.$CARAVAN_ARRAY_INDEX.exit
# of a run before this one
rm -f "$left"
ulimit -c 0
folder=$(mktemp -d "${TMPDIR:-/tmp}/caravan.XXXXXXXX" || mktemp -d "$PWD/.caravan.XXXXXXXX") || exit 1
tail -n +@LINE@ "$0" >"$folder/script" || exit 1
# A signal is the program's, which has KillWait to end in; this shell waits for it.
trap : TERM INT HUP USR1 USR2
exec 3>&2 2>"$folder/said"
(exec @COMMAND@ 2>&3 3>&-)
code=$?
exec 2>&3 3>&-
# The shell says something of a program that a signal ended. Without it, 139 is an exit code like any other.
ended=$code
test "$code" -gt 128 && test -s "$folder/said" && ended=$((128 - code))
printf '%s\n' "$ended" >"$left.part" && mv "$left.part" "$left"
rm -rf "$folder"
trap - TERM INT HUP USR1 USR2
test "$ended" -lt 0 && kill "$ended" $$
exit "$code"
"""


def batch_script(command: str, script: str, *, folder: str, tag: str, user: str, index: int, tasks: int) -> str:
    """Around a command that is quoted for a shell, in which `$folder` is a folder of this run's own with `script` in it, byte by byte.

    `index` is what a job without an array runs, `tasks` the size of an array (0 without one), `folder` the tenant's.
    """
    filled = (
        _WRAPPER.replace("@LINE@", str(_WRAPPER.count("\n") + 1))
        .replace("@INDEX@", str(index))
        .replace("@TASKS@", str(tasks))
        .replace("@TAG@", tag)
        .replace("@USER@", user)
        .replace("@FOLDER@", shlex.quote(folder))
        .replace("@COMMAND@", command)
    )
    return filled + script


def command(script: str) -> str:
    """Runs the script: as the kernel reads a `#!` line (one argument at most), /bin/sh without one.

    The script lies where files may not be executable (noexec), so it is given to its interpreter by name.
    """
    first = script.partition("\n")[0]
    named = first[2:].strip(" \t\r").split(None, 1) if first.startswith("#!") else []
    return f'{shlex.join(named or ["/bin/sh"])} "$folder/script"'
