"""What is the same wherever Slurm's accounting is read: by an agent at its REST API, or from a dump of `sacct`."""


def run_identity(cluster: str, job: int, submitted: int) -> str:
    """Of a run, for ever: `job` is Slurm's raw id, `submitted` in epoch seconds; a requeue has a new submit time.

    The sluid of v0.0.45 isn't in a `sacct` dump, nor in older releases, and a run keeps its identity when its site is upgraded.
    """
    return f"{cluster}:{job}:{submitted}"
