"""Placing by what the broker knows now, and quotes: the stored answer to "where could this job run"."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Final

from sqlalchemy import insert, select, true
from sqlalchemy.orm import Session

from caravan.contracts.offerings import SiteState
from caravan.contracts.problems import UnknownReference
from caravan.contracts.quotes import Quote
from caravan.contracts.spec import JobSpec
from caravan.kernel import clock, ids
from caravan.kernel.database import Database, table_of
from caravan.kernel.money import Money
from caravan.kernel.pages import Page, PageParams
from caravan.kernel.prepared import Prepared
from caravan.kernel.problems import FieldError, NotFound
from caravan.kernel.tokens import Caller
from services.broker.dispatch.models import SiteRow
from services.broker.placement import capacity
from services.broker.placement.copies import Catalog, CatalogView, project_of
from services.broker.placement.decide import Decision, decide, to_hold
from services.broker.placement.models import StoredQuote
from services.broker.placement.question import AdapterHere, Question, Reseller, RoomsOf, SiteNow

_sites_table = table_of(SiteRow)
_SITES: Final = Prepared(
    select(*(_sites_table.c[name] for name in ("site", "adapter", "adapter_version", "health", "detail")))
)


class Placer:
    """Feeds the pure decision with the catalog's copy, the adapters installed here, the sites' state and what is occupied."""

    def __init__(self, catalog: Catalog, adapters: Mapping[str, AdapterHere]) -> None:
        self.catalog = catalog
        self._adapters = adapters

    def decide(self, tx: Session, question: Question, job: str | None = None) -> Decision:
        """Rank and refuse as of this transaction. `job`: one that waits itself, and yields only to older ones."""
        return decide(question, self.catalog.view(tx), self._adapters, _sites(tx), partial(capacity.rooms, tx, job=job))

    def reseller(self, tx: Session, organization: str, now: datetime) -> Reseller | None:
        """Whom it buys from, of what that sells, for jobs that are submitted now."""
        return self.catalog.view(tx).reseller(organization, now)

    def longest_walltime(self, tx: Session, question: Question, money: Money) -> int | None:
        """The walltime, at most the one asked for, that would be funded by `money` now, while one second more would not."""
        view, sites = self.catalog.view(tx), _sites(tx)

        def decided(walltime: int, view: CatalogView, rooms: RoomsOf) -> Decision:
            resources = question.spec.resources.model_copy(update={"walltime_seconds": walltime})
            spec = question.spec.model_copy(update={"resources": resources})
            return decide(replace(question, spec=spec), view, self._adapters, sites, rooms)

        # No reason against an offering passes when the walltime grows.
        shortest = decided(1, view, partial(capacity.rooms, tx)).options
        view = replace(view, sold=tuple(option.sold for option in shortest))
        occupied = capacity.rooms(tx, [option.candidate.offering for option in shortest])
        fitting, too_long = 0, question.spec.resources.walltime_seconds + 1
        while too_long - fitting > 1:
            middle = (fitting + too_long) // 2
            hold = to_hold(decided(middle, view, lambda _: occupied).options)
            if hold is not None and hold <= money:
                fitting = middle
            else:
                too_long = middle
        return fitting or None


def _sites(tx: Session) -> Mapping[str, SiteNow]:
    return {
        row.site: SiteNow(row.adapter, row.adapter_version, SiteState(row.health) if row.health else None)
        for row in _SITES.all(tx)
    }


def organization_of(tx: Session, spec: JobSpec, caller: Caller) -> str:
    """The organization that the spec's project belongs to. Raises UnknownReference when it isn't one of the caller's."""
    project = project_of(tx, spec.project)
    if project is None or not caller.is_org_member(project["organization"]):
        detail = "There is no such project of yours; create it first"
        raise UnknownReference(errors=[FieldError(pointer="/project", code="unknown", detail=detail)])
    organization: str = project["organization"]
    return organization


class QuoteService:
    """Quotes are kept, so that what was answered can be looked up again."""

    def __init__(self, db: Database, placer: Placer) -> None:
        self._db = db
        self._placer = placer

    async def create(self, spec: JobSpec, caller: Caller) -> Quote:
        """Answer where the job could run and why not elsewhere. Nothing is reserved. Raises UnknownReference."""
        return await self._db.write(self._create, spec, caller)

    async def get(self, quote: str, caller: Caller) -> Quote:
        """Raises NotFound."""
        return await self._db.read(self._get, quote, caller)

    async def list(self, caller: Caller, page: PageParams) -> Page[Quote]:
        """The caller's organizations' quotes, the newest first."""
        listing = page.listing("quotes", caller, (str,))

        def rows(tx: Session) -> list[Quote]:
            wanted = (
                select(StoredQuote.data)
                .where(StoredQuote.organization.in_(sorted(caller.organizations())))
                .where(StoredQuote.id < listing.after[0] if listing.after else true())
                .order_by(StoredQuote.id.desc())
                .limit(listing.fetch)
            )
            return [Quote.model_validate_json(data) for data in tx.scalars(wanted)]

        return listing.page(await self._db.read(rows), key=lambda quote: (quote.id,))

    def _create(self, tx: Session, spec: JobSpec, caller: Caller) -> Quote:
        organization, now = organization_of(tx, spec, caller), clock.now()
        reseller = self._placer.reseller(tx, organization, now)
        decision = self._placer.decide(tx, Question(spec, organization, reseller, len(spec.indices), now, {}))
        quote = Quote(
            id=ids.new("quo"),
            organization=organization,
            project=spec.project,
            candidates=tuple(option.candidate for option in decision.options),
            refused=decision.refused,
            created_at=now,
        )
        tx.execute(
            insert(StoredQuote).values(
                id=quote.id, organization=quote.organization, data=quote.model_dump_json(), created_at=now
            )
        )
        return quote

    def _get(self, tx: Session, quote: str, caller: Caller) -> Quote:
        row = tx.execute(select(StoredQuote).where(StoredQuote.id == quote)).scalar_one_or_none()
        if row is None or not caller.is_org_member(row.organization):
            raise NotFound
        return Quote.model_validate_json(row.data)
