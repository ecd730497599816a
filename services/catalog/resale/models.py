"""Tables of resale agreements."""

from datetime import datetime

from sqlalchemy import ColumnElement, ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from caravan.contracts.resale import ResaleAgreement
from caravan.kernel.database import Instant, Json
from services.catalog.models_base import Base, Entity


class ResaleAgreementRow(Entity, Base):
    __tablename__ = "resale_agreements"

    reseller: Mapped[str] = mapped_column(ForeignKey("organizations.id"), index=True)
    project: Mapped[str] = mapped_column(ForeignKey("projects.id"))
    starts_at: Mapped[datetime] = mapped_column(Instant)
    ends_at: Mapped[datetime | None] = mapped_column(Instant)
    members: Mapped[list[str]] = mapped_column(Json)

    @classmethod
    def stands(cls) -> ColumnElement[bool]:
        """It wasn't cancelled before it began."""
        return cls.ends_at.is_(None) | (cls.ends_at > cls.starts_at)

    def shown(self) -> ResaleAgreement:
        return ResaleAgreement(
            id=self.id,
            reseller=self.reseller,
            project=self.project,
            members=tuple(self.members),
            starts_at=self.starts_at,
            ends_at=self.ends_at,
            version=self.version,
            created_at=self.created_at,
        )


class ResaleMemberRow(Base):
    """A member of an agreement, to find agreements by."""

    __tablename__ = "resale_members"

    agreement: Mapped[str] = mapped_column(ForeignKey("resale_agreements.id"), primary_key=True)
    organization: Mapped[str] = mapped_column(ForeignKey("organizations.id"), primary_key=True, index=True)
