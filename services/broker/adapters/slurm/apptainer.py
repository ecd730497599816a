"""A container by apptainer (1.1 or newer): the command line that runs it, and the environment that reaches it. Pure."""

import shlex
from collections.abc import Mapping

from caravan.contracts.spec import Container
from services.broker.adapters.slurm.settings import Apptainer


def command(container: Container, site: Apptainer, accelerator: str | None, home: str) -> str:
    """Quoted for a shell that keeps a folder of this run's own in `$folder`: the container's /tmp lies there.

    Inside are the image, `home` at its own path, and what the site's options add. `accelerator`: the kind that the job has.
    """
    run = [site.program, "exec" if container.command else "run"]
    # --contain: nothing of the node but what is named. --no-eval: apptainer reads no `$` in words and variables.
    # --bind: a home below /tmp would else be hidden by the container's own.
    kept = ["--contain", "--no-eval", "--home", home, "--bind", home, "--pwd", home]
    options = [*site.options, *site.accelerator_options.get(accelerator or "", ())]
    what = [container.image, *container.command, *container.args]
    return f'{shlex.join([*run, *kept])} --workdir "$folder" {shlex.join([*options, *what])}'


def environment(variables: Mapping[str, str]) -> dict[str, str]:
    """The job's own variables as apptainer sets them inside, after the image's, and not for itself. /tmp is the run's own there.

    Slurm's and the platform's pass by themselves. HOME doesn't: apptainer keeps it the working folder, and says so.
    """
    return {f"APPTAINERENV_{name}": value for name, value in {"TMPDIR": "/tmp", **variables}.items()}
