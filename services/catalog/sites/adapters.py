"""Announced adapters, and what they say of settings."""

from typing import Any, Literal

from sqlalchemy import select
from sqlalchemy.orm import Session

from caravan.contracts.offerings import AdapterDescriptor, OfferingDraft
from caravan.contracts.problems import AdapterUnknown, SettingsRefused
from caravan.kernel.feed import upsert
from caravan.kernel.problems import FieldError
from services.catalog.sites import schema
from services.catalog.sites.models import AdapterRow

NEEDS_CONSENT = "needs_consent"
"""Capability of an adapter whose jobs run on the agent's own machine: in production a site has to consent to that."""
CONSENT = "i_accept_jobs_on_this_machine"


def announced(tx: Session, name: str) -> AdapterDescriptor:
    """The descriptor as announced last. Raises AdapterUnknown with the names that are known."""
    row = tx.get(AdapterRow, name)
    if row is None:
        raise AdapterUnknown(known=tuple(tx.scalars(select(AdapterRow.name).order_by(AdapterRow.name))))
    return row.shown()


def hold(
    descriptor: AdapterDescriptor, part: Literal["site_settings", "tenant_settings", "target"], value: Any, pointer: str
) -> None:
    """Raise SettingsRefused, naming each place, unless `value` is as the adapter wants it."""
    errors = schema.faults(getattr(descriptor, part), value, pointer)
    if errors:
        raise SettingsRefused(errors=errors)


def hold_choices(descriptor: AdapterDescriptor, draft: OfferingDraft) -> None:
    """Raise SettingsRefused, naming each choice with which the target, right without it, isn't as the adapter wants it."""
    errors = [
        FieldError(pointer=f"/choices/{field}/{number}", code=fault.code, detail=fault.detail)
        for field, values in draft.choices.items()
        for number, value in enumerate(values)
        for fault in schema.faults(descriptor.target, draft.target_with({field: value}), "")
    ]
    if errors:
        raise SettingsRefused(errors=errors)


def announce(tx: Session, descriptor: AdapterDescriptor) -> None:
    """Keep what was announced. Raises SchemaError when one of its schemas is none."""
    for one in (descriptor.site_settings, descriptor.tenant_settings, descriptor.target):
        schema.check_schema(one)
    values = {"descriptor": descriptor.model_dump(mode="json")}
    tx.execute(
        upsert(tx, AdapterRow)
        .values(name=descriptor.name, **values)
        .on_conflict_do_update(index_elements=["name"], set_=values)
    )
