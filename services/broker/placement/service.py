"""Placing by what the broker knows now, and quotes: the stored answer to "where could this job run"."""

from collections.abc import Mapping

from sqlalchemy import insert, select, true
from sqlalchemy.orm import Session

from caravan.contracts.jobs import JobSpec, Quote
from caravan.contracts.problems import UnknownReference
from caravan.kernel import clock, ids
from caravan.kernel.database import Database
from caravan.kernel.pages import Page, PageParams
from caravan.kernel.problems import FieldError, NotFound
from caravan.kernel.tokens import Caller
from services.broker.dispatch.models import SiteRow
from services.broker.placement import capacity
from services.broker.placement.copies import Catalog, Sold, project_of
from services.broker.placement.decide import AdapterHere, Decision, GrantOf, Question, SiteNow, decide
from services.broker.placement.models import StoredQuote


class Placer:
    """Feeds the pure decision with the catalog's copy, the adapters installed here, the sites' state and what is occupied."""

    def __init__(self, catalog: Catalog, adapters: Mapping[str, AdapterHere]) -> None:
        self.catalog = catalog
        self._adapters = adapters

    def decide(self, tx: Session, question: Question, job: str | None = None) -> Decision:
        """Rank and refuse as of this transaction. `job`: one that waits itself, and yields only to older ones."""
        sites = {
            row.site: SiteNow(row.adapter_version, row.detail if row.health == "refused" else None)
            for row in tx.execute(select(SiteRow.site, SiteRow.adapter_version, SiteRow.health, SiteRow.detail))
        }
        return decide(question, self.catalog.view(tx), self._adapters, sites, capacity.rooms(tx, job))

    def grant(self, sold: Sold) -> GrantOf:
        """What the backend of this offering really allocates."""
        return self._adapters[sold.site.adapter].grant


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
        project = project_of(tx, spec.project)
        if project is None or not caller.is_org_member(project["organization"]):
            raise UnknownReference(
                errors=[
                    FieldError(
                        pointer="/project", code="unknown", detail="There is no such project of yours; create it first"
                    )
                ]
            )
        now = clock.now()
        decision = self._placer.decide(tx, Question(spec, project["organization"], len(spec.indices), now, {}))
        quote = Quote(
            id=ids.new("quo"),
            organization=project["organization"],
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
