"""The table of price lists."""

from datetime import datetime
from typing import Any, Final

from sqlalchemy import ForeignKey, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from caravan.contracts.modes import SiteModeFrom
from caravan.contracts.prices import CalendarYear, Component, PriceList, Tariff, VolumeTier
from caravan.kernel.database import Instant, Json
from services.catalog.models_base import Base

PROVIDERS: Final = ""
"""The `reseller` of a provider's own lists: with a null, no engine would hold their revisions apart."""


class PriceListRow(Base):
    __tablename__ = "price_lists"
    __table_args__ = (UniqueConstraint("offering", "reseller", "revision"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    offering: Mapped[str] = mapped_column(ForeignKey("offerings.id"))
    reseller: Mapped[str] = mapped_column(server_default=text("''"), comment="Empty: it is the provider's own.")
    revision: Mapped[int] = mapped_column(comment="1, 2, 3, ... for each offering and seller.")
    created_at: Mapped[datetime] = mapped_column(Instant)
    zone: Mapped[str] = mapped_column(
        server_default="Asia/Shanghai", comment="Whose clocks and days the windows of the tariffs go by."
    )
    tariffs: Mapped[list[dict[str, Any]]] = mapped_column(Json)
    calendar: Mapped[list[dict[str, Any]]] = mapped_column(
        Json, server_default="[]", comment="The years as they were published then; none where no tariff has windows."
    )
    modes: Mapped[list[dict[str, Any]]] = mapped_column(
        Json, server_default="[]", comment="The site's as they were published then; none where all its time is billed."
    )
    volume_discounts: Mapped[dict[str, Any]] = mapped_column(Json, server_default="{}")

    def shown(self) -> PriceList:
        return PriceList(
            id=self.id,
            offering=self.offering,
            reseller=self.reseller or None,
            revision=self.revision,
            created_at=self.created_at,
            zone=self.zone,
            tariffs=tuple(Tariff.model_validate(tariff) for tariff in self.tariffs),
            calendar=tuple(CalendarYear.model_validate(year) for year in self.calendar),
            volume_discounts={
                Component(component): tuple(VolumeTier.model_validate(tier) for tier in tiers)
                for component, tiers in self.volume_discounts.items()
            },
            modes=tuple(SiteModeFrom.model_validate(mode) for mode in self.modes),
        )
