"""Accounting's API: funds, budgets and holds; periods, lines and statements; the ledger; programmes."""

from collections.abc import Sequence
from datetime import date, datetime
from typing import cast
from urllib.parse import quote

from caravan.client.base import Client, new_key
from caravan.contracts.anomalies import Anomaly, AnomalyDecision, AnomalyReason, AnomalyState
from caravan.contracts.contests import Contest, ContestDecision, ContestDraft
from caravan.contracts.corrections import Correction, CorrectionDetail, CorrectionDraft
from caravan.contracts.credit_notes import CreditNote, CreditNoteDraft
from caravan.contracts.estimates import Forecast, Preview, PreviewQuestion
from caravan.contracts.explanations import DiscountExplanation, Explanation, LineExplanation
from caravan.contracts.fees import FeeAgreement, FeeAgreementDraft
from caravan.contracts.funds import (
    Budget,
    BudgetChange,
    BudgetDraft,
    CreditLimit,
    CreditLimitDraft,
    Deposit,
    DepositDraft,
    Funds,
    Hold,
    HoldAnswer,
    HoldBatch,
    HoldOutcomes,
    HoldRequest,
    Holds,
)
from caravan.contracts.imports import By, ImportBatch, ImportOutcome, UsageSums
from caravan.contracts.prices import Component
from caravan.contracts.programme_reports import ProgrammeCuts, ProgrammePayments, ProgrammeRefusals, ProgrammeStanding
from caravan.contracts.programmes import PoolsDraft, Programme, ProgrammeDraft
from caravan.contracts.reconciliations import BooksReconciliation
from caravan.contracts.redemptions import JobRedemption, VoucherShare
from caravan.contracts.reimbursements import (
    Reimbursables,
    ReimbursedLine,
    Reimbursement,
    ReimbursementDraft,
    ReimbursementPaymentDraft,
    ReimbursementState,
    RepaymentDraft,
)
from caravan.contracts.runs import SiteRuns
from caravan.contracts.silences import Silence
from caravan.contracts.statements import (
    EntryKind,
    LedgerEntry,
    Line,
    Period,
    PeriodCut,
    Statement,
    StatementLine,
    TrialBalance,
)
from caravan.contracts.tax import TaxRule, TaxRuleDraft
from caravan.contracts.usage import UsageExport
from caravan.contracts.vouchers import (
    ApplicationState,
    ClawbackDraft,
    EligibilityAnswers,
    EligibilityQuestion,
    Evidence,
    ReviewDraft,
    RevocationDraft,
    Voucher,
    VoucherApplication,
    VoucherApplicationDraft,
)
from caravan.kernel.pages import Page


class AccountingClient(Client):
    """See Client for what all methods have in common."""

    async def put_hold(self, job: str, request: HoldRequest) -> HoldAnswer:
        """Raises HoldOutdated. An answer that isn't granted is an answer, not a problem."""
        return await self._call("PUT", f"/holds/{job}", HoldAnswer, body=request)

    async def put_holds(self, batch: HoldBatch) -> HoldOutcomes:
        """One outcome for each, in the order of the batch."""
        return await self._call("POST", "/holds:batch", HoldOutcomes, body=batch)

    async def list_holds(self, job: str) -> Holds:
        return await self._call("GET", "/holds", Holds, query={"job": job})

    async def get_hold(self, job: str, *, organization: str | None = None) -> Hold:
        return await self._call("GET", f"/holds/{job}", Hold, query={"organization": organization})

    async def record_deposit(self, draft: DepositDraft, key: str | None = None) -> Deposit:
        return await self._call("POST", "/deposits", Deposit, body=draft, key=key or new_key())

    async def list_deposits(
        self, *, organization: str | None = None, limit: int | None = None, cursor: str | None = None
    ) -> Page[Deposit]:
        query = {"organization": organization, "limit": limit, "cursor": cursor}
        return await self._call("GET", "/deposits", Page[Deposit], query=query)

    async def get_funds(self, organization: str) -> Funds:
        return await self._call("GET", f"/funds/{organization}", Funds)

    async def get_credit_limit(self, organization: str) -> CreditLimit:
        return await self._call("GET", f"/funds/{organization}/credit-limit", CreditLimit)

    async def set_credit_limit(self, organization: str, limit: CreditLimitDraft, version: int) -> CreditLimit:
        return await self._call("PUT", f"/funds/{organization}/credit-limit", CreditLimit, body=limit, version=version)

    async def create_budget(self, draft: BudgetDraft) -> Budget:
        return await self._call("POST", "/budgets", Budget, body=draft)

    async def list_budgets(
        self,
        *,
        organization: str | None = None,
        project: str | None = None,
        limit: int | None = None,
        cursor: str | None = None,
    ) -> Page[Budget]:
        query = {"organization": organization, "project": project, "limit": limit, "cursor": cursor}
        return await self._call("GET", "/budgets", Page[Budget], query=query)

    async def get_budget(self, budget: str) -> Budget:
        return await self._call("GET", f"/budgets/{budget}", Budget)

    async def update_budget(self, budget: str, change: BudgetChange, version: int) -> Budget:
        return await self._call("PUT", f"/budgets/{budget}", Budget, body=change, version=version)

    async def explain_job(self, job: str) -> Explanation:
        """The job's charge, down to the second."""
        return await self._call("GET", f"/jobs/{job}/explanation", Explanation)

    async def explain_line(self, line: str) -> LineExplanation | DiscountExplanation:
        """The line, day by day; a volume discount by its tiers."""
        either = cast("type[LineExplanation | DiscountExplanation]", LineExplanation | DiscountExplanation)
        return await self._call("GET", f"/lines/{line}/explanation", either)

    async def list_lines(
        self,
        *,
        period: str | None = None,
        organization: str | None = None,
        provider: str | None = None,
        seller: str | None = None,
        job: str | None = None,
        limit: int | None = None,
        cursor: str | None = None,
    ) -> Page[Line]:
        query = {
            "period": period,
            "organization": organization,
            "provider": provider,
            "seller": seller,
            "job": job,
            "limit": limit,
            "cursor": cursor,
        }
        return await self._call("GET", "/lines", Page[Line], query=query)

    async def list_periods(self, *, limit: int | None = None, cursor: str | None = None) -> Page[Period]:
        return await self._call("GET", "/periods", Page[Period], query={"limit": limit, "cursor": cursor})

    async def get_period(self, period: str) -> Period:
        return await self._call("GET", f"/periods/{period}", Period)

    async def cut_period(self, period: str, cut: PeriodCut, key: str | None = None) -> Period:
        """End the open period at a second of its own choosing. Raises PeriodCutRefused."""
        return await self._call("POST", f"/periods/{period}/cut", Period, body=cut, key=key or new_key())

    async def close_period(self, period: str, key: str | None = None) -> Period:
        """Its state is `closing` until every site's usage is complete, then `closed`."""
        return await self._call("POST", f"/periods/{period}/close", Period, key=key or new_key())

    async def post_tax_rule(self, draft: TaxRuleDraft) -> TaxRule:
        """Raises UnknownReference, PeriodFrozen."""
        return await self._call("POST", "/tax-rules", TaxRule, body=draft)

    async def list_tax_rules(
        self, *, seller: str | None = None, limit: int | None = None, cursor: str | None = None
    ) -> Page[TaxRule]:
        query = {"seller": seller, "limit": limit, "cursor": cursor}
        return await self._call("GET", "/tax-rules", Page[TaxRule], query=query)

    async def issue_credit_note(self, draft: CreditNoteDraft, key: str | None = None) -> CreditNote:
        """Raises Invalid for more than is left of the line, UnknownReference."""
        return await self._call("POST", "/credit-notes", CreditNote, body=draft, key=key or new_key())

    async def get_credit_note(self, credit_note: str) -> CreditNote:
        return await self._call("GET", f"/credit-notes/{credit_note}", CreditNote)

    async def list_credit_notes(
        self, *, statement: str | None = None, limit: int | None = None, cursor: str | None = None
    ) -> Page[CreditNote]:
        """Those that name the caller (finance: all), the newest first."""
        query = {"statement": statement, "limit": limit, "cursor": cursor}
        return await self._call("GET", "/credit-notes", Page[CreditNote], query=query)

    async def list_anomalies(
        self,
        *,
        state: AnomalyState | None = None,
        reason: AnomalyReason | None = None,
        limit: int | None = None,
        cursor: str | None = None,
    ) -> Page[Anomaly]:
        """Usage that was set aside at the sites of the caller's providers (finance: all), the last found first."""
        query = {"state": state, "reason": reason, "limit": limit, "cursor": cursor}
        return await self._call("GET", "/anomalies", Page[Anomaly], query=query)

    async def settle_anomaly(self, anomaly: str, decision: AnomalyDecision) -> Anomaly:
        """Raises WrongState for what was settled otherwise, AttemptMissing, IdentityTaken."""
        return await self._call("POST", f"/anomalies/{anomaly}/settle", Anomaly, body=decision)

    async def list_silences(
        self,
        *,
        site: str | None = None,
        lasting: bool | None = None,
        limit: int | None = None,
        cursor: str | None = None,
    ) -> Page[Silence]:
        """When sites of the caller's providers (finance: all) went silent, the last found first."""
        query = {"site": site, "lasting": lasting, "limit": limit, "cursor": cursor}
        return await self._call("GET", "/silences", Page[Silence], query=query)

    async def contest_run(self, draft: ContestDraft) -> Contest:
        """Raises UnknownReference, NotContestable, ContestOpen."""
        return await self._call("POST", "/contests", Contest, body=draft)

    async def get_contest(self, contest: str) -> Contest:
        return await self._call("GET", f"/contests/{contest}", Contest)

    async def list_contests(
        self, *, run: str | None = None, limit: int | None = None, cursor: str | None = None
    ) -> Page[Contest]:
        """Those of the caller's runs (finance: all), the newest first."""
        query = {"run": run, "limit": limit, "cursor": cursor}
        return await self._call("GET", "/contests", Page[Contest], query=query)

    async def decide_contest(self, contest: str, decision: ContestDecision) -> Contest:
        """Raises NotFound, ContestDecided, SecondPersonNeeded, ContestOverlaps."""
        return await self._call("POST", f"/contests/{contest}/decide", Contest, body=decision)

    async def make_fee_agreement(self, draft: FeeAgreementDraft) -> FeeAgreement:
        """Raises UnknownReference, PeriodFrozen, TaxRuleMissing."""
        return await self._call("POST", "/fee-agreements", FeeAgreement, body=draft)

    async def list_fee_agreements(
        self, *, provider: str | None = None, limit: int | None = None, cursor: str | None = None
    ) -> Page[FeeAgreement]:
        query = {"provider": provider, "limit": limit, "cursor": cursor}
        return await self._call("GET", "/fee-agreements", Page[FeeAgreement], query=query)

    async def propose_price_correction(self, draft: CorrectionDraft, key: str | None = None) -> CorrectionDetail:
        """Its state is `previewing` until its preview is complete, then `proposed`. Raises UnknownReference."""
        return await self._call("POST", "/price-corrections", CorrectionDetail, body=draft, key=key or new_key())

    async def list_price_corrections(
        self, *, offering: str | None = None, limit: int | None = None, cursor: str | None = None
    ) -> Page[Correction]:
        query = {"offering": offering, "limit": limit, "cursor": cursor}
        return await self._call("GET", "/price-corrections", Page[Correction], query=query)

    async def get_price_correction(self, correction: str) -> CorrectionDetail:
        return await self._call("GET", f"/price-corrections/{correction}", CorrectionDetail)

    async def approve_price_correction(self, correction: str) -> CorrectionDetail:
        """Safe to repeat. Its state is `applying` until its jobs are charged anew. Raises SecondPersonNeeded, WrongState."""
        return await self._call("POST", f"/price-corrections/{correction}/approve", CorrectionDetail)

    async def reject_price_correction(self, correction: str) -> CorrectionDetail:
        """Safe to repeat. Raises WrongState."""
        return await self._call("POST", f"/price-corrections/{correction}/reject", CorrectionDetail)

    async def list_statements(
        self,
        *,
        period: str | None = None,
        party_id: str | None = None,
        limit: int | None = None,
        cursor: str | None = None,
    ) -> Page[Statement]:
        query = {"period": period, "party_id": party_id, "limit": limit, "cursor": cursor}
        return await self._call("GET", "/statements", Page[Statement], query=query)

    async def get_statement(self, statement: str) -> Statement:
        return await self._call("GET", f"/statements/{statement}", Statement)

    async def list_statement_lines(
        self, statement: str, *, limit: int | None = None, cursor: str | None = None
    ) -> Page[StatementLine]:
        query = {"limit": limit, "cursor": cursor}
        return await self._call("GET", f"/statements/{statement}/lines", Page[StatementLine], query=query)

    async def get_statement_csv(self, statement: str) -> bytes:
        """The document as CSV: UTF-8 with a byte order mark, headers in Chinese and English."""
        return await self._fetch("GET", f"/statements/{statement}/csv")

    async def list_ledger_entries(
        self,
        *,
        organization: str | None = None,
        account: str | None = None,
        kind: EntryKind | None = None,
        limit: int | None = None,
        cursor: str | None = None,
    ) -> Page[LedgerEntry]:
        query = {"organization": organization, "account": account, "kind": kind, "limit": limit, "cursor": cursor}
        return await self._call("GET", "/ledger/entries", Page[LedgerEntry], query=query)

    async def get_trial_balance(self) -> TrialBalance:
        return await self._call("GET", "/ledger/trial-balance", TrialBalance)

    async def list_reconciliations(
        self, *, limit: int | None = None, cursor: str | None = None
    ) -> Page[BooksReconciliation]:
        query = {"limit": limit, "cursor": cursor}
        return await self._call("GET", "/reconciliations", Page[BooksReconciliation], query=query)

    async def export_usage(self, period: str) -> UsageExport:
        return await self._call("GET", "/exports/usage", UsageExport, query={"period": period})

    async def import_usage(self, batch: ImportBatch) -> ImportOutcome:
        """Safe to repeat: the same again changes nothing. Raises UnknownReference."""
        return await self._call("POST", "/imported-usage", ImportOutcome, body=batch)

    async def sum_usage(
        self,
        by: By,
        first: date,
        end: date,
        *,
        zone: str | None = None,
        component: Sequence[Component] = (),
        site: str | None = None,
    ) -> UsageSums:
        """Of the days [first, end) of `zone`. No component, no site: of all."""
        query = {"by": by, "from": first, "to": end, "zone": zone, "component": component, "site": site}
        return await self._call("GET", "/usage", UsageSums, query=query)

    async def list_site_runs(
        self,
        site: str,
        start: datetime,
        end: datetime,
        *,
        job: str | None = None,
        limit: int | None = None,
        cursor: str | None = None,
    ) -> SiteRuns:
        """The runs that were metered at a site in [start, end). A page may have fewer than `limit`, and a next one all the same."""
        query = {"from": start, "to": end, "job": job, "limit": limit, "cursor": cursor}
        return await self._call("GET", f"/sites/{site}/runs", SiteRuns, query=query)

    async def create_programme(self, draft: ProgrammeDraft) -> Programme:
        return await self._call("POST", "/programmes", Programme, body=draft)

    async def update_programme(self, programme: str, draft: ProgrammeDraft, version: int) -> Programme:
        """Raises WrongState once it is published."""
        return await self._call("PUT", f"/programmes/{programme}", Programme, body=draft, version=version)

    async def publish_programme(self, programme: str, version: int) -> Programme:
        """For good. Raises WrongState when it is published."""
        return await self._call("POST", f"/programmes/{programme}/publish", Programme, version=version)

    async def set_programme_pools(self, programme: str, pools: PoolsDraft, version: int) -> Programme:
        return await self._call("PUT", f"/programmes/{programme}/pools", Programme, body=pools, version=version)

    async def list_programmes(self, *, limit: int | None = None, cursor: str | None = None) -> Page[Programme]:
        query = {"limit": limit, "cursor": cursor}
        return await self._call("GET", "/programmes", Page[Programme], query=query)

    async def get_programme(self, programme: str) -> Programme:
        return await self._call("GET", f"/programmes/{programme}", Programme)

    async def get_programme_standing(
        self, programme: str, *, limit: int | None = None, cursor: str | None = None
    ) -> ProgrammeStanding:
        """For the office and finance."""
        query = {"limit": limit, "cursor": cursor}
        return await self._call("GET", f"/programmes/{programme}/standing", ProgrammeStanding, query=query)

    async def preview_programme(self, programme: str, question: PreviewQuestion) -> Preview:
        """What it would have paid. Raises UnknownReference; Invalid for a period that isn't closed, or a name that isn't its."""
        return await self._call("POST", f"/programmes/{programme}/preview", Preview, body=question)

    async def get_programme_payments(self, programme: str, period: str) -> ProgrammePayments:
        """For the office and finance. Raises WrongState for a period that isn't closed."""
        query = {"period": period}
        return await self._call("GET", f"/programmes/{programme}/payments", ProgrammePayments, query=query)

    async def get_programme_cuts(self, programme: str, *, year: int | None = None) -> ProgrammeCuts:
        """Of all claims, or of those in a calendar year. For the office and finance."""
        return await self._call("GET", f"/programmes/{programme}/cuts", ProgrammeCuts, query={"year": year})

    async def forecast_programme(self, programme: str) -> Forecast:
        return await self._call("GET", f"/programmes/{programme}/forecast", Forecast)

    async def get_programme_refusals(self, programme: str) -> ProgrammeRefusals:
        """For the office."""
        return await self._call("GET", f"/programmes/{programme}/refusals", ProgrammeRefusals)

    async def export_programme(self, programme: str) -> bytes:
        """Its vouchers as CSV: UTF-8 with a byte order mark, headers in Chinese and English. For the office and finance."""
        return await self._fetch("GET", f"/programmes/{programme}/export.csv")

    async def check_eligibility(self, question: EligibilityQuestion) -> EligibilityAnswers:
        return await self._call("POST", "/eligibility", EligibilityAnswers, body=question)

    async def apply_for_voucher(self, draft: VoucherApplicationDraft, key: str | None = None) -> VoucherApplication:
        """Raises NotEligible, ProgrammeClosed, AboveCap; AlreadyExists for a contract that is applied with already."""
        return await self._call("POST", "/voucher-applications", VoucherApplication, body=draft, key=key or new_key())

    async def list_voucher_applications(
        self,
        *,
        state: ApplicationState | None = None,
        programme: str | None = None,
        limit: int | None = None,
        cursor: str | None = None,
    ) -> Page[VoucherApplication]:
        query = {"state": state, "programme": programme, "limit": limit, "cursor": cursor}
        return await self._call("GET", "/voucher-applications", Page[VoucherApplication], query=query)

    async def get_voucher_application(self, application: str) -> VoucherApplication:
        return await self._call("GET", f"/voucher-applications/{application}", VoucherApplication)

    async def withdraw_voucher_application(self, application: str) -> VoucherApplication:
        return await self._call("POST", f"/voucher-applications/{application}/withdraw", VoucherApplication)

    async def store_voucher_evidence(self, application: str, name: str, content: bytes) -> Evidence:
        path = f"/voucher-applications/{application}/evidence/{quote(name, safe='')}"
        return await self._call("PUT", path, Evidence, content=content)

    async def get_voucher_evidence(self, application: str, name: str) -> bytes:
        return await self._fetch("GET", f"/voucher-applications/{application}/evidence/{quote(name, safe='')}")

    async def review_voucher_application(
        self, application: str, review: ReviewDraft, version: int
    ) -> VoucherApplication:
        """Raises WrongState, and SameReviewer for who applied or reviewed it before."""
        path = f"/voucher-applications/{application}/review"
        return await self._call("POST", path, VoucherApplication, body=review, version=version)

    async def issue_voucher(self, application: str) -> Voucher:
        """Raises WrongState, AlreadyExists, VoucherCap, PoolExhausted."""
        return await self._call("POST", f"/voucher-applications/{application}/issue", Voucher)

    async def list_vouchers(
        self,
        *,
        organization: str | None = None,
        programme: str | None = None,
        limit: int | None = None,
        cursor: str | None = None,
    ) -> Page[Voucher]:
        query = {"organization": organization, "programme": programme, "limit": limit, "cursor": cursor}
        return await self._call("GET", "/vouchers", Page[Voucher], query=query)

    async def get_voucher(self, voucher: str) -> Voucher:
        return await self._call("GET", f"/vouchers/{voucher}", Voucher)

    async def list_voucher_shares(
        self, voucher: str, *, limit: int | None = None, cursor: str | None = None
    ) -> Page[VoucherShare]:
        """Of lines of closed periods, by line."""
        query = {"limit": limit, "cursor": cursor}
        return await self._call("GET", f"/vouchers/{voucher}/shares", Page[VoucherShare], query=query)

    async def revoke_voucher(self, voucher: str, draft: RevocationDraft) -> Voucher:
        """Raises WrongState for one that has ended."""
        return await self._call("POST", f"/vouchers/{voucher}/revoke", Voucher, body=draft)

    async def get_reimbursable(self, organization: str) -> Reimbursables:
        """What it may claim now of programmes that reimburse."""
        return await self._call("GET", f"/reimbursable/{organization}", Reimbursables)

    async def file_reimbursement(self, draft: ReimbursementDraft, key: str | None = None) -> Reimbursement:
        """Raises NothingDue; AlreadyExists while another one of the programme waits."""
        return await self._call("POST", "/reimbursements", Reimbursement, body=draft, key=key or new_key())

    async def repay_reimbursement(self, repayment: RepaymentDraft, key: str | None = None) -> Reimbursement:
        """Record that an organization has paid back what was taken back. For finance."""
        return await self._call("POST", "/reimbursements/repay", Reimbursement, body=repayment, key=key or new_key())

    async def list_reimbursements(
        self,
        *,
        state: ReimbursementState | None = None,
        organization: str | None = None,
        programme: str | None = None,
        limit: int | None = None,
        cursor: str | None = None,
    ) -> Page[Reimbursement]:
        query = {"state": state, "organization": organization, "programme": programme, "limit": limit, "cursor": cursor}
        return await self._call("GET", "/reimbursements", Page[Reimbursement], query=query)

    async def get_reimbursement(self, reimbursement: str) -> Reimbursement:
        return await self._call("GET", f"/reimbursements/{reimbursement}", Reimbursement)

    async def list_reimbursed_lines(
        self, reimbursement: str, *, limit: int | None = None, cursor: str | None = None
    ) -> Page[ReimbursedLine]:
        query = {"limit": limit, "cursor": cursor}
        return await self._call("GET", f"/reimbursements/{reimbursement}/lines", Page[ReimbursedLine], query=query)

    async def store_reimbursement_evidence(self, reimbursement: str, name: str, content: bytes) -> Evidence:
        path = f"/reimbursements/{reimbursement}/evidence/{quote(name, safe='')}"
        return await self._call("PUT", path, Evidence, content=content)

    async def get_reimbursement_evidence(self, reimbursement: str, name: str) -> bytes:
        return await self._fetch("GET", f"/reimbursements/{reimbursement}/evidence/{quote(name, safe='')}")

    async def review_reimbursement(self, reimbursement: str, review: ReviewDraft, version: int) -> Reimbursement:
        """Raises SameReviewer, WrongState; EvidenceNeeded for one that can't pass without."""
        path = f"/reimbursements/{reimbursement}/review"
        return await self._call("POST", path, Reimbursement, body=review, version=version)

    async def pay_reimbursement(
        self, reimbursement: str, payment: ReimbursementPaymentDraft, key: str | None = None
    ) -> Reimbursement:
        """Record that it is paid. For finance."""
        path = f"/reimbursements/{reimbursement}/pay"
        return await self._call("POST", path, Reimbursement, body=payment, key=key or new_key())

    async def withdraw_reimbursement(self, reimbursement: str) -> Reimbursement:
        return await self._call("POST", f"/reimbursements/{reimbursement}/withdraw", Reimbursement)

    async def claw_back_voucher(self, voucher: str, draft: ClawbackDraft, key: str | None = None) -> Voucher:
        """Raises Invalid for more than is left of what it has paid."""
        return await self._call("POST", f"/vouchers/{voucher}/claw-back", Voucher, body=draft, key=key or new_key())

    async def get_job_redemption(self, job: str) -> JobRedemption:
        """What vouchers pay of the job. Raises NotFound where none does."""
        return await self._call("GET", f"/jobs/{job}/redemption", JobRedemption)
