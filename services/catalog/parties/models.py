"""Tables of organizations, projects and providers."""

from sqlalchemy import ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from caravan.contracts.parties import Organization, Project, Provider, ProviderKind, ProviderState
from services.catalog.models_base import Base, Entity


class OrganizationRow(Entity, Base):
    __tablename__ = "organizations"

    name: Mapped[str]
    credit_code: Mapped[str | None] = mapped_column(unique=True)
    price_class: Mapped[str | None]

    def shown(self) -> Organization:
        return Organization(
            id=self.id,
            name=self.name,
            credit_code=self.credit_code,
            price_class=self.price_class,
            version=self.version,
            created_at=self.created_at,
        )


class ProjectRow(Entity, Base):
    __tablename__ = "projects"

    organization: Mapped[str] = mapped_column(ForeignKey("organizations.id"), index=True)
    name: Mapped[str]

    def shown(self) -> Project:
        return Project(
            id=self.id,
            organization=self.organization,
            name=self.name,
            version=self.version,
            created_at=self.created_at,
        )


class ProviderRow(Entity, Base):
    __tablename__ = "providers"

    name: Mapped[str]
    kind: Mapped[str]
    region: Mapped[str]
    credit_code: Mapped[str | None]
    tax_rate: Mapped[int]
    state: Mapped[str]
    applicant: Mapped[str] = mapped_column(comment="The subject that applied; it sees its application.")
    search_text: Mapped[str]

    @property
    def approved(self) -> bool:
        return self.state == ProviderState.APPROVED

    def shown(self) -> Provider:
        return Provider(
            id=self.id,
            name=self.name,
            kind=ProviderKind(self.kind),
            region=self.region,
            credit_code=self.credit_code,
            tax_rate=self.tax_rate,
            state=ProviderState(self.state),
            version=self.version,
            created_at=self.created_at,
        )
