"""Providers, sites and offerings to test with, made the way people make them."""

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from caravan.contracts.events import ADAPTER_ANNOUNCED, SITE_REPORTED
from caravan.contracts.offerings import AdapterDescriptor, InventoryItem, SiteHealth, SiteReported, SiteState
from caravan.kernel.runtime import Runtime
from services.catalog.sites.following import adapter_announced, site_reported
from tests.support import Json, Person, Running, ok

H100 = "acc_nvidia-h100-80g"
ASCEND = "acc_ascend-910b3-64g"
DESCRIPTOR = AdapterDescriptor(
    name="toy",
    version="1",
    site_settings={
        "type": "object",
        "properties": {
            "folder": {"type": "string", "pattern": "^/"},
            "cpus": {"anyOf": [{"type": "integer", "minimum": 1}, {"type": "null"}]},
            "i_accept_jobs_on_this_machine": {"type": "boolean"},
            "login": {"type": "object", "properties": {"a/b": {"enum": ["x", "y"]}}},
        },
        "required": ["folder"],
        "additionalProperties": False,
    },
    tenant_settings={"type": "object", "properties": {"user": {"type": "string"}}, "required": ["user"]},
    target={
        "type": "object",
        "properties": {"partition": {"type": "string"}, "qos": {"type": "string", "maxLength": 8}},
        "additionalProperties": False,
    },
    capabilities=("logs",),
    books_lag_seconds=0,
)


async def announce(catalog: Running, descriptor: AdapterDescriptor = DESCRIPTOR) -> None:
    """As if the broker's feed had brought it."""
    event = {"type": ADAPTER_ANNOUNCED, "data": descriptor.model_dump(mode="json")}
    await catalog.app.provided[Runtime].db.write(adapter_announced, event)


def a_report(
    site: str,
    state: SiteState = SiteState.HEALTHY,
    inventory: tuple[InventoryItem, ...] | None = None,
    detail: str = "",
) -> SiteReported:
    health = SiteHealth(state=state, detail=detail, seen_at=datetime.now(UTC))
    return SiteReported(site=site, version=1, health=health, inventory=inventory)


async def report(catalog: Running, reported: SiteReported) -> None:
    """As if the broker's feed had brought it."""
    event = {"type": SITE_REPORTED, "data": reported.model_dump(mode="json")}
    await catalog.app.provided[Runtime].db.write(site_reported, event)


@dataclass
class Centre:
    """An approved provider with its admin."""

    catalog: Running
    id: str
    admin: Person

    async def site(self, **changes: Any) -> Json:
        draft = {
            "provider": self.id,
            "name": "一号集群",
            "region": "西安",
            "adapter": "toy",
            "settings": {"folder": "/srv/toy"},
            "accelerators": {H100: "gres/gpu:h100", ASCEND: "huawei.com/Ascend910"},
        } | changes
        return ok(await self.admin.post("/sites", draft), 201)

    async def offering(self, site: str, **changes: Any) -> Json:
        return ok(await self.admin.post("/offerings", an_offering(site, **changes)), 201)

    async def on_sale(self, site: str, price: str = "0.36", **changes: Any) -> Json:
        """An active offering whose core-hour costs `price`."""
        offering = await self.offering(site, **changes)
        await self.priced(offering["id"], cpu_core_hour=price)
        return ok(await self.admin.post(f"/offerings/{offering['id']}/activate"))

    async def priced(self, offering: str, **prices: str) -> Json:
        draft = {"tariffs": [tariff("now", prices=prices)]}
        return ok(await self.admin.post(f"/offerings/{offering}/price-lists", draft), 201)


async def a_centre(catalog: Running, operator: Person, name: str = "秦创原算力中心") -> Centre:
    await announce(catalog)
    draft = {"name": name, "kind": "compute_infrastructure", "region": "陕西"}
    id = ok(await catalog.person("applicant").post("/providers", draft), 201)["id"]
    ok(await operator.post(f"/providers/{id}/approve"))
    return Centre(catalog, id, catalog.person(f"admin-of-{id}", f"provider/{id}:admin"))


def an_offering(site: str, **changes: Any) -> Json:
    return {
        "site": site,
        "name": "通用计算",
        "tier": "hpc",
        "limits": {"nodes": 2, "cpus_per_node": 64, "memory_mib_per_node": 262144, "walltime_seconds": 86400},
        "target": {"partition": "normal"},
        "capacity": {"cpus": 256, "memory_mib": 1048576},
    } | changes


def with_cards(accelerator: str, per_node: int = 8) -> Json:
    """What makes an offering one of cards."""
    return {
        "tier": "ai",
        "accelerator": accelerator,
        "limits": an_offering("")["limits"] | {"accelerators_per_node": per_node},
    }


def tariff(name: str, start: int = -3600, end: int | None = None, prices: Json = None) -> Json:
    """A tariff whose edges are so many seconds from now."""
    now = datetime.now(UTC).replace(microsecond=0)
    edges = {"starts_at": now + timedelta(seconds=start)}
    if end is not None:
        edges["ends_at"] = now + timedelta(seconds=end)
    return {"name": name, "prices": prices or {"cpu_core_hour": "0.36"}} | {k: v.isoformat() for k, v in edges.items()}


async def events_of(follower: Person, subject: str, count: int, seconds: float = 20) -> list[Json]:
    """The first `count` events of a subject. On PostgreSQL positions are given after commit, so it may take some pages."""
    found: list[Json] = []
    after: dict[str, str] = {}
    async with asyncio.timeout(seconds):
        while len(found) < count:
            page = ok(await follower.get("/feed", wait=1, **after))
            found += [event for event in page["events"] if event["subject"] == subject]
            after = {"after": page["next"]}
    return found
