"""What a person writes on the command line for a job, and the JobSpec that it means."""

import os
import re
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from pydantic import ValidationError
from typer.core import TyperCommand

from caravan.cli import sbatch
from caravan.cli.asking import ask, json_of, misused, text_of, wrong_input
from caravan.cli.sbatch import values
from caravan.client import Peers, each
from caravan.contracts.offerings import Accelerator as Kind
from caravan.contracts.spec import JobSpec

DURATION: Final = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s?)?")
MEMORY: Final = re.compile(r"(\d+)\s*(MiB|M|GiB|G|TiB|T)?", re.IGNORECASE)
MIB: Final = {"": 1, "m": 1, "g": 1024, "t": 1024 * 1024}
SCRIPT_SUFFIXES: Final = (".sh", ".bash", ".sbatch", ".slurm", ".job")
DASHES: Final = "caravan.dashes"
"""In a command's `meta`: whether `--` stood in it."""

Command = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[SCRIPT | -- COMMAND…]", help="A batch script, whose #SBATCH lines count; or what to run, after --."
    ),
]
Name = Annotated[str | None, typer.Option("--name", "-n", help="What you call the job.")]
Project = Annotated[
    str | None, typer.Option("--project", "-p", envvar="CARAVAN_PROJECT", help="The project that pays.")
]
Script = Annotated[Path | None, typer.Option("--script", help="As SCRIPT; - reads it from stdin.")]
Image = Annotated[
    str | None,
    typer.Option("--image", help="Run it, or the command in it: docker://…, oras://…, or a path at the site."),
]
SpecFile = Annotated[
    Path | None, typer.Option("--spec", help="A whole JobSpec as JSON; options given beside it replace its fields.")
]
Cpus = Annotated[int | None, typer.Option("--cpus", "-c", help="Cores per process.")]
Tasks = Annotated[int | None, typer.Option("--tasks-per-node", help="Processes per node.")]
Nodes = Annotated[int | None, typer.Option("--nodes", "-N")]
Memory = Annotated[str | None, typer.Option("--memory", "-m", help="Per node: 512M, 4G; MiB without a unit.")]
Walltime = Annotated[
    str | None, typer.Option("--walltime", "-t", help="At most this long: 90s, 15m, 2h30m, 1:30:00; seconds without.")
]
Accelerators = Annotated[int | None, typer.Option("--accelerators", help="Per node.")]
Accelerator = Annotated[str | None, typer.Option("--accelerator", help="Its kind, acc_….")]
ArrayText = Annotated[str | None, typer.Option("--array", "-a", help="Indexes: 0-3, 1,5,7 or 0-99%10 (10 at once).")]
Env = Annotated[list[str] | None, typer.Option("--env", "-e", help="NAME=VALUE; repeat for more.")]
Options = Annotated[
    list[str] | None, typer.Option("--option", help="name=value, of an offering's choices (qos=high); repeat for more.")
]
Labels = Annotated[list[str] | None, typer.Option("--label", "-l", help="name=value; repeat for more.")]
Tiers = Annotated[list[str] | None, typer.Option("--tier", help="Only cloud, hpc or ai; repeat for more.")]
Offerings = Annotated[list[str] | None, typer.Option("--offering", help="Only this offering; repeat for more.")]
Providers = Annotated[list[str] | None, typer.Option("--provider", help="Only this provider; repeat for more.")]
Regions = Annotated[list[str] | None, typer.Option("--region", help="Only this region; repeat for more.")]
MaxCost = Annotated[str | None, typer.Option("--max-cost", help="Dearest worst case you accept, 12.00.")]
MaxAttempts = Annotated[int | None, typer.Option("--max-attempts", help="How often it may be tried.")]


class ScriptOrCommand(TyperCommand):
    """Keeps whether `--` stood in the command line: what comes after it is a command, whatever files there are here."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        ctx.meta[DASHES] = "--" in args
        return super().parse_args(ctx, args)


def script_or_command(
    ctx: typer.Context, command: list[str] | None, script: Path | None
) -> tuple[list[str] | None, Path | None]:
    """Tells `submit job.sh`, which is `--script job.sh`, from a command."""
    if not command or ctx.meta[DASHES]:
        return command, script
    file = Path(command[0])
    if command[0] != "-" and not file.is_file():
        if len(command) == 1 and file.suffix in SCRIPT_SUFFIXES:
            misused(f"{file}: No such file here. Put -- before what is a command there.")
        return command, script
    if script is not None:
        misused(f"Give {file} or --script, not both.")
    if command[1:]:
        misused(f"{file} is sent without arguments: write them into it. Put -- before what is a command there.")
    return None, file


def kinds(ctx: typer.Context, *, as_json: bool) -> list[Kind]:
    """All accelerators of the catalog."""

    async def read(peers: Peers) -> list[Kind]:
        return [one async for one in each(peers.catalog.list_accelerators)]

    return ask(ctx, read, as_json=as_json)


@dataclass(frozen=True)
class Wanted:
    """The options as given; None and empty are not given."""

    command: Sequence[str] | None
    spec: Path | None
    name: str | None
    project: str | None
    script: Path | None
    image: str | None
    cpus: int | None
    tasks_per_node: int | None
    nodes: int | None
    memory: str | None
    walltime: str | None
    accelerators: int | None
    accelerator: str | None
    array: str | None
    env: Sequence[str] | None
    options: Sequence[str] | None
    labels: Sequence[str] | None
    tiers: Sequence[str] | None
    offerings: Sequence[str] | None
    providers: Sequence[str] | None
    regions: Sequence[str] | None
    max_cost: str | None
    max_attempts: int | None

    def job_spec(self, accelerators: Callable[[], Sequence[Kind]]) -> JobSpec:
        """The spec that was meant; ends the command when it is none. `accelerators` is asked when a script names a kind.

        Options win over a spec's fields, and both over the script's `#SBATCH` lines.
        """
        import json

        base = json_of(self.spec) if self.spec else {}
        if not isinstance(base, dict):
            misused(f"{self.spec}: a spec is a JSON object")
        for part in ("resources", "where"):
            known = base.get(part) or {}
            if not isinstance(known, dict):
                misused(f"{self.spec}: {part} is a JSON object")
            base[part] = known | _given(self._part(part))
        given = base | _given(self._fields())
        if self.image is not None:
            given.pop("script", None)
        if not {"script", "container"} & given.keys():
            misused("What shall run? Give a batch script, an --image, or a command after --.")
        if "project" not in given:
            misused("Who pays? Give --project, or set CARAVAN_PROJECT.")
        if self.script is not None:
            given = self._with_lines(given, accelerators)
        given.setdefault("name", self._default_name())
        given["resources"].setdefault("walltime_seconds", sbatch.DEFAULT_WALLTIME_SECONDS)
        try:
            return JobSpec.model_validate_json(json.dumps(given))
        except ValidationError as error:
            wrong_input(error)

    def _with_lines(self, given: dict[str, Any], accelerators: Callable[[], Sequence[Kind]]) -> dict[str, Any]:
        """`given`, and below it what the script's `#SBATCH` lines ask for. Warnings go to stderr, errors end the command."""
        numbers = {n: v for n, v in given["resources"].items() if n == "accelerator" or (type(v) is int and v >= 0)}
        asked = sbatch.read(given["script"], _given(given | numbers), os.environ)
        for warning in asked.warnings:
            typer.echo(f"{self.script}: warning: {warning}", err=True)
        if asked.kind is not None and not asked.errors:
            line, kind = asked.kind
            try:
                asked.resources["accelerator"] = sbatch.match(kind, accelerators()).id
            except ValueError as error:
                asked.errors.append(sbatch.Note(line.line, line.text, str(error)))
        if asked.errors:
            misused("\n".join(f"{self.script}: {error}" for error in asked.errors))
        given["resources"] = _given(asked.resources) | _given(given["resources"])
        if isinstance(given.get("environment", {}), dict):
            given["environment"] = asked.environment | given.get("environment", {})
        return _given(asked.fields) | _given(given)

    def _part(self, part: str) -> dict[str, Any]:
        if part == "where":
            return {
                "tiers": self.tiers,
                "offerings": self.offerings,
                "providers": self.providers,
                "regions": self.regions,
            }
        return {
            "nodes": self.nodes,
            "tasks_per_node": self.tasks_per_node,
            "cpus_per_task": self.cpus,
            "memory_mib_per_node": None if self.memory is None else memory_mib(self.memory),
            "walltime_seconds": None if self.walltime is None else seconds(self.walltime),
            "accelerators_per_node": self.accelerators,
            "accelerator": self.accelerator,
        }

    def _fields(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "project": self.project,
            "script": self._script(),
            "container": self._container(),
            "array": None if self.array is None else array(self.array),
            "environment": pairs(self.env, "--env NAME=VALUE"),
            "options": pairs(self.options, "--option name=value"),
            "labels": pairs(self.labels, "--label name=value"),
            "max_cost": self.max_cost,
            "max_attempts": self.max_attempts,
        }

    def _script(self) -> str | None:
        if self.script is not None and self.command:
            misused("Give --script or a command, not both.")
        if self.script is not None:
            return text_of(self.script)
        if self.command and self.image is None:
            return f"#!/bin/sh\nexec {shlex.join(self.command)}\n"
        return None

    def _container(self) -> dict[str, Any] | None:
        if self.image is None:
            return None
        if self.script is not None:
            misused("Give --image or a script, not both. What runs in the image stands after --.")
        return {"image": self.image, "command": list(self.command or ())}

    def _default_name(self) -> str:
        if self.script is not None and self.script.stem != "-":
            return self.script.stem
        return Path(self.command[0] if self.command else self.image or "job").name


def _given(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value not in (None, [], (), {})}


def pairs(texts: Sequence[str] | None, form: str) -> dict[str, str]:
    pairs = [text.partition("=") for text in texts or ()]
    if any(not middle for _, middle, _ in pairs):
        misused(f"Write {form}")
    return {name: value for name, _, value in pairs}


def seconds(text: str) -> int:
    """90, 90s, 15m, 2h30m, 1d, 15:00 (minutes) or 1:30:00 as seconds."""
    if re.fullmatch(r"\d+(:\d\d){1,2}", text):
        total = 0
        for part in text.split(":"):
            total = total * 60 + int(part)
        return total
    match = DURATION.fullmatch(text)
    if not text or match is None:
        misused(f"{text!r} is no duration; write 90s, 15m, 2h30m or 1:30:00")
    days, hours, minutes, rest = (int(part or 0) for part in match.groups())
    return ((days * 24 + hours) * 60 + minutes) * 60 + rest


def memory_mib(text: str) -> int:
    """512, 512M, 4G or 4GiB as MiB."""
    match = MEMORY.fullmatch(text)
    if match is None:
        misused(f"{text!r} is no memory size; write 512M or 4G")
    return int(match[1]) * MIB[(match[2] or "")[:1].lower()]


def array(text: str) -> dict[str, Any]:
    """Slurm's notation, `0-9:2,20%4`, as the spec has it."""
    try:
        return values.array(text)
    except ValueError as error:
        misused(str(error))
