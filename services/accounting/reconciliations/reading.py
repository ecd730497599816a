"""What finance reads of reconciliations."""

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from caravan.contracts.reconciliations import BooksReconciliation
from caravan.kernel.database import Database
from caravan.kernel.pages import Listing, Page
from services.accounting.reconciliations.models import ReconciliationRow


class ReconciliationService:
    def __init__(self, db: Database) -> None:
        self._db = db

    async def list(self, listing: Listing) -> Page[BooksReconciliation]:
        """The newest first."""
        return listing.page(await self._db.read(_reconciliations, listing), key=lambda one: (one.id,))


def _reconciliations(tx: Session, listing: Listing) -> Sequence[BooksReconciliation]:
    query = select(*ReconciliationRow.__table__.c).order_by(ReconciliationRow.id.desc()).limit(listing.fetch)
    if listing.after:
        query = query.where(ReconciliationRow.id < listing.after[0])
    shown = BooksReconciliation.model_fields
    return [
        BooksReconciliation.model_validate({name: value for name, value in row._mapping.items() if name in shown})
        for row in tx.execute(query)
    ]
