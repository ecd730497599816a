"""The table of offerings."""

from typing import Any

from sqlalchemy import BigInteger, ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from caravan.contracts.offerings import Capacity, Limits, Offering, OfferingState, PreemptedBearer, Tier
from caravan.kernel.database import Json
from services.catalog.models_base import Base, Entity


class OfferingRow(Entity, Base):
    __tablename__ = "offerings"

    site: Mapped[str] = mapped_column(ForeignKey("sites.id"), index=True)
    provider: Mapped[str] = mapped_column(ForeignKey("providers.id"), index=True)
    name: Mapped[str]
    description: Mapped[str]
    tier: Mapped[str]
    limits: Mapped[dict[str, Any]] = mapped_column(Json)
    accelerator: Mapped[str | None] = mapped_column(ForeignKey("accelerators.id"), index=True)
    target: Mapped[dict[str, Any]] = mapped_column(Json)
    choices: Mapped[dict[str, Any]] = mapped_column(Json, server_default="{}")
    capacity: Mapped[dict[str, Any]] = mapped_column(Json)
    queue_ahead: Mapped[int] = mapped_column(BigInteger)
    preempted_borne_by: Mapped[str] = mapped_column(server_default=PreemptedBearer.PROVIDER.value)
    state: Mapped[str] = mapped_column(index=True)
    search_text: Mapped[str]

    def shown(self) -> Offering:
        return Offering(
            id=self.id,
            site=self.site,
            provider=self.provider,
            name=self.name,
            description=self.description,
            tier=Tier(self.tier),
            limits=Limits.model_validate(self.limits),
            accelerator=self.accelerator,
            target=self.target,
            choices=self.choices,
            capacity=Capacity.model_validate(self.capacity),
            queue_ahead=self.queue_ahead,
            preempted_borne_by=PreemptedBearer(self.preempted_borne_by),
            state=OfferingState(self.state),
            version=self.version,
            created_at=self.created_at,
        )
