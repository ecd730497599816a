"""From options to what is asked for: what the command line says wins, and the rest is worked out with it."""

import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final, TypeVar

from caravan.cli.sbatch import values
from caravan.cli.sbatch.options import REFUSED, WARNED
from caravan.cli.sbatch.request import Note, Request, Written
from caravan.contracts.spec import Resources

T = TypeVar("T")
DEFAULT_WALLTIME_SECONDS: Final = 3600
DEFAULT_MEMORY_MIB: Final[int] = Resources.model_fields["memory_mib_per_node"].default


class Reader:
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
        fields["array"] = self.value("array", values.array, "array")
        again = [name for name in self.options if name in ("requeue", "no-requeue")]
        fields["max_attempts"] = 1 if again[-1:] == ["no-requeue"] else None
        self.export(environ)
        resources["walltime_seconds"] = self.value("time", values.seconds, "walltime_seconds")
        resources["cpus_per_task"] = self.value("cpus-per-task", values.count_of, "cpus_per_task")
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
        span = self.value("nodes", values.nodes, "nodes")
        tasks = self.value("ntasks", values.count_of)
        most = self.value("ntasks-per-node", values.count_of, "tasks_per_node")
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
            asked = self.value(name, partial(values.devices, option=name))
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
        each = self.value(name, values.memory_mib)
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
