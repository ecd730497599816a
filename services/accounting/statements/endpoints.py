"""HTTP for statements."""

from typing import Annotated, Any

from fastapi import Query
from fastapi.responses import StreamingResponse

from caravan.contracts.ids import PeriodId, StatementId
from caravan.contracts.statements import Statement, StatementLine
from caravan.kernel.pages import Page, PageParams
from caravan.kernel.web import Response, Router, provided
from services.accounting.charging.endpoints import PartyReader
from services.accounting.statements.service import StatementService

router = Router(prefix="/v1", tags=["statements"])
Statements = Annotated[StatementService, provided(StatementService)]
PartyId = Annotated[str | None, Query(pattern="^(org|prv)_[0-9a-f]{32}$")]
CSV: dict[int | str, dict[str, Any]] = {
    200: {"description": "The lines.", "content": {"text/csv": {"schema": {"type": "string"}}}}
}


@router.get("/statements")
async def list_statements(
    page: PageParams,
    caller: PartyReader,
    statements: Statements,
    period: PeriodId | None = None,
    party_id: PartyId = None,
) -> Page[Statement]:
    """List statements, the newest first: all to finance, their own to members of organizations and admins of providers."""
    listing = page.listing("statements", caller, (str,), period=period, party_id=party_id)
    return await statements.list(listing, caller, period, party_id)


@router.get("/statements/{statement}")
async def get_statement(statement: StatementId, caller: PartyReader, statements: Statements) -> Statement:
    """Read a statement's totals."""
    return await statements.get(statement, caller)


@router.get("/statements/{statement}/lines")
async def list_statement_lines(
    statement: StatementId, page: PageParams, caller: PartyReader, statements: Statements
) -> Page[StatementLine]:
    """List a statement's lines: volume discounts, then by job, the oldest job first."""
    listing = page.listing("statement_lines", caller, (str, str), statement=statement)
    return await statements.list_lines(statement, caller, listing)


@router.get("/statements/{statement}/csv", response_class=StreamingResponse, responses=CSV)
async def get_statement_csv(statement: StatementId, caller: PartyReader, statements: Statements) -> Response:
    """Download a statement's lines as CSV: UTF-8 with a byte order mark, a Chinese and English header, a row for each line.

    The sha256 of the file is the statement's `lines_sha256`. Names that would start a spreadsheet's formula have an apostrophe before them.
    """
    number, content = await statements.csv(statement, caller)
    return StreamingResponse(
        content,
        media_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{number}.csv"'},
    )
