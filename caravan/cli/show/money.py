"""What is set aside, paid, given back and owed."""

from collections.abc import Iterable

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from caravan.cli.show.parts import Cell, pairs, table, when
from caravan.contracts.credit_notes import CreditNote
from caravan.contracts.fees import FeeAgreement
from caravan.contracts.funds import Budget, Deposit, Funds, Hold, Holds
from caravan.contracts.statements import TrialBalance
from caravan.kernel.money import percent


def budgets(found: Iterable[Budget]) -> Table:
    rows = [
        (
            one.name,
            one.project or "(organization)",
            str(one.limit),
            str(one.charged),
            str(one.held),
            str(one.available),
            when(one.starts_at),
            when(one.ends_at),
            one.id,
        )
        for one in found
    ]
    return table(("budget", "!project", ">limit", ">charged", ">held", ">available", "!from", "!until", "!id"), rows)


def deposit(found: Deposit) -> Table:
    return pairs(
        (
            ("deposit", found.id),
            ("organization", found.organization),
            ("amount", Text(str(found.amount), style="bold")),
            ("reference", found.reference),
            ("recorded", f"{when(found.recorded_at)} by {found.recorded_by}"),
        )
    )


def credit_notes(found: Iterable[CreditNote]) -> Table:
    rows = [
        (
            one.number,
            one.statement_number,
            f"{one.organization_name} ({one.organization})",
            f"{one.provider_name} ({one.provider})",
            str(one.amount),
            "" if one.tax is None else str(one.tax),
            "" if one.subsidy is None else str(one.subsidy),
            when(one.issued_at),
            one.line,
            one.reason,
        )
        for one in found
    ]
    columns = (
        "!number",
        "!statement",
        "to",
        "by",
        ">amount",
        ">tax in it",
        ">vouchers' part",
        "!issued",
        "!line",
        "reason",
    )
    return table(columns, rows)


def funds(found: Funds) -> Table:
    rows: list[tuple[str, Cell]] = [("organization", found.organization)]
    rows += [(name, str(getattr(found, name))) for name in ("deposited", "granted", "credit", "charged", "held")]
    return pairs([*rows, ("available", Text(str(found.available), style="bold"))])


def holds(found: Holds) -> RenderableType:
    """Each with what became of it."""
    return Group(*(part for one in found.items for part in (_hold(one), _movements(one))))


def _hold(one: Hold) -> Table:
    rows: list[tuple[str, Cell]] = [("organization", one.organization), ("project", one.project)]
    rows += [(name, str(getattr(one, name))) for name in ("amount", "captured", "held")]
    if one.corrected:
        rows.append(("corrected", str(one.corrected)))
    return pairs([*rows, ("state", f"{one.status}, revision {one.revision}")])


def _movements(one: Hold) -> Table:
    rows = [(when(step.at), step.step, str(step.amount), str(step.held)) for step in one.movements]
    return table(("!at", "step", ">amount", ">held then"), rows)


def trial_balance(found: TrialBalance) -> RenderableType:
    rows = [(one.account, str(one.debit), str(one.credit), str(one.balance)) for one in found.accounts]
    accounts = table(("!account", ">debit", ">credit", ">balance"), rows)
    return Group(accounts, pairs((("at", when(found.at)), ("sum", Text(str(found.sum), style="bold")))))


def fee_agreements(found: Iterable[FeeAgreement]) -> Table:
    rows = [
        (
            one.provider,
            percent(one.rate),
            str(one.floor),
            one.due.value.replace("_", " "),
            when(one.starts_at),
            when(one.ends_at),
            one.id,
        )
        for one in found
    ]
    return table(("!provider", ">of the gross", ">at least", "due", "!from", "!to", "!id"), rows)
