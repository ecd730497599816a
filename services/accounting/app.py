"""Accounting's composition: `create_app(settings, peers)`."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

from caravan.client import Peers
from caravan.kernel import clock
from caravan.kernel.audit import audit_router
from caravan.kernel.feed_router import feed_router
from caravan.kernel.metrics import Metrics
from caravan.kernel.runtime import Runtime
from caravan.kernel.settings import Settings as CommonSettings
from caravan.kernel.web import ServiceApp, create_service_app
from services.accounting.anomalies import endpoints as anomalies
from services.accounting.anomalies.service import AnomalyService
from services.accounting.anomalies.watching import Watch
from services.accounting.charging import endpoints as charging
from services.accounting.charging.charger import FailedCharges
from services.accounting.charging.explaining import ExplanationService
from services.accounting.charging.reading import LineService
from services.accounting.charging.service import put_hold
from services.accounting.contests import endpoints as contests
from services.accounting.contests.service import ContestService
from services.accounting.corrections import endpoints as corrections
from services.accounting.corrections import passes
from services.accounting.corrections.passes import Passes
from services.accounting.corrections.service import CorrectionService
from services.accounting.credit_notes import endpoints as credit_notes
from services.accounting.credit_notes.service import CreditNoteService
from services.accounting.estimates import endpoints as estimates
from services.accounting.estimates.service import EstimateService
from services.accounting.exports import endpoints as exports
from services.accounting.exports.service import ExportService
from services.accounting.fees import endpoints as fees
from services.accounting.fees.service import FeeService
from services.accounting.funds import endpoints as funds
from services.accounting.funds.budgets import BudgetService
from services.accounting.funds.service import FundsService
from services.accounting.imports import endpoints as imports
from services.accounting.imports.service import ImportService
from services.accounting.ledger import endpoints as ledger
from services.accounting.ledger.reading import LedgerService
from services.accounting.ledger.sealing import Sealer
from services.accounting.periods import closing, service
from services.accounting.periods import endpoints as periods
from services.accounting.periods.closing import PeriodService
from services.accounting.programme_reports import endpoints as programme_reports
from services.accounting.programme_reports.service import ProgrammeReports
from services.accounting.programmes import endpoints as programmes
from services.accounting.programmes.service import ProgrammeService
from services.accounting.reconciliations import endpoints as reconciliations
from services.accounting.reconciliations.nightly import LOOP as RECONCILING
from services.accounting.reconciliations.nightly import Nightly
from services.accounting.reconciliations.reading import ReconciliationService
from services.accounting.redemptions import endpoints as redemptions
from services.accounting.redemptions.reports import RedemptionService
from services.accounting.reimbursements import endpoints as reimbursements
from services.accounting.reimbursements.service import ReimbursementService
from services.accounting.runs import endpoints as runs
from services.accounting.runs.service import RunService
from services.accounting.settings import Settings
from services.accounting.silences import endpoints as silences
from services.accounting.silences.service import SilenceService
from services.accounting.statements import endpoints as statements
from services.accounting.statements.service import StatementService
from services.accounting.tax import endpoints as tax
from services.accounting.tax.service import TaxService
from services.accounting.usage.following import Following
from services.accounting.voucher_shares import endpoints as voucher_shares
from services.accounting.voucher_shares.service import VoucherShareService
from services.accounting.vouchers import endpoints as vouchers
from services.accounting.vouchers.applying import ApplicationService
from services.accounting.vouchers.ending import Expiring
from services.accounting.vouchers.service import VoucherService

ROUTERS = (
    funds.router,
    charging.router,
    periods.router,
    statements.router,
    credit_notes.router,
    contests.router,
    tax.router,
    fees.router,
    ledger.router,
    exports.router,
    imports.router,
    runs.router,
    corrections.router,
    reconciliations.router,
    anomalies.router,
    silences.router,
    programmes.router,
    estimates.router,
    vouchers.router,
    redemptions.router,
    voucher_shares.router,
    reimbursements.router,
    programme_reports.router,
)


def create_app(settings: CommonSettings, peers: Peers | None = None, now: clock.Clock = clock.now) -> ServiceApp:
    """Compose accounting. Without `peers` it answers and follows nobody; tests then apply events by hand."""
    metrics = Metrics()
    runtime = Runtime("accounting", settings, metrics, now)
    own = settings if isinstance(settings, Settings) else Settings(**dict(settings))
    failed_charges = FailedCharges(runtime.db, metrics)
    period_service = PeriodService(runtime, timedelta(hours=own.closing_grace_hours))

    watch = Watch(runtime, metrics)
    expiring = Expiring(runtime, metrics)
    silence_service = SilenceService(runtime, metrics, timedelta(minutes=own.site_silence_minutes))

    @asynccontextmanager
    async def lifespan(app: ServiceApp) -> AsyncIterator[None]:
        async with runtime.running():
            await runtime.db.write(service.prepare, settings.zone)
            runtime.loops.start(closing.LOOP, period_service.iteration)
            runtime.loops.start(passes.LOOP, Passes(runtime).iteration)
            runtime.loops.start("watch-charges", failed_charges.iteration)
            runtime.loops.start("sealing", Sealer(runtime.db, runtime.owner.id).iteration)
            nightly = Nightly(runtime.db, runtime.owner.id, now, metrics, own.reconciliation_hour)
            runtime.loops.start(RECONCILING, nightly.iteration)
            runtime.loops.start("anomalies", watch.iteration)
            runtime.loops.start("silences", silence_service.iteration)
            runtime.loops.start("vouchers", expiring.iteration)
            if peers is not None:
                Following(runtime, peers).start()
            yield

    return create_service_app(
        "accounting",
        "Caravan accounting",
        settings,
        routers=[*ROUTERS, feed_router, audit_router],
        provide=[
            runtime,
            period_service,
            FundsService(runtime, put_hold),
            BudgetService(runtime),
            LineService(runtime),
            ExplanationService(runtime),
            ExportService(runtime),
            ImportService(runtime),
            RunService(runtime),
            CorrectionService(runtime),
            AnomalyService(runtime),
            watch,
            expiring,
            silence_service,
            LedgerService(runtime.db),
            StatementService(runtime.db),
            CreditNoteService(runtime),
            ContestService(runtime),
            TaxService(runtime),
            FeeService(runtime),
            ProgrammeService(runtime),
            EstimateService(runtime),
            ApplicationService(runtime),
            VoucherService(runtime),
            RedemptionService(runtime),
            VoucherShareService(runtime),
            ReimbursementService(runtime),
            ProgrammeReports(runtime),
            ReconciliationService(runtime.db),
        ],
        lifespan=lifespan,
        metrics=metrics,
        checks={"runtime": runtime.ready},
    )
