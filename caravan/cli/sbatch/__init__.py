"""What the `#SBATCH` lines of a batch script ask for, in a JobSpec's terms, and what of it can't be had. Pure.

Read as sbatch(1) reads them: lines that begin with `#SBATCH`, before the first command; the last of two wins. An option is used,
or leaving it out changes nothing about what the job computes (a warning), or it would (an error that says what to do instead).
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from caravan.cli.sbatch.lines import written
from caravan.cli.sbatch.reader import DEFAULT_WALLTIME_SECONDS, Reader
from caravan.cli.sbatch.request import Note, Request, Written
from caravan.contracts.offerings import Accelerator

__all__ = ["DEFAULT_WALLTIME_SECONDS", "Note", "Request", "match", "read"]


def read(script: str, decided: Mapping[str, Any], environ: Mapping[str, str]) -> Request:
    """`decided` has what the command line says, fields of a spec and of its resources alike: it wins, and the rest is worked out with it.

    `environ` is where `--export=NAME` finds its values.
    """
    request = Request()
    options: dict[str, Written] = {}
    for one in written(script, request):
        options.pop(one.name, None)
        options[one.name] = one
    if options:
        Reader(options, decided, request).read(environ)
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


def _words(text: str) -> list[str]:
    return re.findall(r"[a-z0-9.]+|[^\W_]+", text.lower())
