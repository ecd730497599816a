"""A provider's site that has accelerators, ready for offerings: for checks that a plain `bench.platform.open_market` has too little for."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from bench.platform import Platform, until
from caravan.client import CatalogClient
from caravan.contracts.offerings import Accelerator, AcceleratorUnit, AgentPlace, Site, SiteDraft
from caravan.contracts.parties import ProviderDraft, ProviderKind

MODEL: Final = "acc_h100"
"""The kind of the site's accelerators."""


async def open_site(
    platform: Platform,
    provider: str,
    adapter: str,
    settings: Mapping[str, Any],
    device: str,
    start_agent: Callable[[str], object],
) -> tuple[CatalogClient, Site]:
    """The site of a new provider of this name, who comes by the client. `device`: the backend's name of MODEL. `start_agent(site)` starts
    the site's agent, which has reported when this returns."""
    admin = await platform.catalog("platform:admin", subject="operator")
    await admin.add_accelerator(
        Accelerator(
            id=MODEL, vendor="NVIDIA", model="H100", memory_mib=81_920, unit=AcceleratorUnit.CARD, domestic=False
        )
    )
    applied = await admin.apply_provider(
        ProviderDraft(name=provider, kind=ProviderKind.COMPUTE_INFRASTRUCTURE, region="西安")
    )
    await admin.approve_provider(applied.id)
    seller = await platform.catalog(f"provider/{applied.id}:admin", subject="centre")
    site = await seller.create_site(
        SiteDraft(
            provider=applied.id,
            name=adapter.title(),
            region="西安",
            adapter=adapter,
            agent=AgentPlace.CENTRE,
            settings=dict(settings),
            accelerators={MODEL: device},
        )
    )
    start_agent(site.id)

    async def reported() -> bool:
        return (await seller.get_site(site.id)).inventory is not None

    await until(reported, "the site's agent reports")
    return seller, site
