"""HTTP for the ledger."""

from typing import Annotated

from fastapi import Query

from caravan.contracts.ids import OrganizationId
from caravan.contracts.statements import EntryKind, LedgerEntry, TrialBalance
from caravan.kernel.pages import Page, PageParams
from caravan.kernel.web import Finance, Router, provided
from services.accounting.funds.endpoints import MoneyReader, visible
from services.accounting.ledger.reading import LedgerService

router = Router(prefix="/v1", tags=["ledger"])
Books = Annotated[LedgerService, provided(LedgerService)]
Account = Annotated[
    str | None,
    Query(min_length=1, max_length=200, description="For example `bank` or `payable:prv_…`.", examples=["bank"]),
]


@router.get("/ledger/entries")
async def list_ledger_entries(
    page: PageParams,
    caller: MoneyReader,
    ledger: Books,
    organization: OrganizationId | None = None,
    account: Account = None,
    kind: EntryKind | None = None,
) -> Page[LedgerEntry]:
    """List ledger entries, the newest first: all to finance, those of their own to an organization's members."""
    listing = page.listing("ledger_entries", caller, (str,), organization=organization, account=account, kind=kind)
    return await ledger.list(listing, visible(caller, organization), account, kind)


@router.get("/ledger/trial-balance")
async def get_trial_balance(caller: Finance, ledger: Books) -> TrialBalance:
    """Read every account's debits, credits and balance. Their sum is zero."""
    return await ledger.trial_balance()
