"""HTTP for reconciliations."""

from typing import Annotated

from caravan.contracts.reconciliations import BooksReconciliation
from caravan.kernel.pages import Page, PageParams
from caravan.kernel.web import Finance, Router, provided
from services.accounting.reconciliations.reading import ReconciliationService

router = Router(prefix="/v1", tags=["ledger"])


@router.get("/reconciliations")
async def list_reconciliations(
    page: PageParams,
    caller: Finance,
    reconciliations: Annotated[ReconciliationService, provided(ReconciliationService)],
) -> Page[BooksReconciliation]:
    """List what each night's reconciliation of the books found, the newest first."""
    return await reconciliations.list(page.listing("reconciliations", caller, (str,)))
