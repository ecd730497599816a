"""HTTP for anomalies."""

from typing import Annotated

from caravan.contracts.anomalies import Anomaly, AnomalyDecision, AnomalyReason, AnomalyState
from caravan.contracts.ids import AnomalyId
from caravan.contracts.problems import AttemptMissing, IdentityTaken, WrongState
from caravan.kernel.pages import Page, PageParams
from caravan.kernel.web import Finance, Router, problems, provided
from services.accounting.anomalies.service import AnomalyService
from services.accounting.imports.endpoints import Importer

router = Router(prefix="/v1", tags=["usage"])
Anomalies = Annotated[AnomalyService, provided(AnomalyService)]


@router.get("/anomalies")
async def list_anomalies(
    page: PageParams,
    caller: Importer,
    anomalies: Anomalies,
    state: AnomalyState | None = None,
    reason: AnomalyReason | None = None,
) -> Page[Anomaly]:
    """List usage that was set aside, the last found first: all to finance, to a provider's admin what is of its sites."""
    listing = page.listing("anomalies", caller, (str,), state=state, reason=reason)
    return await anomalies.list(listing, caller, state, reason)


@router.post("/anomalies/{anomaly}/settle", responses=problems(WrongState, AttemptMissing, IdentityTaken))
async def settle_anomaly(
    anomaly: AnomalyId, decision: AnomalyDecision, caller: Finance, anomalies: Anomalies
) -> Anomaly:
    """Accept what was set aside, and it is billed as it was stated; or discard it, and it is kept and never billed."""
    return await anomalies.settle(anomaly, decision, caller)
