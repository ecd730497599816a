"""The options of sbatch in one table each: how they are written, and which are used, warned of or refused."""

from typing import Final

SHORT: Final = {
    "A": "account", "a": "array", "B": "extra-node-info", "b": "begin", "C": "constraint", "c": "cpus-per-task",
    "D": "chdir", "d": "dependency", "e": "error", "F": "nodefile", "G": "gpus", "H": "hold", "i": "input",
    "J": "job-name", "k": "no-kill", "L": "licenses", "M": "clusters", "m": "distribution", "N": "nodes", "n": "ntasks",
    "O": "overcommit", "o": "output", "p": "partition", "Q": "quiet", "q": "qos", "S": "core-spec",
    "s": "oversubscribe", "t": "time", "v": "verbose", "W": "wait", "w": "nodelist", "x": "exclude",
}  # fmt: skip
ALIAS: Final = {"tasks": "ntasks", "workdir": "chdir", "share": "oversubscribe", "cluster": "clusters"}
"""Older names that sbatch still takes."""
BARE: Final = frozenset({
    "contiguous", "hold", "ignore-pbs", "no-requeue", "overcommit", "oversubscribe", "parsable", "quiet", "reboot", "requeue",
    "spread-job", "stepmgr", "test-only", "use-min-nodes", "verbose", "wait",
})  # fmt: skip
"""They take no value."""
OPTIONAL: Final = frozenset({"exclusive", "get-user-env", "nice", "no-kill", "propagate", "resv-ports"})
"""Their value comes after `=` or not at all."""
USED: Final = frozenset({
    "array", "cpus-per-task", "export", "gpus", "gpus-per-node", "gpus-per-task", "gres", "ignore-pbs", "job-name", "mem",
    "mem-per-cpu", "mem-per-gpu", "no-requeue", "nodes", "ntasks", "ntasks-per-node", "requeue", "time",
})  # fmt: skip

_PLACED = "the platform chooses where it runs; --offering, --provider or --tier narrow that"
_CHOICE = "the platform chooses where it runs; --option {0}=NAME asks for it where an offering leaves it to jobs"
_PACE = "it changes how fast the job starts or runs, not what it computes"
_CORES = "the site lays out cores as it does; it changes how fast the job runs, not what it computes"
_KEPT = "the platform keeps what the job writes: caravan jobs logs"
_OWN = "it is about sbatch itself"
WARNED: Final = {
    "account": "the project given with --project pays",
    "acctg-freq": "the platform meters by itself",
    "comment": "it isn't kept; --label name=value is",
    "clusters": _PLACED,
    "contiguous": _PACE,
    "core-spec": _CORES,
    "cores-per-socket": _CORES,
    "cpu-freq": _PACE,
    "delay-boot": _PACE,
    "distribution": _CORES,
    "error": _KEPT,
    "exclude": "these names belong to one cluster; " + _PLACED,
    "extra": "--label name=value is kept",
    "extra-node-info": _CORES,
    "gpu-bind": _CORES,
    "gpu-freq": _PACE,
    "gres-flags": _CORES,
    "hint": _CORES,
    "kill-on-invalid-dep": "jobs don't know of each other here",
    "mail-type": "no mail is sent; caravan jobs wait tells when it has ended",
    "mail-user": "no mail is sent; caravan jobs wait tells when it has ended",
    "mem-bind": _CORES,
    "network": _PACE,
    "nice": "jobs have no priority here",
    "no-kill": "a job that loses a node is tried again",
    "ntasks-per-core": _CORES,
    "ntasks-per-socket": _CORES,
    "open-mode": _KEPT,
    "output": _KEPT,
    "oversubscribe": "what a job was given is not shared",
    "parsable": _OWN + "; --json is for programs",
    "partition": _CHOICE.format("partition"),
    "prefer": _PLACED,
    "priority": "jobs have no priority here",
    "power": _PACE,
    "profile": "no profile is kept",
    "propagate": "limits are the site's",
    "qos": _CHOICE.format("qos"),
    "quiet": _OWN,
    "reboot": _PACE,
    "reservation": _CHOICE.format("reservation"),
    "segment": _PACE,
    "sockets-per-node": _CORES,
    "spread-job": _CORES,
    "stepmgr": _PACE,
    "switches": _PACE,
    "thread-spec": _CORES,
    "threads-per-core": _CORES,
    "time-min": "the job is given its whole --time",
    "tres-bind": _CORES,
    "use-min-nodes": _PACE,
    "verbose": _OWN,
    "wait": _OWN + "; caravan submit --wait stays until the job has ended",
    "wait-all-nodes": _PACE,
    "wckey": "--label name=value is kept",
}
_IN_SCRIPT = "the job would run without it; do it in the script, and remove the line"
_SHAPE = (
    "the job could be given less than it needs; write --ntasks-per-node, --cpus-per-task and --mem, and remove the line"
)
_LATER = "the job would start at once; submit it when it may start, and remove the line"
REFUSED: Final = {
    "bb": _IN_SCRIPT,
    "bbf": _IN_SCRIPT,
    "begin": _LATER,
    "chdir": "the site chooses the folder that a job starts in; write a cd into the script, and remove the line",
    "constraint": "features of nodes are one cluster's own; submit with --option constraint=NAME, for an offering that leaves it to "
    "jobs, or say what it needs as --gpus-per-node or --mem, and remove the line",
    "container": "caravan submit --image runs a container, without a script; or start it in the script, and remove the line",
    "cpus-per-gpu": _SHAPE,
    "deadline": "the job would run after it too; submit it in time, and remove the line",
    "dependency": "jobs don't know of each other here; wait for the other job (caravan jobs wait JOB), then submit this one without "
    "the line",
    "exclusive": "a job gets the cores and memory that it asks for, not the whole node; ask for all of a node's, and remove the line",
    "export-file": "the file isn't read; name the variables with --export, and remove the line",
    "get-user-env": "a login's environment isn't loaded; source what the script needs in it, and remove the line",
    "gpus-per-socket": "write --gpus-per-node",
    "hold": _LATER,
    "input": "a job reads nothing from stdin; redirect it in the script, and remove the line",
    "licenses": "licenses aren't counted here; make sure that there is one, and remove the line",
    "mincpus": _SHAPE,
    "nodefile": "nodes aren't chosen by name; submit with --offering, and remove the line",
    "nodelist": "nodes aren't chosen by name; submit with --offering, and remove the line",
    "ntasks-per-gpu": _SHAPE,
    "overcommit": "each task has a core of its own; write fewer tasks, and remove the line",
    "resv-ports": _IN_SCRIPT,
    "signal": "no signal is sent ahead of the end; let the script watch the clock (timeout --signal …), and remove the line",
    "test-only": "the job would really be submitted; caravan quote says where it could run",
    "tmp": "the size of a node's disk isn't known here; submit with --offering, and remove the line",
    "tres-per-task": _SHAPE,
}
KNOWN: Final = USED | WARNED.keys() | REFUSED.keys()
