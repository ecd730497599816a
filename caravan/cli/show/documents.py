"""Periods, and the statements and taxes of what was sold in them."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from caravan.cli.show.parts import PER, UNIT, Cell, free, notional, pairs, rate, table, when
from caravan.contracts.anomalies import AnomalyReason
from caravan.contracts.statements import Period, Statement, StatementLine
from caravan.contracts.tax import TaxRule, TaxTreatment
from caravan.kernel.money import percent


def periods(found: Iterable[Period]) -> Table:
    rows = [(one.name, one.state.value, when(one.starts_at), when(one.ends_at), one.id) for one in found]
    return table(("!period", "state", "!from", "!until", "!id"), rows)


def period(found: Period) -> Table:
    rows: list[tuple[str, Cell]] = [
        ("period", f"{found.name} ({found.id})"),
        ("state", found.state.value),
        ("from", when(found.starts_at)),
        ("until", when(found.ends_at)),
    ]
    optional = (
        ("waits for", ", ".join(found.waiting_for)),
        ("parked facts", str(found.parked_facts or "")),
        ("anomalies", str(found.anomalies or "")),
        ("without tax rule", ", ".join(found.untaxed)),
        ("unknown offerings", ", ".join(found.unknown_offerings)),
        ("late sites", ", ".join(found.late_sites)),
        ("set aside", hours_by_reason(found.set_aside)),
        ("closed", when(found.closed_at)),
    )
    return pairs([*rows, *((name, value) for name, value in optional if value)])


def hours_by_reason(found: Mapping[AnomalyReason, int]) -> str:
    """`3 hours contradictory, 1 hour overlapping`."""
    return ", ".join(
        f"{hours} {'hour' if hours == 1 else 'hours'} {reason.replace('_', ' ')}" for reason, hours in found.items()
    )


def waits(found: Period, sites: Mapping[str, str], now: datetime) -> str:
    """What a period that is closing waits for, or nothing. `sites`: names by id."""
    reasons = [f"its end at {when(found.ends_at)}"] if now < found.ends_at else []
    reasons += [f"the usage of {sites.get(site, 'a site')} ({site})" for site in found.waiting_for]
    if found.parked_facts:
        reasons.append(f"{found.parked_facts} facts that can't be applied yet; accounting's log says why")
    if found.anomalies:
        reasons.append(f"{found.anomalies} anomalies that nobody has settled: caravan finance anomalies")
    reasons += [f"a tax rule of {seller}: caravan finance tax-rule" for seller in found.untaxed]
    reasons += [f"the offering {one}, of which the catalog has not told yet" for one in found.unknown_offerings]
    return f"{found.name} waits for {', '.join(reasons)}" if reasons else ""


def statements(found: Iterable[Statement]) -> Table:
    rows = [
        (
            one.number,
            one.party_name,
            one.period_name,
            str(one.gross),
            str(one.tax),
            str(one.adjustments),
            str(one.line_count),
            one.id,
        )
        for one in found
    ]
    return table(("!number", "of", "period", ">gross", ">tax in it", ">adjustments", ">lines", "!id"), rows)


def statement(found: Statement, lines: Sequence[StatementLine]) -> RenderableType:
    head: list[tuple[str, Cell]] = [
        ("statement", found.number),
        ("of", f"{found.party_name} ({found.party_id})"),
        (
            "period",
            f"{found.period_name}: {when(found.starts_at)} to {when(found.ends_at)} {found.ends_at.astimezone():%Z}",
        ),
        ("gross", Text(str(found.gross), style="bold")),
        ("tax in it", str(found.tax)),
        ("net", str(found.net)),
        *redeemed(found),
        *([("fee", f"{found.fee.amount}, tax of {found.fee.tax} in it")] if found.fee else []),
        *([("payout", str(found.payout))] if found.payout is not None else []),
        ("adjustments in it", str(found.adjustments)),
        ("borne by the provider", str(found.borne_by_provider)),
        *notional(found),
        ("issued", when(found.issued_at)),
    ]
    if found.late_sites:
        head.append(("late sites", ", ".join(found.late_sites)))
    if found.set_aside:
        head.append(("set aside", f"{hours_by_reason(found.set_aside)}; none of it is billed here"))
    rows = [
        (
            one.job_name or one.line.job or "(volume discount)",
            one.line.component.value.replace("_", " "),
            rate(one.line.tariff, one.line.window) if one.line.tariff and one.line.window else "",
            f"{one.line.quantity:,} {UNIT[one.line.component]}",
            f"{one.line.unit_price} a {PER[one.line.component]}" if one.line.unit_price else f"off {one.line.basis}",
            str(one.line.amount),
            *((str(one.line.subsidy or ""),) if found.redemptions else ()),
            one.line.bearer.value,
            one.line.corrects or "",
        )
        for one in lines
        if one.line.unit_price != 0
    ]
    paid = (">vouchers pay",) if found.redemptions else ()
    columns = ("job", "component", "tariff", ">quantity", ">unit price", ">amount", *paid, "borne by", "corrects")
    return Group(pairs(head + free(one.line for one in lines)), sections(found), table(columns, rows))


def redeemed(found: Statement) -> list[tuple[str, Cell]]:
    """What vouchers pay of a statement, and what is left to be paid."""
    if not found.redemptions:
        return []
    rows: list[tuple[str, Cell]] = []
    for one in found.redemptions:
        earlier = f", and {one.earlier} for earlier statements" if one.earlier else ""
        rows.append((f"{one.programme_name} pays", f"{one.on_lines}{earlier}"))
    return [*rows, ("due", Text(str(found.due), style="bold"))]


def sections(found: Statement) -> Table:
    """What a statement's tax is made of."""
    rows = [
        (one.counterparty_name, taxed(one.treatment, one.rate), str(one.gross), str(one.net), str(one.tax))
        for one in found.sections
    ]
    return table(("with", ">taxed", ">gross", ">net", ">tax"), rows)


def taxed(treatment: TaxTreatment, rate: int | None) -> str:
    return percent(rate or 0) if treatment is TaxTreatment.TAXED else treatment.value.replace("_", " ")


def tax_rules(found: Iterable[TaxRule]) -> Table:
    rows = [
        (one.seller, one.category.value, taxed(one.treatment, one.rate), when(one.starts_at), when(one.ends_at), one.id)
        for one in found
    ]
    return table(("!seller", "category", ">taxed", "!from", "!to", "!id"), rows)
