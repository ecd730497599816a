"""HTTP for contests."""

from typing import Annotated

from caravan.contracts.contests import Contest, ContestDecision, ContestDraft
from caravan.contracts.ids import ContestId, RunId
from caravan.contracts.problems import (
    ContestDecided,
    ContestOpen,
    ContestOverlaps,
    NotContestable,
    SecondPersonNeeded,
    UnknownReference,
)
from caravan.kernel.pages import Page, PageParams
from caravan.kernel.web import Finance, ProviderAdmin, Router, problems, provided
from services.accounting.charging.endpoints import PartyReader
from services.accounting.contests.service import ContestService

router = Router(prefix="/v1", tags=["contests"])
Contests = Annotated[ContestService, provided(ContestService)]


@router.post("/contests", status_code=201, responses=problems(UnknownReference, NotContestable, ContestOpen))
async def contest_run(draft: ContestDraft, caller: ProviderAdmin, contests: Contests) -> Contest:
    """Say that a run which ended by your site's fault, was lost or was a duplicate is not yours to bear. Finance decides."""
    return await contests.contest(draft, caller)


@router.get("/contests")
async def list_contests(
    page: PageParams, caller: PartyReader, contests: Contests, run: RunId | None = None
) -> Page[Contest]:
    """List contests, the newest first: all to finance, to the parties those of their runs."""
    return await contests.list(page.listing("contests", caller, (str,), run=run), caller, run)


@router.get("/contests/{contest}")
async def get_contest(contest: ContestId, caller: PartyReader, contests: Contests) -> Contest:
    """Read a contest."""
    return await contests.get(contest, caller)


@router.post("/contests/{contest}/decide", responses=problems(ContestDecided, SecondPersonNeeded, ContestOverlaps))
async def decide_contest(contest: ContestId, decision: ContestDecision, caller: Finance, contests: Contests) -> Contest:
    """Uphold or dismiss a contest that somebody else has made. Upheld, the organization bears the run, as far as its job's hold covers it;
    what stands in closed periods is adjusted."""
    return await contests.decide(contest, decision, caller)
