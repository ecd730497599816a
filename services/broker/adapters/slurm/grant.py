"""What Slurm allocates to, and how long it lets run, one array task. Pure."""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from caravan.contracts.dispatch import Grant
from caravan.contracts.spec import Resources
from services.broker.adapters.port import Rejected
from services.broker.adapters.slurm.settings import Settings, Target, said

LIMIT_CHECK_SECONDS = 60
"""slurmctld looks for jobs over their limit every 30 s, later when it is busy: 60 s ended after 78 s (22.05)."""


def grant(resources: Resources, target: Mapping[str, Any], settings: Mapping[str, Any]) -> Grant:
    """CPUs by whole cores, as many as the memory needs, or whole nodes; the walltime in whole minutes, with all that Slurm adds.

    Raises Rejected: a node of the partition, as the settings describe it, is too small; or what the centre wrote is wrong, which the
    schemas don't show (two sources of tokens).
    """
    try:
        site = Settings.model_validate(dict(settings))
        partition = site.of(Target.model_validate(dict(target)).partition)
    except ValidationError as error:
        raise Rejected(f"the site's settings or the offering's target are wrong: {said(error)}") from error
    cpus, memory_mib = resources.cpus_per_node, resources.memory_mib_per_node
    accelerators = resources.accelerators_per_node
    if partition.max_memory_mib_per_cpu:
        cpus = max(cpus, -(-memory_mib // partition.max_memory_mib_per_cpu))
    cpus = -(-cpus // partition.threads_per_core) * partition.threads_per_core
    node = partition.whole_nodes
    if node is not None:
        if cpus > node.cpus or memory_mib > node.memory_mib or accelerators > node.accelerators:
            raise Rejected(
                f"a node has {node.cpus} CPUs, {node.memory_mib} MiB and {node.accelerators} accelerators: "
                f"{cpus}, {memory_mib} and {accelerators} can't be had"
            )
        cpus, memory_mib, accelerators = node.cpus, node.memory_mib, node.accelerators
    limit_seconds = (limit_minutes(resources) + site.over_time_limit_minutes) * 60
    return Grant(
        nodes=resources.nodes,
        cpus=resources.nodes * cpus,
        memory_mib=resources.nodes * memory_mib,
        accelerators=resources.nodes * accelerators,
        accelerator=resources.accelerator or (partition.accelerator if accelerators else None),
        max_seconds=limit_seconds + LIMIT_CHECK_SECONDS + site.kill_wait_seconds,
    )


def limit_minutes(resources: Resources) -> int:
    """The time limit that the job is submitted with: Slurm knows whole minutes."""
    return -(-resources.walltime_seconds // 60)
