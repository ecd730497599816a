"""A site's own books, as `caravan reconcile` gets at them: by the site's own command, or as files of what it wrote."""

import os
import subprocess
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Final, Self, TypeVar

import typer

from caravan.cli.asking import misused
from caravan.cli.usage import lines_of
from caravan.contracts.runs import SiteRun
from caravan.kernel import clock
from caravan.reconcile import Row, containers, pods, record, slurm
from caravan.reconcile.containers import START_SECONDS, Container
from caravan.sacct import Allocation, Fault, Times, allocations

T = TypeVar("T")
FORMAT: Final = (
    "JobIDRaw,Cluster,Account,User,Submit,Start,End,Elapsed,State,NNodes,NCPUS,ReqMem,AllocTRES,Comment,JobName"
)
"""The two that may hold a delimiter stand last, the comment's beginning and the name's end where they are looked for."""
IN_UTC: Final = {"TZ": "UTC", "SLURM_TIME_FORMAT": "%s"}
"""What sacct is told and tells then needs no zone."""


class Form(StrEnum):
    """Of books. The value is the option by which a file of it is given."""

    SACCT = "sacct"
    PODS = "pods"
    CONTAINERS = "containers"

    @property
    def keeps_all(self) -> bool:
        return self is not Form.PODS

    @property
    def unit(self) -> str:
        return "pod" if self is Form.PODS else "line"


FORMS: Final[Mapping[str, tuple[Form, ...]]] = {
    "slurm": (Form.SACCT,),
    "kubernetes": (Form.PODS, Form.CONTAINERS),
}
"""By a site's adapter. The first one is asked for here where no file is given."""


@dataclass
class Place:
    """Where the books are. Without a file the site's own command says them, for all between `start` and `end`."""

    form: Form
    file: Path | None
    start: datetime
    end: datetime

    @classmethod
    def of(cls, adapter: str, files: Mapping[Form, Path | None], start: datetime, end: datetime) -> Self:
        """Of a site with this adapter; ends the command where it has no such books."""
        given = [(form, file) for form, file in files.items() if file is not None]
        forms = FORMS.get(adapter, ())
        if not forms:
            misused(f"site: one of the adapter {adapter} has no books of its own")
        for form, _ in given:
            if form not in forms:
                misused(f"{form}: the site is of {adapter}: give {' or '.join(f'--{one}' for one in forms)}")
        if len(given) > 1:
            misused(f"{given[1][0]}: give one file; run this again for the other")
        form, file = given[0] if given else (forms[0], None)
        return cls(form, file, start, end)

    def as_of(self) -> datetime:
        """When they were written. Of stdin, and of what is to be run here: now. Raises OSError."""
        if self.file is None or str(self.file) == "-":
            return clock.floor_second(clock.now())
        return clock.from_seconds(int(self.file.stat().st_mtime))

    @contextmanager
    def lines(self) -> Iterator[Iterator[str]]:
        """Of the file or of stdin, or of what the command says here; ends the command where it can't say it."""
        if self.file is not None:
            here = str(self.file) == "-"
            yield iter(typer.get_text_stream("stdin", errors="replace")) if here else lines_of(self.file)
            return
        told = IN_UTC if self.form is Form.SACCT else {}
        command = _sacct(self.start, self.end) if self.form is Form.SACCT else pods.ASK
        try:
            process = subprocess.Popen(
                command,
                env=os.environ | told,
                stdout=subprocess.PIPE,
                encoding="utf-8",
                errors="replace",
                stdin=subprocess.DEVNULL,
            )
        except FileNotFoundError:
            where = {Form.SACCT: "on a login node of the centre"}.get(self.form, "where the centre asks its cluster")
            words = " ".join((*(f"{name}={value}" for name, value in told.items()), *command))
            misused(
                f"There is no `{command[0]}` here. Run this {where}, or write its books there "
                f"and give them by --{self.form} FILE:\n{words} > FILE"
            )
        with process:
            assert process.stdout is not None, "it is a pipe"
            yield process.stdout
        if process.returncode:
            misused(f"{command[0]}: exit code {process.returncode}")


def _sacct(start: datetime, end: datetime) -> tuple[str, ...]:
    since, until = (at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S") for at in (start, end))
    options = ("--allusers", "--duplicates", "--allocations", "--parsable2")
    return ("sacct", *options, f"--starttime={since}", f"--endtime={until}", f"--format={FORMAT}")


@dataclass
class Books:
    """What was read of one site. `names`: what the catalog calls its accelerators there."""

    site: str
    names: Collection[str]
    bad: list[str] = field(default_factory=list)
    """What couldn't be read, each with its place."""
    _form: Form = Form.SACCT
    _rows: list[Row] = field(default_factory=list)
    _containers: list[Container] = field(default_factory=list)

    def read(self, place: Place, times: Times, cluster: str | None, known: Collection[str | None]) -> None:
        """`known`: runs that count also where they don't look like the site's. Raises as `allocations`, and OSError."""
        self._form = place.form
        with place.lines() as lines:
            if place.form is Form.SACCT:
                gres = slurm.gres(self.names)
                found = self._good(allocations(lines, times, cluster, slurm.NEEDED))
                rows = (slurm.row(one, self.site, gres) for one in found if isinstance(one, Allocation))
                self._rows = [one for one in rows if one.ours or one.identity in known]
                return
            if place.form is Form.CONTAINERS:
                self._containers = [*self._good(record.containers(lines))]
                return
            text = "".join(lines)
        # only now it's known that it was said to its end
        self._containers = [*self._good(pods.containers(text, pods.resources(self.names)))]

    def rows(self, runs: Iterable[SiteRun]) -> list[Row]:
        if self._form is Form.SACCT:
            return self._rows
        keeps_all = self._form.keeps_all
        return [*containers.rows(self._containers, self.site, runs, keeps_all=keeps_all)]

    def at_least(self, runs: Iterable[SiteRun]) -> list[Row] | None:
        """None: they are exact."""
        if self._form is not Form.CONTAINERS:
            return None
        return [*containers.rows(self._containers, self.site, runs, late=START_SECONDS)]

    def _good(self, told: Iterable[T | Fault]) -> Iterator[T]:
        for one in told:
            if isinstance(one, Fault):
                self.bad.append(f"{self._form.unit} {one.line}: {one.field}: {one.reason}")
            else:
                yield one
