"""What the `#SBATCH` lines of a batch script ask for, in a JobSpec's terms, and what of it can't be had. Pure.

Read as sbatch(1) of 25.11 reads them: lines that begin with `#SBATCH`, before the first command; the last of two wins. An option is used,
or leaving it out changes nothing about what the job computes (a warning), or it would (an error that says what to do instead).
"""

import re
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, TypeVar

from caravan.contracts.jobs import MAX_ARRAY_INDEX, Resources
from caravan.contracts.offerings import Accelerator

T = TypeVar("T")
MARK: Final = "#SBATCH"
KIB: Final = {"K": 1, "M": 1024, "G": 1024**2, "T": 1024**3}
TIMES: Final = {"": 1, "k": 1024, "m": 1024**2}
MOST_INDICES: Final = 100_000
MOST: Final = 1_000_000
"""Of nodes, tasks, cores: what is more is a slip, and JobSpec's own limits are lower."""
MOST_SECONDS: Final = 366 * 86_400
DEFAULT_WALLTIME_SECONDS: Final = 3600
DEFAULT_MEMORY_MIB: Final[int] = Resources.model_fields["memory_mib_per_node"].default

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
    "partition": _PLACED,
    "prefer": _PLACED,
    "priority": "jobs have no priority here",
    "power": _PACE,
    "profile": "no profile is kept",
    "propagate": "limits are the site's",
    "qos": _PLACED,
    "quiet": _OWN,
    "reboot": _PACE,
    "reservation": _PLACED,
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
    "constraint": "features of nodes aren't known here; say what it needs as --gpus-per-node or --mem, or submit with --offering, and "
    "remove the line",
    "container": "there are no containers here; start it in the script, and remove the line",
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


@dataclass(frozen=True)
class Written:
    """An option as it stands in the script."""

    line: int
    name: str
    value: str
    text: str


@dataclass(frozen=True)
class Note:
    """What was found at an option; no line where the option is missing."""

    line: int | None
    option: str
    why: str

    def __str__(self) -> str:
        return f"{self.option}: {self.why}" if self.line is None else f"line {self.line}: {self.option}: {self.why}"


@dataclass
class Request:
    """What the lines ask for: fields of a JobSpec, of its resources and of its environment, None where they don't say.

    `kind` is the accelerator's name as it stands in the script; `match` finds it in a catalog.
    """

    fields: dict[str, Any] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)
    resources: dict[str, Any] = field(default_factory=dict)
    kind: tuple[Written, str] | None = None
    warnings: list[Note] = field(default_factory=list)
    errors: list[Note] = field(default_factory=list)


def read(script: str, decided: Mapping[str, Any], environ: Mapping[str, str]) -> Request:
    """`decided` has what the command line says, fields of a spec and of its resources alike: it wins, and the rest is worked out with it.

    `environ` is where `--export=NAME` finds its values.
    """
    request = Request()
    options: dict[str, Written] = {}
    for one in _written(script, request):
        options.pop(one.name, None)
        options[one.name] = one
    if options:
        _Reader(options, decided, request).read(environ)
    for notes in (request.warnings, request.errors):
        notes.sort(key=lambda note: note.line or 0)
    return request


def match(kind: str, accelerators: Sequence[Accelerator]) -> Accelerator:
    """The one accelerator that `kind` names: its id, model or alias, or else words of them (`h100`). ValueError says what there is."""
    wanted = _words(kind)
    names = {a.id: [a.id, a.id.removeprefix("acc_"), a.model, *a.aliases] for a in accelerators}
    found = [a for a in accelerators if any(_words(name) == wanted for name in names[a.id])]
    found = found or [
        a for a in accelerators if set(wanted) <= {w for n in (*names[a.id], a.vendor) for w in _words(n)}
    ]
    if len(found) == 1 and wanted:
        return found[0]
    there = ", ".join(a.id for a in (found if wanted and found else accelerators)) or "none"
    known = "may be any of" if wanted and found else "is no accelerator of the catalog, which has"
    raise ValueError(f"{kind!r} {known} {there}; say which with --accelerator")


def seconds(text: str) -> int:
    """Minutes, m:s, h:m:s, d-h, d-h:m or d-h:m:s as seconds, in whole minutes: Slurm rounds up."""
    if text.upper() in ("INFINITE", "UNLIMITED", "-1"):
        raise ValueError("a job has an end here; write how long it may take")
    found = re.fullmatch(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?", text, re.ASCII)
    if found is None:
        raise ValueError("write minutes, m:s, h:m:s, d-h, d-h:m or d-h:m:s")
    days, *rest = found.groups()
    parts = [int(part) for part in rest if part is not None]
    if days is not None or len(parts) == 3:
        hours, minutes, secs = parts + [0] * (3 - len(parts))
    else:
        hours, minutes, secs = 0, parts[0], parts[1] if len(parts) == 2 else 0
    total = ((int(days or 0) * 24 + hours) * 60 + minutes) * 60 + secs
    if not total:
        raise ValueError("0 is no limit for Slurm, and a job has an end here; write how long it may take")
    if total > MOST_SECONDS:
        raise ValueError("a job may take 366 days at most")
    return -(-total // 60) * 60


def memory_mib(text: str) -> int:
    """A size in MiB, or with K, M, G or T; less than a MiB counts as one."""
    found = re.fullmatch(r"(\d+)(?:([KMGT])B?)?", text, re.ASCII | re.IGNORECASE)
    if found is None:
        raise ValueError("write a number with K, M, G or T; MiB without")
    kib = int(found[1]) * KIB[(found[2] or "M").upper()]
    if not kib:
        raise ValueError("0 is all of a node's memory for Slurm; write how much it needs")
    return -(-kib // 1024)


def array(text: str) -> dict[str, Any]:
    """`0-9:2,20%4` as an Array: sorted, each index once."""
    found = re.fullmatch(r"([\d,:\-]+)(?:%(\d+))?", text, re.ASCII)
    if found is None:
        raise ValueError(f"{text!r} is no array; write 0-3, 1,5,7 or 0-99%10")
    indices: set[int] = set()
    for part in found[1].split(","):
        one = re.fullmatch(r"(\d+)(?:-(\d+)(?::(\d+))?)?", part)
        first, last, step = (int(one[1]), int(one[2] or one[1]), int(one[3] or 1)) if one else (1, 0, 0)
        if first > last or step == 0:
            raise ValueError(f"{part!r} is no range of indexes")
        if last > MAX_ARRAY_INDEX or len(range(first, last + 1, step)) > MOST_INDICES:
            raise ValueError(f"{part!r} has too many indexes: at most {MOST_INDICES:,}, none above {MAX_ARRAY_INDEX:,}")
        indices.update(range(first, last + 1, step))
    if found[2] and int(found[2]) == 0:
        raise ValueError("at most 0 at once is none; write %1 or more")
    return {"indices": sorted(indices)} | ({"max_parallel": int(found[2])} if found[2] else {})


def _written(script: str, request: Request) -> Iterator[Written]:
    """The options in their order. A line is a comment, empty, or the first command."""
    command = False
    for number, text in enumerate(script.split("\n"), 1):
        if not text.startswith(MARK):
            command = command or text.strip()[:1] not in ("", "#")
        elif command:
            request.warnings.append(
                Note(number, text.strip(), "it stands after the first command, where sbatch doesn't read it")
            )
        elif text.endswith("\r"):
            request.errors.append(
                Note(number, text.strip(), "the lines end in CR LF, which no shell takes; convert the file (dos2unix)")
            )
            return
        else:
            try:
                yield from _options(number, text[len(MARK) :])
            except ValueError as error:
                request.errors.append(Note(number, text.strip(), str(error)))


def _options(number: int, text: str) -> Iterator[Written]:
    """One line, as getopt_long(3) takes it: `--name=value`, `--name value`, `-n value`, `-nvalue`, an unambiguous beginning of a name."""
    splitter = shlex.shlex(text, posix=True)
    splitter.whitespace_split = True
    words = list(splitter)
    if words[:1] in (["hetjob"], ["packjob"]):
        raise ValueError("a job of several parts isn't possible here; submit each part as a job of its own")
    while words:
        word = words.pop(0)
        if word.startswith("--") and len(word) > 2:
            given, equals, value = word[2:].partition("=")
            name = _full(given)
            if equals and name in BARE:
                raise ValueError(f"--{name} takes no value")
            if not equals and name not in BARE | OPTIONAL:
                value = _next(words, f"--{name}")
            yield Written(number, name, value, f"--{name}" + (f"={value}" if value else ""))
        elif word.startswith("-") and len(word) > 1 and word[1] in SHORT:
            name, rest = SHORT[word[1]], word[2:]
            if name in BARE | OPTIONAL:
                words[:0] = [f"-{rest}"] if rest else []
                yield Written(number, name, "", word[:2])
            else:
                value = rest or _next(words, word)
                yield Written(number, name, value, f"{word[:2]} {value}")
        else:
            raise ValueError(f"{word!r} is no option of sbatch; correct or remove it")


def _full(given: str) -> str:
    found = {ALIAS.get(name, name) for name in KNOWN | ALIAS.keys() if name.startswith(given)}
    if given in KNOWN or given in ALIAS:
        return ALIAS.get(given, given)
    if len(found) == 1:
        return found.pop()
    if found:
        raise ValueError(f"--{given} may be " + ", ".join(f"--{name}" for name in sorted(found)) + "; write it out")
    raise ValueError(f"--{given} is no option of sbatch that is known here; correct or remove it")


def _next(words: list[str], option: str) -> str:
    if not words:
        raise ValueError(f"{option} needs a value")
    return words.pop(0)


def _words(text: str) -> list[str]:
    return re.findall(r"[a-z0-9.]+|[^\W_]+", text.lower())


def _count(text: str) -> int:
    count = int(text) if re.fullmatch(r"\d+", text, re.ASCII) else 0
    if not 0 < count <= MOST:
        raise ValueError(f"write a number from 1 to {MOST:,}")
    return count


def _nodes(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"(\d+)([km]?)(?:-(\d+)([km]?))?", text, re.ASCII | re.IGNORECASE)
    if found is None:
        raise ValueError("write a number, or the least and the most (2-4)")
    least = _count(found[1]) * TIMES[found[2].lower()]
    most = _count(found[3]) * TIMES[found[4].lower()] if found[3] else least
    if not least <= most <= MOST:
        raise ValueError(f"the smaller number comes first, and neither is above {MOST:,}")
    return least, most


def _devices(text: str, option: str) -> tuple[int, str | None]:
    """`gpu:h100:2`, or `h100:2` where gpu is meant anyway, as a count and a kind. A gres of another name is a kind itself (`dcu:4`)."""
    total, kinds = 0, set[str | None]()
    for part in text.split(","):
        name, *rest = re.split("[:=]", ("" if option == "gres" else "gpu:") + part.strip().removeprefix("gres/"))
        count = int(rest.pop()) if rest and re.fullmatch(r"\d+", rest[-1], re.ASCII) else 1
        if not name or len(rest) > 1 or (rest and not rest[0]):
            raise ValueError("write gpu:2 or gpu:h100:2" if option == "gres" else "write 2 or h100:2")
        if name == "none" and option == "gres":
            continue
        total += count
        kinds.add(rest[0] if rest else None if name == "gpu" else name)
    if len(kinds) > 1:
        raise ValueError("a job has one kind of accelerator here; ask for one, or submit two jobs")
    return total, kinds.pop() if kinds else None


class _Reader:
    """Works out a request from the options of one script."""

    def __init__(self, options: Mapping[str, Written], decided: Mapping[str, Any], request: Request) -> None:
        self.options, self.decided, self.request = options, decided, request

    def read(self, environ: Mapping[str, str]) -> None:
        fields, resources = self.request.fields, self.request.resources
        for one in self.options.values():
            if one.name in WARNED:
                self.warn(one, WARNED[one.name])
            elif one.name in REFUSED:
                self.fail(one, REFUSED[one.name])
        fields["name"] = self.value("job-name", str, "name")
        fields["array"] = self.value("array", array, "array")
        again = [name for name in self.options if name in ("requeue", "no-requeue")]
        fields["max_attempts"] = 1 if again[-1:] == ["no-requeue"] else None
        self.export(environ)
        resources["walltime_seconds"] = self.value("time", seconds, "walltime_seconds")
        resources["cpus_per_task"] = self.value("cpus-per-task", _count, "cpus_per_task")
        resources["nodes"], resources["tasks_per_node"] = self.layout()
        resources["accelerators_per_node"] = self.accelerators()
        resources["memory_mib_per_node"] = self.memory()
        missing = "there is no such line; {} asked for, where Slurm takes the partition's default"
        if not {"time", "walltime_seconds"} & {*self.options, *self.decided}:
            self.request.warnings.append(Note(None, "--time", missing.format("1 hour is")))
        if not {"mem", "mem-per-cpu", "mem-per-gpu", "memory_mib_per_node"} & {*self.options, *self.decided}:
            self.request.warnings.append(Note(None, "--mem", missing.format(f"{DEFAULT_MEMORY_MIB} MiB per node are")))

    def warn(self, one: Written, why: str) -> None:
        self.request.warnings.append(Note(one.line, one.text, why))

    def fail(self, one: Written, why: str) -> None:
        self.request.errors.append(Note(one.line, one.text, why))

    def value(self, name: str, parse: Callable[[str], T], decides: str | None = None) -> T | None:
        """None when it isn't there, the command line says otherwise, or it is wrong, which is noted."""
        one = self.options.get(name)
        if one is None or decides in self.decided:
            return None
        try:
            return parse(one.value)
        except ValueError as error:
            self.fail(one, str(error))
            return None

    def said(self, resource: str) -> int:
        """What the job has of it: the command line's, the script's, or one."""
        return int(self.decided.get(resource) or self.request.resources.get(resource) or 1)

    def layout(self) -> tuple[int | None, int | None]:
        """Nodes and tasks per node. Beside --ntasks, --ntasks-per-node is a maximum (sbatch(1))."""
        span = self.value("nodes", _nodes, "nodes")
        tasks = self.value("ntasks", _count)
        most = self.value("ntasks-per-node", _count, "tasks_per_node")
        if self.decided.get("nodes"):
            span = self.decided["nodes"], self.decided["nodes"]
        each = self.decided.get("tasks_per_node")
        if each and tasks and span is None:
            if tasks % each:
                self.fail(self.options["ntasks"], f"they don't come in {each} to a node; give --nodes too")
            return tasks // each, None
        if tasks is None or each:
            if span and span[0] < span[1]:
                self.warn(self.options["nodes"], f"a job has one number of nodes here: {span[0]}")
            return span and span[0], most
        return self.spread(tasks, span, most)

    def spread(self, tasks: int, span: tuple[int, int] | None, most: int | None) -> tuple[int | None, int | None]:
        """Tasks over nodes, the same number on each: the fewest nodes of the span that allow it."""
        asked = self.options["ntasks"]
        if span is None:
            nodes = -(-tasks // most) if most else 1
            if tasks > 1 and not most:
                self.warn(asked, "all tasks are asked for on one node; write --nodes to spread them")
            span = nodes, nodes
        elif tasks < span[0] and "nodes" not in self.decided:
            self.warn(self.options["nodes"], f"{tasks} tasks take {tasks} nodes, as for Slurm")
            span = tasks, tasks
        for nodes in range(span[0], min(span[1], tasks) + 1):
            if tasks % nodes == 0 and (most is None or tasks // nodes <= most):
                if span[0] < span[1]:
                    self.warn(self.options["nodes"], f"a job has one number of nodes here: {nodes}")
                return nodes, tasks // nodes
        over = f"{span[0]}" if span[0] == span[1] else f"{span[0]} to {span[1]}"
        limit = f", at most {most} on each" if most else ""
        self.fail(
            asked,
            f"each node has the same number of tasks here, and {tasks} don't go over {over} nodes{limit}; change one",
        )
        return None, None

    def accelerators(self) -> int | None:
        """How many per node; notes the kind."""
        found: dict[str, int] = {}
        kinds: dict[str, Written] = {}
        for name in ("gres", "gpus-per-node", "gpus-per-task", "gpus"):
            asked = self.value(name, partial(_devices, option=name))
            if asked is None:
                continue
            one, (count, kind) = self.options[name], asked
            if kind is not None and count:
                kinds[kind] = one
            if name == "gpus-per-task":
                count *= self.said("tasks_per_node")
            elif name == "gpus":
                count, rest = divmod(count, self.said("nodes"))
                if rest and "accelerators_per_node" not in self.decided:
                    self.fail(
                        one,
                        f"each node has the same number here, and they don't go over {self.said('nodes')} nodes; change one",
                    )
                elif count > 1 and not {"nodes", "ntasks-per-node"} & {*self.options, *self.decided}:
                    self.warn(one, "all are asked for on one node; write --nodes to spread them")
            if found and count not in found.values() and "accelerators_per_node" not in self.decided:
                self.fail(
                    one,
                    f"--{next(iter(found))} asks for {next(iter(found.values()))} per node, this for {count}; remove one",
                )
            found[name] = count
        if len(kinds) > 1 and "accelerator" not in self.decided:
            self.fail(
                [*kinds.values()][-1], "a job has one kind of accelerator here: " + " or ".join(kinds) + "; remove one"
            )
        count = self.decided.get("accelerators_per_node", next(iter(found.values()), None))
        if kinds and count and "accelerator" not in self.decided:
            kind, one = next(iter(kinds.items()))
            self.request.kind = one, kind
        return count if found else None

    def memory(self) -> int | None:
        """Per node; what is asked per core or accelerator is worked out with the job's own numbers."""
        given = [name for name in self.options if name in ("mem", "mem-per-cpu", "mem-per-gpu")]
        if "memory_mib_per_node" in self.decided or not given:
            return None
        name, one = given[-1], self.options[given[-1]]
        if len(given) > 1:
            self.fail(one, f"it excludes --{given[0]}; remove one")
        each = self.value(name, memory_mib)
        if each is None or name == "mem":
            return each
        if name == "mem-per-cpu":
            return each * self.said("tasks_per_node") * self.said("cpus_per_task")
        count = self.decided.get("accelerators_per_node", self.request.resources["accelerators_per_node"])
        if not count:
            self.fail(one, "the job has no accelerators; write --mem")
            return None
        return each * int(count)

    def export(self, environ: Mapping[str, str]) -> None:
        one, found = self.options.get("export"), self.request.environment
        if one is None or one.value.upper() in ("NONE", "NIL"):
            return
        for part in re.findall(r"(?:[^,'\"]|'[^']*'|\"[^\"]*\"|['\"])+", one.value):
            name, equals, value = part.strip("'\"" if part[0] in "'\"" else "").partition("=")
            if name.upper() == "ALL" and not equals:
                self.warn(
                    one, "your environment isn't sent; name what the job needs, --export=NAME or --env NAME=VALUE"
                )
            elif not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name, re.ASCII):
                self.fail(one, f"{name!r} is no name of a variable; write NAME or NAME=VALUE, with a comma between")
            elif equals:
                found[name] = value[1:-1] if len(value) > 1 and value[0] == value[-1] and value[0] in "'\"" else value
            elif name in environ:
                found[name] = environ[name]
            else:
                self.warn(one, f"{name} isn't set here, so it isn't sent")
