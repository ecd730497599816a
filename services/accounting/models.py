"""All tables of accounting, for migrations and their check."""

import services.accounting.anomalies.models
import services.accounting.charging.models
import services.accounting.contests.models
import services.accounting.corrections.models
import services.accounting.credit_notes.models
import services.accounting.fees.models
import services.accounting.funds.models
import services.accounting.imports.models
import services.accounting.ledger.models
import services.accounting.periods.models
import services.accounting.programmes.models
import services.accounting.reconciliations.models
import services.accounting.redemptions.models
import services.accounting.reimbursements.models
import services.accounting.silences.models
import services.accounting.statements.models
import services.accounting.tax.models
import services.accounting.usage.models
import services.accounting.vouchers.models  # noqa: F401
from services.accounting.models_base import Base

metadata = Base.metadata
