"""The ways in which one looks at a job, and what its owner must see in them. `{job}` is Slurm's id of it, `{own}` the looker's folder."""

import shlex
from typing import Final

from bench.leaking import WORD

KINDS: Final = ("script", "environment", "output", "name", "argument")
"""Where a job carries a word."""

SLURM: Final = {
    "scontrol show job": "scontrol show job -dd {job}",
    "scontrol write batch_script": "scontrol write batch_script {job} -",
    "squeue, all fields": "squeue --all --format=%all",
    "sacct, all fields": "sacct --allusers --parsable --starttime=now-1hour --format=$(sacct --helpformat | xargs | tr ' ' ,)",
    "sacct --batch-script": "sacct --jobs={job} --batch-script",
    "sacct --env-vars": "sacct --jobs={job} --env-vars",
    "srun into the job": "timeout 10 srun --jobid={job} --overlap find {folder} -type f -exec cat {{}} +",
}  # fmt: skip
FILES: Final = {
    "the tenant's folder": "ls -laR {folder}; find {folder} -type f -exec cat {{}} +",
    "its output": "cat {output}",
    "a symlink to it": "ln -sfn {output} {own}/link && cat {own}/link",
    "a symlink to the folder": "ln -sfn {folder} {own}/link && find {own}/link/ -type f -exec cat {{}} +",
    "a hard link to it": "ln -f {output} {own}/hard && cat {own}/hard",
    "slurmd's spool": "cat /run/slurm/n*/job*/*",
    "slurmctld's state": "cat /run/slurm/controller/* /run/slurm/controller/hash*/job*/*",
    "temporary folders, logs, settings": "grep -rhas xian- /tmp /var/tmp /dev/shm /run /var/log /etc/slurm",
}
PROCESSES: Final = {
    "/proc/*/environ": "cat /proc/[0-9]*/environ",
    "/proc/*/cmdline": "cat /proc/[0-9]*/cmdline",
    "/proc/*/fd": "for file in /proc/[0-9]*/fd/*; do test -f $file && cat $file; done",
    "/proc/*/cwd": "find /proc/[0-9]*/cwd/ -maxdepth 1 -type f -exec cat {{}} +",
}
ON_A_MACHINE: Final = {"Slurm": SLURM, "files": FILES, "processes": PROCESSES}
BY_REST: Final = (
    "slurm/{version}/job/{job}",
    "slurm/{version}/jobs/",
    "slurmdb/{version}/job/{job}",
    "slurmdb/{version}/jobs/?start_time=now-1hour",
)
PLANTED: Final = "planted at its output"
"""The place of what `plants.py` has."""
MUST_BE_SEEN: Final = (
    ("Slurm", "script"), ("Slurm", "environment"), ("Slurm", "name"), ("files", "script"), ("files", "output"),
    ("processes", "environment"), ("processes", "argument"), ("slurmrestd", "name"), ("Caravan", "name"), ("Caravan", "output"),
    ("a job of one's own", "output"), ("a job of one's own", "environment"), (PLANTED, "output"),
)  # fmt: skip
"""Place and kind: what an owner sees of its own there."""


def words_of(commands: str) -> str:
    """A script that runs them and says what secret words they gave."""
    return f"{{ {commands}\n}} 2>&1 | grep -ao {shlex.quote(WORD)} | sort -u"
