"""Id types, so that a field says what it refers to and a wrong kind of id is refused by name."""

from typing import Annotated

from caravan.contracts.base import text
from caravan.kernel.ids import pattern

OrganizationId = Annotated[str, text(pattern("org"))]
ProjectId = Annotated[str, text(pattern("prj"))]
ProviderId = Annotated[str, text(pattern("prv"))]
SiteId = Annotated[str, text(pattern("sit"))]
TenantId = Annotated[str, text(pattern("ten"))]
AcceleratorId = Annotated[str, text(r"^acc_[a-z0-9][a-z0-9\-]{0,62}$")]
"""A stable slug, `acc_nvidia-h100-80g`: accelerators are seeded data that every installation names the same."""
OfferingId = Annotated[str, text(pattern("off"))]
PriceListId = Annotated[str, text(pattern("prl"))]
ResaleAgreementId = Annotated[str, text(pattern("rsl"))]
QuoteId = Annotated[str, text(pattern("quo"))]
JobId = Annotated[str, text(pattern("job"))]
PlacementId = Annotated[str, text(pattern("plc"))]
AttemptId = Annotated[str, text(pattern("att"))]
RunId = Annotated[str, text(pattern("run"))]
LogReadId = Annotated[str, text(pattern("log"))]
DepositId = Annotated[str, text(pattern("dep"))]
BudgetId = Annotated[str, text(pattern("bud"))]
PeriodId = Annotated[str, text(pattern("per"))]
StatementId = Annotated[str, text(pattern("stm"))]
TaxRuleId = Annotated[str, text(pattern("tax"))]
FeeAgreementId = Annotated[str, text(pattern("fee"))]
AnomalyId = Annotated[str, text(pattern("ano"))]
SilenceId = Annotated[str, text(pattern("sil"))]
CreditNoteId = Annotated[str, text(pattern("crn"))]
ReconciliationId = Annotated[str, text(pattern("rec"))]
ContestId = Annotated[str, text(pattern("cts"))]
LineId = Annotated[str, text(pattern("lin"))]
EntryId = Annotated[str, text(pattern("ent"))]
CorrectionId = Annotated[str, text(pattern("cor"))]
ProgrammeId = Annotated[str, text(pattern("prg"))]
VoucherApplicationId = Annotated[str, text(pattern("vap"))]
ReimbursementId = Annotated[str, text(pattern("rei"))]
VoucherId = Annotated[str, text(pattern("vou"))]
