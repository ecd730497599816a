"""The broker's own copy of the catalog: rows kept by the feed, and a frozen view of all that placement reads.

The view is built once per state of the feed and shared by all requests until the next change.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from operator import itemgetter
from typing import Any, Final

from sqlalchemy import bindparam, select
from sqlalchemy.orm import Session

from caravan.contracts import events
from caravan.contracts.offerings import Accelerator, Offering, OfferingState, Site
from caravan.contracts.parties import Provider, ProviderState, Tenant
from caravan.contracts.prices import PriceList
from caravan.contracts.resale import ResaleAgreement
from caravan.kernel.database import signal, table_of
from caravan.kernel.feed import upsert
from caravan.kernel.follow import Handler
from caravan.kernel.prepared import Prepared
from caravan.kernel.tables import feed_cursors
from caravan.pricing.resale import holds, sells
from services.broker.placement.models import Copy
from services.broker.placement.question import Reseller

CATALOG = "catalog"
SITES_TOPIC = "sites"
KEPT = (
    events.ORGANIZATION,
    events.PROJECT,
    events.PROVIDER,
    events.TENANT,
    events.SITE,
    events.OFFERING,
    events.PRICE_LIST,
    events.RESALE_AGREEMENT,
    events.ACCELERATOR,
)

# Statements of every submission, made once.
_copies = table_of(Copy)
_PROJECT: Final = Prepared(
    select(_copies.c.data).where(_copies.c.id == bindparam("of_project"), _copies.c.type == events.PROJECT)
)
_CURSOR: Final = Prepared(select(feed_cursors.c.cursor).where(feed_cursors.c.feed == CATALOG))


@dataclass(frozen=True)
class Sold:
    """An offering with everything that a placement needs to know of it."""

    offering: Offering
    site: Site
    provider: Provider
    prices: PriceList | None


@dataclass(frozen=True)
class CatalogView:
    """The catalog as the broker last heard of it."""

    cursor: str
    sold: tuple[Sold, ...]
    """What is on sale or paused, by id."""
    offerings: Mapping[str, Offering]
    """In whatever state: what was placed on one is still to be dispatched."""
    sites: Mapping[str, Site]
    accelerators: Mapping[str, Accelerator]
    tenants: Mapping[str, Tenant]
    mapped: Mapping[tuple[str, str, str | None], Tenant]
    """(site, organization, project or None) -> tenant."""
    classes: Mapping[str, str]
    """Organization -> its price class, of those that have one."""
    resold: Mapping[tuple[str, str], PriceList] = field(default_factory=dict)
    """(offering, reseller) -> the reseller's newest list of it."""
    agreements: Mapping[str, Sequence[ResaleAgreement]] = field(default_factory=dict)
    """Organization -> those that it is a member of."""
    names: Mapping[str, str] = field(default_factory=dict)
    """Reseller -> its name."""

    def tenant(self, site: str, organization: str, project: str) -> Tenant | None:
        """The project's own mapping at the site, else the organization's."""
        return self.mapped.get((site, organization, project)) or self.mapped.get((site, organization, None))

    def reseller(self, organization: str, at: datetime) -> Reseller | None:
        """Whose member the organization is at `at`."""
        agreement = next((one for one in self.agreements.get(organization, ()) if holds(one, at)), None)
        return None if agreement is None else Reseller(agreement.reseller, agreement.project)

    def resold_by(self, reseller: Reseller | None, offering: str, at: datetime) -> PriceList | None:
        """The prices at which the reseller sells the offering; None: the provider sells it."""
        newest = None if reseller is None else self.resold.get((offering, reseller.organization))
        return newest if sells(newest, at) else None


SOLD: Final = (OfferingState.ACTIVE, OfferingState.PAUSED)
EMPTY: Final = CatalogView("", (), {}, {}, {}, {}, {}, {})


class Catalog:
    """Gives the current view; reads the database only when the feed has moved."""

    def __init__(self) -> None:
        self._view = EMPTY

    def view(self, tx: Session) -> CatalogView:
        """The view as of this transaction."""
        row = _CURSOR.first(tx)
        cursor = row.cursor if row else ""
        view = self._view
        if view.cursor != cursor or not cursor:
            view = self._view = _build(tx, cursor)
        return view


def _build(tx: Session, cursor: str) -> CatalogView:
    found: dict[str, dict[str, dict[str, Any]]] = {}
    wanted = (
        events.OFFERING,
        events.SITE,
        events.PROVIDER,
        events.PRICE_LIST,
        events.ACCELERATOR,
        events.TENANT,
        events.ORGANIZATION,
        events.RESALE_AGREEMENT,
    )
    for id_, type_, data in tx.execute(select(Copy.id, Copy.type, Copy.data).where(Copy.type.in_(wanted))):
        found.setdefault(type_, {})[id_] = json.loads(data)
    sites = {i: Site.model_validate(d) for i, d in found.get(events.SITE, {}).items()}
    providers = {i: Provider.model_validate(d) for i, d in found.get(events.PROVIDER, {}).items()}
    # of all revisions that there ever were, only the newest are read: a list with a calendar takes 0.2 ms
    by_revision = sorted(found.get(events.PRICE_LIST, {}).values(), key=itemgetter("revision"))
    last = {(one["offering"], one.get("reseller")): one for one in by_revision}
    newest = {sold: PriceList.model_validate(one) for sold, one in last.items()}
    agreements: dict[str, list[ResaleAgreement]] = {}
    resellers = set()
    for agreement in map(ResaleAgreement.model_validate, found.get(events.RESALE_AGREEMENT, {}).values()):
        resellers.add(agreement.reseller)
        for member in agreement.members:
            agreements.setdefault(member, []).append(agreement)
    organizations = found.get(events.ORGANIZATION, {})
    offerings = {i: Offering.model_validate(d) for i, d in sorted(found.get(events.OFFERING, {}).items())}
    tenants = {i: Tenant.model_validate(d) for i, d in found.get(events.TENANT, {}).items()}
    return CatalogView(
        cursor=cursor,
        sold=tuple(
            Sold(offering, sites[offering.site], providers[offering.provider], newest.get((offering.id, None)))
            for offering in offerings.values()
            if offering.state in SOLD and offering.site in sites and offering.provider in providers
        ),
        offerings=offerings,
        sites=sites,
        accelerators={i: Accelerator.model_validate(d) for i, d in found.get(events.ACCELERATOR, {}).items()},
        tenants=tenants,
        mapped={(t.site, t.organization, t.project): t for t in tenants.values()},
        classes={
            i: price_class for i, one in organizations.items() if (price_class := one.get("price_class")) is not None
        },
        resold={(offering, reseller): one for (offering, reseller), one in newest.items() if reseller is not None},
        agreements=agreements,
        names={i: one["name"] for i, one in organizations.items() if i in resellers},
    )


def project_of(tx: Session, project: str) -> dict[str, Any] | None:
    """The project as last heard of, or None."""
    row = _PROJECT.first(tx, of_project=project)
    found: dict[str, Any] | None = json.loads(row.data) if row else None
    return found


def price_list_of(tx: Session, price_list: str) -> PriceList:
    """An immutable revision that an attempt was placed by."""
    return PriceList.model_validate_json(tx.execute(select(Copy.data).where(Copy.id == price_list)).scalar_one())


def approved(provider: Provider) -> bool:
    return provider.state is ProviderState.APPROVED


def handlers(offering_changed: Callable[[Session, str], None]) -> dict[str, Handler]:
    """What the broker keeps of the catalog's feed. `offering_changed(tx, offering)`: it may be decided otherwise now."""

    def keep(tx: Session, event: dict[str, Any]) -> None:
        """Keep the entity unless a newer version is here already."""
        data, type_ = event["data"], event["type"]
        version = int(data.get("version") or data.get("revision") or 1)
        known = tx.execute(select(Copy.version).where(Copy.id == data["id"])).scalar_one_or_none()
        if known is not None and known > version:
            return
        values = {
            "type": type_,
            "version": version,
            "data": json.dumps(data, ensure_ascii=False, separators=(",", ":")),
        }
        tx.execute(
            upsert(tx, Copy).values(id=data["id"], **values).on_conflict_do_update(index_elements=["id"], set_=values)
        )
        if type_ == events.SITE:
            signal(tx, SITES_TOPIC)
        if type_ == events.OFFERING:
            offering_changed(tx, data["id"])
        if type_ == events.PRICE_LIST:
            offering_changed(tx, data["offering"])

    return dict.fromkeys(KEPT, keep)
