"""What Kubernetes allocates to, and how long it lets run, one array task. Pure."""

from collections.abc import Mapping
from typing import Any, Final

from pydantic import ValidationError

from caravan.contracts.dispatch import Grant
from caravan.contracts.spec import Resources
from services.broker.adapters.kubernetes.settings import Settings, Target, said
from services.broker.adapters.port import Rejected

LIMIT_CHECK_SECONDS: Final = 10
"""The kubelet looks at its pods' time limits each second, later when it is busy."""


def grant(resources: Resources, target: Mapping[str, Any], settings: Mapping[str, Any]) -> Grant:
    """A pod for each node, with just what was asked: its requests are its limits. It may run for all of the time limit that wasn't spent
    on its image, and for the grace after it.

    Raises Rejected: what the centre wrote is wrong.
    """
    try:
        site = Settings.model_validate(dict(settings))
        asked = Target.model_validate(dict(target))
    except ValidationError as error:
        raise Rejected(f"the site's settings or the offering's target are wrong: {said(error)}") from error
    if asked.queue is not None and site.queue is None:
        raise Rejected(
            "the offering names a queue, and the site's settings don't say that it has Kueue: they name none"
        )
    return Grant(
        nodes=resources.nodes,
        cpus=resources.nodes * resources.cpus_per_node,
        memory_mib=resources.nodes * resources.memory_mib_per_node,
        accelerators=resources.nodes * resources.accelerators_per_node,
        accelerator=resources.accelerator,
        max_seconds=limit_seconds(resources, site) + LIMIT_CHECK_SECONDS + site.grace_seconds,
    )


def limit_seconds(resources: Resources, site: Settings) -> int:
    """The time limit that the pod gets."""
    return resources.walltime_seconds + site.start_seconds
