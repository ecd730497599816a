"""The fake adapter: a site in memory that plays scripts by their `#fake` lines, for demonstrations and tests of everything above.

It keeps the whole contract of the port, and nothing outlives the process. A site's settings name it: `{"fake": "north"}`; a test
makes and keeps the FakeSite itself by `register`, to hold its clock and its faults. Never runs anything.

Open `site.py` first, then `script.py` (what a script can ask for) and `faults.py` (what can go wrong).
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Annotated, Any

from pydantic import Field, ValidationError

from caravan.contracts.base import Count, Model, Name, Positive
from caravan.contracts.dispatch import Grant
from caravan.contracts.offerings import AdapterDescriptor
from caravan.contracts.spec import Resources
from services.broker.adapters.fake.backend import FakeBackend
from services.broker.adapters.fake.faults import Fault, Faults
from services.broker.adapters.fake.site import FakeSite, HandClock
from services.broker.adapters.port import Rejected, SiteContext, SiteRefused


class Settings(Model):
    fake: Name | None = Field(
        default=None, description="Sites that name the same fake share it; the site's id by default."
    )
    nodes: Positive = 4
    cpus_per_node: Positive = 64
    memory_mib_per_node: Positive = 262_144
    accelerators_per_node: Count = 0
    accelerator_backend_name: Name | None = None
    kill_grace_seconds: Annotated[int, Field(ge=0, le=3600)] = 0
    walltime_step_seconds: Positive = Field(
        default=1, description="Walltimes are granted in whole steps, as some schedulers do."
    )
    refused: str | None = Field(default=None, description="Refuse the site, for this reason.")


_sites: dict[str, FakeSite] = {}


def register(site: FakeSite) -> FakeSite:
    """Make `site` the one that settings find by its name."""
    _sites[site.name] = site
    return site


class FakeAdapter:
    descriptor = AdapterDescriptor(
        name="fake",
        version="1",
        site_settings=Settings.model_json_schema(),
        tenant_settings={"type": "object"},
        target={"type": "object"},
        capabilities=("accelerators", "arrays", "arrays_of_nodes", "logs", "memory_limit", "several_nodes"),
        books_lag_seconds=0,
    )

    def grant(self, resources: Resources, target: Mapping[str, Any], settings: Mapping[str, Any]) -> Grant:
        """All nodes' shares, and the walltime in whole steps with the grace after it. Raises Rejected."""
        if resources.accelerators_per_node > settings.get("accelerators_per_node", 0):
            raise Rejected("the fake site has not so many accelerators in a node")
        step = settings.get("walltime_step_seconds", 1)
        return Grant(
            nodes=resources.nodes,
            cpus=resources.nodes * resources.cpus_per_node,
            memory_mib=resources.nodes * resources.memory_mib_per_node,
            accelerators=resources.nodes * resources.accelerators_per_node,
            accelerator=resources.accelerator,
            max_seconds=-(-resources.walltime_seconds // step) * step + settings.get("kill_grace_seconds", 0),
        )

    @asynccontextmanager
    async def open(self, context: SiteContext) -> AsyncIterator[FakeBackend]:
        try:
            settings = Settings.model_validate(dict(context.settings))
        except ValidationError as error:
            raise SiteRefused(str(error)) from error
        if settings.refused:
            raise SiteRefused(settings.refused)
        name = settings.fake or context.site
        site = _sites.get(name) or register(
            FakeSite(
                name,
                nodes=settings.nodes,
                cpus_per_node=settings.cpus_per_node,
                memory_mib_per_node=settings.memory_mib_per_node,
                accelerators_per_node=settings.accelerators_per_node,
                accelerator_backend_name=settings.accelerator_backend_name,
            )
        )
        yield FakeBackend(site)


adapter = FakeAdapter()

__all__ = ["FakeBackend", "FakeSite", "Fault", "Faults", "HandClock", "adapter", "register"]
