"""The Slurm adapter: jobs on a centre's cluster, by slurmrestd, API v0.0.38 (22.05) to v0.0.45 (26.05).

Owns what is said to slurmrestd and how its answers are read. A submission is a held job with the tag as its name; it is released by
its id. Output, and the exit code that 22.05's books get wrong, come from the filesystem that the agent and the nodes share. Keeps
nothing: a reference says all that is needed to find a job again. Never lists all jobs to see how ours stand, and never decides
what should run.

Open `backend.py` first, then `submit.py` (what is asked for: a script by `script.py`, a container by `apptainer.py` or `bundle.py`),
`watch.py` (how it is looked at), `known.py` and `runs.py` (what that means), `dialect.py` (what differs between versions).
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

from pydantic import ValidationError

from caravan.contracts.dispatch import Grant
from caravan.contracts.offerings import AdapterDescriptor
from caravan.contracts.spec import Resources
from services.broker.adapters.port import Backend, SiteContext
from services.broker.adapters.slurm.backend import open_site
from services.broker.adapters.slurm.grant import grant
from services.broker.adapters.slurm.settings import Settings, Target, Tenant


class SlurmAdapter:
    descriptor = AdapterDescriptor(
        name="slurm",
        version="1",
        site_settings=Settings.model_json_schema(),
        tenant_settings=Tenant.model_json_schema(),
        target=Target.model_json_schema(),
        capabilities=(
            "accelerators",
            "arrays",
            "arrays_of_nodes",
            "container",
            "logs",
            "memory_limit",
            "several_nodes",
        ),
        books_lag_seconds=120,
    )

    def grant(self, resources: Resources, target: Mapping[str, Any], settings: Mapping[str, Any]) -> Grant:
        return grant(resources, target, settings)

    def images(self, settings: Mapping[str, Any]) -> Sequence[str] | None:
        """As the port has it. None of settings that are wrong, too: `grant` says what is."""
        try:
            containers = Settings.model_validate(dict(settings)).containers
        except ValidationError:
            return None
        return containers.images if containers is not None else None

    def open(self, context: SiteContext) -> AbstractAsyncContextManager[Backend]:
        return open_site(context)


adapter = SlurmAdapter()
