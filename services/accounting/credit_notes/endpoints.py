"""HTTP for credit notes."""

from typing import Annotated

from caravan.contracts.credit_notes import CreditNote, CreditNoteDraft
from caravan.contracts.ids import CreditNoteId, StatementId
from caravan.contracts.problems import UnknownReference
from caravan.kernel.pages import Page, PageParams
from caravan.kernel.web import Finance, IdempotencyKey, Response, Router, problems, provided, stored
from services.accounting.charging.endpoints import PartyReader
from services.accounting.credit_notes.service import CreditNoteService

router = Router(prefix="/v1", tags=["credit notes"])
CreditNotes = Annotated[CreditNoteService, provided(CreditNoteService)]


@router.post("/credit-notes", status_code=201, response_model=CreditNote, responses=problems(UnknownReference))
async def issue_credit_note(
    draft: CreditNoteDraft, caller: Finance, notes: CreditNotes, key: IdempotencyKey
) -> Response:
    """Give back some of a line on an organization's sealed statement, with a numbered document.

    Never more than is left of the line: less earlier notes, and what later corrections have taken back.
    """
    return stored(await notes.issue(draft, caller, key))


@router.get("/credit-notes")
async def list_credit_notes(
    page: PageParams, caller: PartyReader, notes: CreditNotes, statement: StatementId | None = None
) -> Page[CreditNote]:
    """List credit notes, the newest first: all to finance, to the parties those that name them."""
    return await notes.list(page.listing("credit_notes", caller, (str,), statement=statement), caller, statement)


@router.get("/credit-notes/{credit_note}")
async def get_credit_note(credit_note: CreditNoteId, caller: PartyReader, notes: CreditNotes) -> CreditNote:
    """Read a credit note."""
    return await notes.get(credit_note, caller)
