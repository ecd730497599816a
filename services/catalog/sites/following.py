"""What the broker's feed changes here: adapters are announced, sites report their health and inventory."""

from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy.orm import Session

from caravan.contracts.events import ADAPTER_ANNOUNCED, SITE, SITE_REPORTED
from caravan.contracts.offerings import AdapterDescriptor, SiteReported
from caravan.kernel import feed
from caravan.kernel.follow import Handler, validated
from services.catalog.sites.adapters import announce
from services.catalog.sites.models import SiteRow


def adapter_announced(tx: Session, event: dict[str, Any]) -> None:
    announce(tx, validated(AdapterDescriptor, event))


def site_reported(tx: Session, event: dict[str, Any]) -> None:
    """Take over what the site says of itself. Reports that only say "still so" move `seen_at`, and what is free: no new version."""
    report: SiteReported = validated(SiteReported, event)
    row = tx.get(SiteRow, report.site)
    if row is None:
        raise LookupError(f"there is no site {report.site}")
    if row.health_seen_at is not None and report.health.seen_at < row.health_seen_at:
        return
    inventory = row.inventory
    if report.inventory is not None:
        inventory = [item.model_dump(mode="json") for item in report.inventory]
    before = row.health_state, row.health_detail, _lasting(row.inventory)
    row.health_seen_at, row.inventory = report.health.seen_at, inventory
    if before != (report.health.state, report.health.detail, _lasting(inventory)):
        row.health_state, row.health_detail = report.health.state, report.health.detail
        row.version += 1
        feed.state(tx, SITE, row.id, row.shown())


def _lasting(inventory: list[dict[str, Any]] | None) -> list[dict[str, Any]] | None:
    """Without what each job changes."""
    return None if inventory is None else [{**item, "free": None} for item in inventory]


BROKER: Final[Mapping[str, Handler]] = {ADAPTER_ANNOUNCED: adapter_announced, SITE_REPORTED: site_reported}
