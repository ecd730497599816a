"""A container by Slurm itself: the command line that runs an OCI bundle as a step of its job, and the environment. Pure."""

import shlex
from collections.abc import Mapping

from caravan.contracts.spec import Container, Resources
from services.broker.adapters.port import Rejected


def command(container: Container, resources: Resources) -> str:
    """Quoted for a shell. A step and not the job's own `container`, in which our script would need a shell and tools of the image's.

    It is one process on the first node, with all that the job has there. Raises Rejected: srun runs nothing without a command.
    """
    if not container.command:
        raise Rejected("Slurm doesn't run what an image itself names: give a command")
    one = ["--nodes=1", "--ntasks=1", "--ntasks-per-node=1", f"--cpus-per-task={resources.cpus_per_node}"]
    what = [f"--container={container.image}", "--", *container.command, *container.args]
    return f'{shlex.join(["srun", "--quiet", *one])} --nodelist="$SLURMD_NODENAME" {shlex.join(what)}'


def environment(variables: Mapping[str, str]) -> dict[str, str]:
    """The job's own variables, which srun passes on. PATH stays ours, in which srun is found: inside it's the bundle's."""
    return {name: value for name, value in variables.items() if name != "PATH"}
