"""Copies of the catalog's entities, by its state events. An older version never replaces a newer one."""

from collections.abc import Collection
from typing import Any, Final

from pydantic import BaseModel
from sqlalchemy import select
from sqlalchemy.orm import Session

from caravan.contracts import events
from caravan.contracts.offerings import Accelerator, AcceleratorUnit, Offering
from caravan.contracts.parties import Organization, Project, Provider
from caravan.contracts.prices import PriceList
from caravan.kernel import clock
from caravan.kernel.database import Database, signal
from caravan.kernel.feed import upsert
from caravan.kernel.follow import Handler
from caravan.pricing.explained_words import Kind
from services.accounting.usage.models import (
    AcceleratorCopy,
    OfferingCopy,
    OrganizationCopy,
    PriceListCopy,
    ProjectCopy,
    ProviderCopy,
)

TOPIC: Final = "copies"
ARRIVAL_SECONDS: Final = 1.5
_POLL_SECONDS: Final = 0.05


def _keep(tx: Session, table: Any, entity: BaseModel, *names: str) -> None:
    """Keep `id`, `version` and the fields `names` of `entity`, unless a newer version is here."""
    values = entity.model_dump(include={"id", "version", *names})
    tx.execute(
        upsert(tx, table)
        .values(values)
        .on_conflict_do_update(
            index_elements=["id"],
            set_={name: value for name, value in values.items() if name != "id"},
            where=table.version < values["version"],
        )
    )
    signal(tx, TOPIC)


def organization(tx: Session, event: dict[str, Any]) -> None:
    _keep(tx, OrganizationCopy, Organization.model_validate(event["data"]), "name", "credit_code")


def project(tx: Session, event: dict[str, Any]) -> None:
    _keep(tx, ProjectCopy, Project.model_validate(event["data"]), "organization", "name")


def provider(tx: Session, event: dict[str, Any]) -> None:
    _keep(tx, ProviderCopy, Provider.model_validate(event["data"]), "name", "credit_code", "tax_rate")


def price_list(tx: Session, event: dict[str, Any]) -> None:
    found = PriceList.model_validate(event["data"])
    values = {
        "id": found.id,
        "offering": found.offering,
        "reseller": found.reseller or "",
        "revision": found.revision,
        "document": found.model_dump_json(),
        "created_at": found.created_at,
        "volume_discounts": found.model_dump(mode="json", include={"volume_discounts"})["volume_discounts"],
    }
    tx.execute(upsert(tx, PriceListCopy).values(values).on_conflict_do_nothing())


def accelerator(tx: Session, event: dict[str, Any]) -> None:
    kind = Accelerator.model_validate(event["data"])
    values = {"id": kind.id, "name": kind.name, "unit": kind.unit, "domestic": kind.domestic}
    tx.execute(upsert(tx, AcceleratorCopy).values(values).on_conflict_do_update(index_elements=["id"], set_=values))


def offering(tx: Session, event: dict[str, Any]) -> None:
    _keep(tx, OfferingCopy, Offering.model_validate(event["data"]), "provider", "tier", "accelerator")


HANDLERS: Final[dict[str, Handler]] = {
    events.ORGANIZATION: organization,
    events.PROJECT: project,
    events.PROVIDER: provider,
    events.PRICE_LIST: price_list,
    events.ACCELERATOR: accelerator,
    events.OFFERING: offering,
}


def kinds(tx: Session, accelerators: Collection[str]) -> dict[str, Kind]:
    """Those of them that are here."""
    found = tx.execute(select(*AcceleratorCopy.__table__.c).where(AcceleratorCopy.id.in_(accelerators)))
    return {row.id: Kind(row.name, AcceleratorUnit(row.unit)) for row in found}


def is_known(tx: Session, organization: str, project: str | None) -> bool:
    """Whether the organization, and the project as one of its own, are here."""
    if project is None:
        found = select(OrganizationCopy.id).where(OrganizationCopy.id == organization)
    else:
        found = select(ProjectCopy.id).where(ProjectCopy.id == project, ProjectCopy.organization == organization)
    return tx.execute(found).first() is not None


def is_provider(tx: Session, provider: str) -> bool:
    """Whether the provider is here."""
    return tx.execute(select(ProviderCopy.id).where(ProviderCopy.id == provider)).first() is not None


def is_party(tx: Session, party: str) -> bool:
    """Whether the provider or organization is here."""
    return is_provider(tx, party) or is_known(tx, party, None)


def names_of(tx: Session, parties: Collection[str]) -> dict[str, str]:
    """The names of organizations and providers as they are now; one that isn't known here names itself."""
    names = {party: party for party in parties}
    for table in (OrganizationCopy, ProviderCopy):
        rows = tx.execute(select(table.id, table.name).where(table.id.in_(parties)))
        names |= {row.id: row.name for row in rows}
    return names


def credit_codes_of(tx: Session, organizations: Collection[str]) -> dict[str, str]:
    """Their unified social credit codes as they are now: of those that have one."""
    has = OrganizationCopy.credit_code.is_not(None)
    rows = tx.execute(
        select(OrganizationCopy.id, OrganizationCopy.credit_code).where(OrganizationCopy.id.in_(organizations), has)
    )
    return {row.id: row.credit_code for row in rows}


async def arrived(db: Database, organization: str, project: str | None = None) -> bool:
    """Whether they are known here, waiting some seconds for what the catalog has only just made."""
    deadline = clock.monotonic() + ARRIVAL_SECONDS
    while True:
        version = db.version(TOPIC)
        if await db.read(is_known, organization, project):
            return True
        left = deadline - clock.monotonic()
        if left <= 0:
            return False
        await db.wait(TOPIC, version, left if db.sqlite else min(left, _POLL_SECONDS))
