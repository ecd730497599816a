"""What the ledger says of jobs, whatever site they ran at."""

from collections import Counter
from typing import Final

from caravan.client import AccountingClient, each
from caravan.contracts.statements import EntryKind

PRICES: Final = {"cpu_core_hour": "36.00", "memory_gib_hour": "0.72", "node_hour": "1.08", "job": "0.01"}


async def paid_by_job(money: AccountingClient, organization: str) -> Counter[str]:
    """Fen that the organization has paid or owes for each job."""
    paid = Counter[str]()
    for kind in (EntryKind.CHARGE, EntryKind.REVERSAL):
        async for entry in each(money.list_ledger_entries, organization=organization, kind=kind):
            paid[entry.reference] += sum(
                posting.amount.fen
                for posting in entry.postings
                if posting.account.startswith(("prepaid:", "receivable:"))
            )
    return paid
