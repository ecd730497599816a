"""Accelerator kinds: seeded from `accelerators.json`, added by centres, never changed."""

from importlib.resources import files

from pydantic import TypeAdapter
from sqlalchemy import select
from sqlalchemy.orm import Session

from caravan.contracts.events import ACCELERATOR
from caravan.contracts.offerings import Accelerator
from caravan.contracts.problems import AlreadyExists
from caravan.kernel import audit, feed
from caravan.kernel.database import Database
from caravan.kernel.pages import Listing, Page
from caravan.kernel.tokens import Caller
from services.catalog.sites.models import AcceleratorRow
from services.catalog.words import squashed


def seeded() -> tuple[Accelerator, ...]:
    """What every installation starts with."""
    text = files("services.catalog.sites").joinpath("accelerators.json").read_bytes()
    return TypeAdapter(tuple[Accelerator, ...]).validate_json(text)


class AcceleratorService:
    """Kinds of GPUs, NPUs and DCUs."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def seed(self) -> None:
        """Add the kinds of the data file that are not there yet."""
        await self._db.write(self._seed)

    def _seed(self, tx: Session) -> None:
        known = set(tx.scalars(select(AcceleratorRow.id)))
        for accelerator in seeded():
            if accelerator.id not in known:
                self._insert(tx, accelerator)

    async def add(self, accelerator: Accelerator, caller: Caller) -> Accelerator:
        """Raises AlreadyExists when the id stands for another kind; the same again changes nothing."""
        return await self._db.write(self._add, accelerator, caller)

    def _add(self, tx: Session, accelerator: Accelerator, caller: Caller) -> Accelerator:
        row = tx.get(AcceleratorRow, accelerator.id)
        if row is None:
            self._insert(tx, accelerator)
            audit.record(tx, caller.subject, "add_accelerator", accelerator.id, accelerator)
        elif row.shown() != accelerator:
            raise AlreadyExists("This id stands for another kind. Choose another one.", existing=row.id)
        return accelerator

    def _insert(self, tx: Session, accelerator: Accelerator) -> None:
        text = squashed(accelerator.vendor, accelerator.model, *accelerator.aliases, accelerator.id)
        tx.add(AcceleratorRow(search_text=text, **accelerator.model_dump(mode="json")))
        feed.state(tx, ACCELERATOR, accelerator.id, accelerator)

    async def list(self, listing: Listing) -> Page[Accelerator]:
        return await self._db.read(self._list, listing)

    def _list(self, tx: Session, listing: Listing) -> Page[Accelerator]:
        query = select(AcceleratorRow).order_by(AcceleratorRow.id).limit(listing.fetch)
        if listing.after is not None:
            query = query.where(AcceleratorRow.id > listing.after[0])
        found = [row.shown() for row in tx.scalars(query)]
        return listing.page(found, key=lambda accelerator: (accelerator.id,))
