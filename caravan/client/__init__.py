"""Typed async clients of the three APIs, also the public SDK.

    async with BrokerClient("https://caravan.example/broker", token) as broker:
        job = await broker.submit_job(spec)
        async for task in each(broker.list_job_tasks, job.id):
            print(task.index, task.state)

Owns how a call is sent and what a failure is raised as; never decides or repeats anything, but that
`BrokerClient.job_log` looks again. Open `base.py` first.
"""

from dataclasses import dataclass

from caravan.client.accounting import AccountingClient
from caravan.client.base import Client, each, new_key
from caravan.client.broker import BrokerClient
from caravan.client.catalog import CatalogClient
from caravan.client.inprocess import InProcess
from caravan.client.problems import ServiceUnavailable, UnknownProblem

__all__ = [
    "AccountingClient",
    "BrokerClient",
    "CatalogClient",
    "Client",
    "InProcess",
    "Peers",
    "ServiceUnavailable",
    "UnknownProblem",
    "each",
    "new_key",
]


@dataclass(frozen=True)
class Peers:
    """The three services as one of them sees them."""

    catalog: CatalogClient
    broker: BrokerClient
    accounting: AccountingClient

    async def aclose(self) -> None:
        for client in (self.catalog, self.broker, self.accounting):
            await client.aclose()
