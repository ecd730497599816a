"""Agents inside the broker: one for each site whose `agent` is `platform` and whose adapter is installed here.

They are the same agents as at a centre, and speak to the broker by the same client.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from sqlalchemy import update
from sqlalchemy.orm import Session

from caravan.contracts import events
from caravan.contracts.offerings import AgentPlace
from caravan.kernel import feed
from caravan.kernel.database import database_now
from caravan.kernel.metrics import Metrics
from caravan.kernel.runtime import Runtime
from caravan.kernel.tables import feed_entities, leases
from services.broker.adapters.port import Adapter
from services.broker.agent import Agent, AgentApi, AgentMetrics, new_holder
from services.broker.dispatch.leasing import lease_name
from services.broker.placement.copies import SITES_TOPIC, Catalog

LOOK_SECONDS: Final = 10.0
HOLDER: Final = "platform:"


class AgentHost:
    """Starts and stops agents as the catalog's sites come and change."""

    def __init__(
        self,
        runtime: Runtime,
        catalog: Catalog,
        broker: AgentApi,
        adapters: Mapping[str, Adapter],
        metrics: Metrics,
        *,
        jobs_on_this_machine: bool,
    ) -> None:
        self._runtime = runtime
        self._catalog = catalog
        self._broker = broker
        self._adapters = adapters
        self._metrics = AgentMetrics(metrics)
        self._jobs_on_this_machine = jobs_on_this_machine
        self._agents: dict[str, Agent] = {}

    async def start(self) -> None:
        """On SQLite this process is the only writer: an earlier broker's agents are dead, and their leases are free."""
        if self._runtime.db.sqlite:
            await self._runtime.db.write(_free_leases, HOLDER)

    async def iteration(self) -> float:
        """See which sites want an agent here; waits for the next change of a site itself. Returns 0."""
        db = self._runtime.db
        version = db.version(SITES_TOPIC)
        view = await db.read(self._catalog.view)
        wanted = {
            site.id: site
            for site in view.sites.values()
            if site.agent is AgentPlace.PLATFORM and site.adapter in self._adapters
        }
        for site_id, site in wanted.items():
            if site_id not in self._agents:
                self._agents[site_id] = agent = Agent(
                    site_id,
                    self._broker,
                    self._adapters,
                    site.adapter,
                    metrics=self._metrics,
                    holder=HOLDER + new_holder(),
                    production=not self._runtime.settings.development,
                    jobs_on_this_machine=self._jobs_on_this_machine,
                    private=(Path(self._runtime.settings.data_dir),),
                )
                agent.start()
        for site_id in set(self._agents) - set(wanted):
            await self._stop(site_id)
        await db.wait(SITES_TOPIC, version, LOOK_SECONDS)
        return 0

    async def stop(self) -> None:
        """Stop all agents; what runs at the sites goes on."""
        for site_id in list(self._agents):
            await self._stop(site_id)

    async def _stop(self, site: str) -> None:
        """Stop the site's agent, and let the next one have the lease at once."""
        agent = self._agents.pop(site)
        await agent.leave()


def _free_leases(tx: Session, holder: str) -> None:
    """Let the sites' leases end of those whose name begins so."""
    mine = leases.c.name.startswith(lease_name("")) & leases.c.holder.startswith(holder, autoescape=True)
    tx.execute(update(leases).where(mine).values(expires_at=database_now(tx)))


def announce(tx: Session, adapters: Mapping[str, Adapter]) -> None:
    """Publish the descriptors of the adapters installed here, unless they are known already."""
    for adapter in adapters.values():
        subject, data = f"adapter:{adapter.descriptor.name}", adapter.descriptor.model_dump_json()
        known = tx.execute(feed_entities.select().where(feed_entities.c.subject == subject)).one_or_none()
        if known is None or known.data != data:
            feed.state(tx, events.ADAPTER_ANNOUNCED, subject, adapter.descriptor)
