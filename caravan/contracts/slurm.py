"""What is the same wherever Slurm's accounting is read: by an agent at its REST API, or from a dump of `sacct`."""

import re
from typing import Final

_MARK: Final = re.compile(r"caravan (sit_[0-9a-f]{32}) ")
_TAG: Final = re.compile(r"[0-9a-f]{12}7[0-9a-f]{3}[89ab][0-9a-f]{15}")
"""An attempt's id without its prefix: the hex of a UUIDv7 (RFC 9562, 5.7)."""


def run_identity(cluster: str, job: int, submitted: int) -> str:
    """Of a run, for ever: `job` is Slurm's raw id, `submitted` in epoch seconds; a requeue has a new submit time.

    The sluid of v0.0.45 isn't in a `sacct` dump, nor in older releases, and a run keeps its identity when its site is upgraded.
    """
    return f"{cluster}:{job}:{submitted}"


def is_of_site(site: str, name: str, comment: str) -> bool:
    """Whether a job is one of the site's by its name, the tag, and by its comment where that says whose it is.

    Several sites may use one cluster, and slurmdbd keeps comments only with AccountingStoreFlags=job_comment.
    """
    marked = _MARK.match(comment)
    return _TAG.fullmatch(name) is not None and (marked is None or marked[1] == site)
