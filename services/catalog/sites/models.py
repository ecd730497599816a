"""Tables of accelerators, announced adapters, sites with their modes, and tenants."""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from caravan.contracts.modes import SiteMode, SiteModeFrom
from caravan.contracts.offerings import (
    Accelerator,
    AcceleratorUnit,
    AdapterDescriptor,
    AgentPlace,
    InventoryItem,
    Site,
    SiteHealth,
    SiteState,
)
from caravan.contracts.parties import Tenant
from caravan.kernel.database import Instant, Json
from services.catalog.models_base import Base, Entity


class AcceleratorRow(Base):
    __tablename__ = "accelerators"

    id: Mapped[str] = mapped_column(primary_key=True)
    vendor: Mapped[str]
    model: Mapped[str]
    memory_mib: Mapped[int] = mapped_column(BigInteger)
    unit: Mapped[str]
    domestic: Mapped[bool]
    aliases: Mapped[list[str]] = mapped_column(Json)
    search_text: Mapped[str]

    def shown(self) -> Accelerator:
        return Accelerator(
            id=self.id,
            vendor=self.vendor,
            model=self.model,
            memory_mib=self.memory_mib,
            unit=AcceleratorUnit(self.unit),
            domestic=self.domestic,
            aliases=tuple(self.aliases),
        )


class AdapterRow(Base):
    __tablename__ = "adapters"

    name: Mapped[str] = mapped_column(primary_key=True)
    descriptor: Mapped[dict[str, Any]] = mapped_column(Json, comment="As announced last.")

    def shown(self) -> AdapterDescriptor:
        return AdapterDescriptor.model_validate(self.descriptor)


class SiteRow(Entity, Base):
    __tablename__ = "sites"

    provider: Mapped[str] = mapped_column(ForeignKey("providers.id"), index=True)
    name: Mapped[str]
    region: Mapped[str]
    adapter: Mapped[str]
    agent: Mapped[str]
    lost_after_seconds: Mapped[int | None] = mapped_column(BigInteger)
    settings: Mapped[dict[str, Any]] = mapped_column(Json)
    accelerators: Mapped[dict[str, str]] = mapped_column(Json)
    health_state: Mapped[str | None]
    health_detail: Mapped[str | None]
    health_seen_at: Mapped[datetime | None] = mapped_column(Instant)
    inventory: Mapped[list[dict[str, Any]] | None] = mapped_column(Json)
    search_text: Mapped[str]

    def health(self, *, whole: bool) -> SiteHealth | None:
        """In the words of its agent, or in those for who has no part in it."""
        if self.health_state is None or self.health_seen_at is None:
            return None
        state = SiteState(self.health_state)
        detail = (self.health_detail or "") if whole else state.words
        return SiteHealth(state=state, detail=detail, seen_at=self.health_seen_at)

    def parts(self) -> tuple[InventoryItem, ...] | None:
        """The inventory; None before the first report."""
        return None if self.inventory is None else tuple(InventoryItem.model_validate(i) for i in self.inventory)

    def shown(self, *, whole: bool = True) -> Site:
        """The site; without its settings, its inventory and its agent's words for those who have no part in it."""
        return Site(
            id=self.id,
            provider=self.provider,
            name=self.name,
            region=self.region,
            adapter=self.adapter,
            agent=AgentPlace(self.agent),
            lost_after_seconds=self.lost_after_seconds,
            settings=self.settings if whole else {},
            accelerators=self.accelerators,
            version=self.version,
            created_at=self.created_at,
            health=self.health(whole=whole),
            inventory=self.parts() if whole else None,
        )


class SiteModeRow(Base):
    """The mode of a site from `starts_at` until its next one. What has started is never changed."""

    __tablename__ = "site_modes"

    site: Mapped[str] = mapped_column(ForeignKey("sites.id"), primary_key=True)
    starts_at: Mapped[datetime] = mapped_column(Instant, primary_key=True)
    mode: Mapped[str]

    def shown(self) -> SiteModeFrom:
        return SiteModeFrom(mode=SiteMode(self.mode), starts_at=self.starts_at)


class TenantRow(Entity, Base):
    __tablename__ = "tenants"
    __table_args__ = (Index("ix_tenants_site_organization", "site", "organization"),)

    site: Mapped[str] = mapped_column(ForeignKey("sites.id"))
    organization: Mapped[str] = mapped_column(ForeignKey("organizations.id"), index=True)
    project: Mapped[str | None] = mapped_column(ForeignKey("projects.id"))
    settings: Mapped[dict[str, Any]] = mapped_column(Json)

    def shown(self) -> Tenant:
        return Tenant(
            id=self.id,
            site=self.site,
            organization=self.organization,
            project=self.project,
            settings=self.settings,
            version=self.version,
            created_at=self.created_at,
        )
