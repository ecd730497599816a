"""How answers look in a terminal. Tables in, nothing decided. A module for each noun; `parts.py` has what they share."""

from caravan.cli.show.documents import period, periods, statement, statements, tax_rules, waits
from caravan.cli.show.explained import explanation, line_explanation, price_explanation, steps
from caravan.cli.show.market import candidates, modes, offerings, price_lists, prices, quote, resale_agreements
from caravan.cli.show.money import budgets, credit_notes, deposit, fee_agreements, funds, holds, trial_balance
from caravan.cli.show.parts import UNIT, Cell, both, more, notional, pairs, table, when
from caravan.cli.show.usage import anomalies, contests, nights, silences, usage_sums
from caravan.cli.show.work import job, job_detail, jobs

__all__ = [
    "UNIT",
    "Cell",
    "anomalies",
    "both",
    "budgets",
    "candidates",
    "contests",
    "credit_notes",
    "deposit",
    "explanation",
    "fee_agreements",
    "funds",
    "holds",
    "job",
    "job_detail",
    "jobs",
    "line_explanation",
    "modes",
    "more",
    "nights",
    "notional",
    "offerings",
    "pairs",
    "period",
    "periods",
    "price_explanation",
    "price_lists",
    "prices",
    "quote",
    "resale_agreements",
    "silences",
    "statement",
    "statements",
    "steps",
    "table",
    "tax_rules",
    "trial_balance",
    "usage_sums",
    "waits",
    "when",
]
