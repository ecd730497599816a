"""How answers look in a terminal. Tables in, nothing decided."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Final

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from caravan import pricing
from caravan.contracts.anomalies import Anomaly, AnomalyReason
from caravan.contracts.base import Words
from caravan.contracts.contests import Contest
from caravan.contracts.credit_notes import CreditNote
from caravan.contracts.explanations import (
    DiscountExplanation,
    ExplainedPrice,
    Explanation,
    LineExplanation,
    PriceExplanation,
)
from caravan.contracts.fees import FeeAgreement
from caravan.contracts.funds import Budget, Deposit, Funds, Hold, Holds
from caravan.contracts.imports import UsageSums
from caravan.contracts.jobs import ArrayTask, Attempt, HoldState, Job, JobDetail, JobEvent, JobState
from caravan.contracts.modes import SiteMode, SiteModeFrom
from caravan.contracts.offerings import OfferingPrice
from caravan.contracts.prices import WHOLE_TARIFF, Component, PriceList
from caravan.contracts.quotes import Candidate, Placement, Quote, Refusal
from caravan.contracts.reconciliations import BooksReconciliation
from caravan.contracts.resale import ResaleAgreement
from caravan.contracts.silences import Silence
from caravan.contracts.statements import Line, Period, Statement, StatementLine, TrialBalance
from caravan.contracts.tax import TaxRule, TaxTreatment
from caravan.kernel.clock import to_seconds
from caravan.kernel.money import percent
from caravan.reconcile.comparing import Reconciliation

STYLE: Final = {
    JobState.PENDING: "yellow",
    JobState.QUEUED: "yellow",
    JobState.RUNNING: "cyan",
    JobState.SUCCEEDED: "green",
    JobState.FAILED: "red",
    JobState.CANCELLED: "magenta",
    JobState.REFUSED: "red",
}
PER: Final = {
    "cpu_core_hour": "core-hour",
    "accelerator_hour": "accelerator-hour",
    "memory_gib_hour": "GiB-hour",
    "node_hour": "node-hour",
    "job": "job",
    "minimum_charge": "fen",
}
UNIT: Final = {
    "cpu_core_hour": "core-seconds",
    "accelerator_hour": "accelerator-seconds",
    "memory_gib_hour": "MiB-seconds",
    "node_hour": "node-seconds",
    "job": "jobs",
    "minimum_charge": "fen",
}
"""Of a component's quantity."""
Cell = str | Text


def table(columns: Sequence[str], rows: Iterable[Sequence[Cell]], title: str | None = None) -> Table:
    """`>` before a column's name puts it right; `!` keeps its words together: ids, times."""
    made = Table(title=title, title_justify="left", title_style="bold", header_style="bold", expand=False)
    for column in columns:
        name = column.lstrip(">!")
        flags = column[: len(column) - len(name)]
        made.add_column(name, justify="right" if ">" in flags else "left", no_wrap=bool(flags), overflow="fold")
    for row in rows:
        made.add_row(*row)
    return made


def pairs(rows: Iterable[tuple[str, Cell]]) -> Table:
    made = Table.grid(padding=(0, 2))
    made.add_column(style="bold", no_wrap=True)
    made.add_column(overflow="fold")
    for name, value in rows:
        made.add_row(name, value)
    return made


def when(instant: datetime | None) -> str:
    """In the reader's own zone."""
    return "" if instant is None else instant.astimezone().strftime("%Y-%m-%d %H:%M:%S")


def day_and_time(instant: datetime) -> str:
    """In the reader's own zone: the same hours of a week come back each day."""
    return instant.astimezone().strftime("%m-%d %H:%M:%S")


def state(value: JobState) -> Text:
    return Text(value.value, style=STYLE[value])


def more(out: Console, cursor: str | None) -> None:
    if cursor is not None:
        out.print(f"There are more: --cursor {cursor}")


def prices(found: OfferingPrice, now: datetime) -> str:
    """What the tariff of now says for its buyer."""
    if found.price_list is None:
        return "no price now"
    second, price_list = to_seconds(now), pricing.prices_for(found.price_list, found.buyer)
    (window,) = pricing.windows(price_list, second, second + 1)
    by_component = pricing.prices(price_list, window.tariff, window.name)
    if window.mode is SiteMode.TRACKED or not by_component:
        return window.mode.words or "no price now"
    words = _prices(by_component)
    part = "" if window.name == WHOLE_TARIFF else f" ({window.name})"
    return f"{words}{part}" + (f"; {window.mode.words}" if window.mode.words else "")


def _prices(by_component: Mapping[Component, Decimal]) -> str:
    return ", ".join(f"{price} per {component.value.replace('_', '-')}" for component, price in by_component.items())


def rate(tariff: str, window: str) -> str:
    """The part of a price list that a line is priced by."""
    return tariff if window == WHOLE_TARIFF else f"{tariff}, {window}"


def seller(provider: str, reseller: str | None) -> str:
    """Whose centre it is; who sells it stands before that, where that isn't the centre itself."""
    return provider if reseller is None else f"{reseller} ({provider})"


def offerings(found: Iterable[OfferingPrice], now: datetime) -> Table:
    rows = []
    for one in found:
        limits = one.offering.limits
        most = f"{limits.nodes} x {limits.cpus_per_node} cores, {limits.memory_mib_per_node:,} MiB"
        if limits.accelerators_per_node:
            most += f", {limits.accelerators_per_node} x {one.offering.accelerator}"
        rows.append(
            (
                one.offering.name,
                seller(one.provider_name, one.reseller_name),
                one.region,
                one.offering.tier.value,
                most,
                _with(prices(one, now), one.offering.preempted_borne_by.words),
                str(one.price) if one.price is not None else "",
                one.site_health.state if one.site_health else "unknown",
                one.offering.id,
            )
        )
    return table(("offering", "provider", "region", "tier", "at most", "price", ">for your shape", "site", "!id"), rows)


def modes(found: Iterable[SiteModeFrom]) -> Table:
    return table(("!from", "mode", ""), [(when(one.starts_at), one.mode.value, one.mode.words or "") for one in found])


def resale_agreements(found: Iterable[ResaleAgreement]) -> Table:
    rows = [
        (one.id, one.reseller, one.project, "\n".join(one.members), when(one.starts_at), when(one.ends_at))
        for one in found
    ]
    return table(("!id", "!reseller", "!buys as", "!members", "!from", "!until"), rows)


def price_lists(found: Iterable[PriceList]) -> Table:
    rows = [
        (
            str(one.revision),
            one.reseller or "the provider",
            "\n".join(
                f"{tariff.name} from {when(tariff.starts_at)}"
                + (f" until {when(tariff.ends_at)}" if tariff.ends_at else "")
                + f": {_prices(tariff.prices)}"
                for tariff in one.tariffs
            ),
            when(one.created_at),
            one.id,
        )
        for one in found
    ]
    return table((">revision", "!sold by", "tariffs", "!published", "!id"), rows)


def _worst_case(one: Candidate) -> str:
    return "\n".join(
        f"{c.quantity:,} {UNIT.get(c.component, '')} at {c.unit_price} ({rate(c.tariff, c.window)}) = {c.amount}"
        for c in one.components
    ) or (f"not billed 未计费: {one.notional} at most" if one.notional.fen else "")


def _with(price: str, condition: str | None) -> str:
    """What it costs, and below it on what condition."""
    return "\n".join(filter(None, (price, condition)))


def candidates(found: Sequence[Candidate]) -> Table:
    rows = [
        (
            str(place),
            one.offering_name,
            seller(one.provider_name, one.reseller_name),
            _with(_worst_case(one), one.preempted_borne_by.words),
            str(one.worst_case),
            "now" if one.has_room else f"waits: {one.unavailable}" if one.unavailable else "waits",
            one.offering,
        )
        for place, one in enumerate(found, 1)
    ]
    return table((">", "offering", "provider", "worst case", ">set aside", "room", "!id"), rows)


def quote(found: Quote) -> RenderableType:
    ranked = candidates(found.candidates) if found.candidates else "No offering can run this job."
    return Group(ranked, *refusals(found.refused))


def refusals(found: Sequence[Refusal]) -> list[Table]:
    """One table, or none."""
    rows = [(one.offering_name, "\n".join(reason.detail for reason in one.reasons)) for one in found]
    return [table(("refused", "why"), rows)] if rows else []


def placement(found: Placement) -> RenderableType:
    chosen = pairs([("placed", Text(found.why))])
    return Group(chosen, candidates(found.candidates), *refusals(found.refused))


def jobs(found: Iterable[Job]) -> Table:
    rows = [
        (one.id, one.name, state(one.state), counts(one), set_aside(one), when(one.created_at), one.reason or "")
        for one in found
    ]
    return table(("!id", "name", "state", "tasks", ">set aside", "!created", "reason"), rows)


def set_aside(job: Job) -> str:
    return "" if job.hold.state is HoldState.REFUSED else str(job.hold.amount)


def counts(job: Job) -> str:
    return ", ".join(f"{count} {name.value}" for name, count in job.counts.items() if count)


def job(found: Job) -> Table:
    rows: list[tuple[str, Cell]] = [
        ("job", found.id),
        ("name", found.name),
        ("state", state(found.state)),
        ("tasks", counts(found)),
        ("project", found.project),
        ("set aside", f"{found.hold.amount} ({found.hold.state.value}, revision {found.hold.revision})"),
        ("created", when(found.created_at)),
    ]
    optional = (
        ("reason", " ".join(part for part in (found.reason, found.detail) if part)),
        ("offering", found.offering or ""),
        ("started", when(found.started_at)),
        ("ended", when(found.ended_at)),
        ("settled", when(found.settled_at)),
        ("labels", ", ".join(f"{name}={value}" for name, value in found.labels.items())),
    )
    return pairs([*rows, *((name, value) for name, value in optional if value)])


def job_detail(
    found: JobDetail, tasks: Sequence[ArrayTask], attempts: Sequence[Attempt], events: Sequence[JobEvent]
) -> RenderableType:
    parts: list[RenderableType] = [job(found)]
    if found.placement is not None:
        parts.append(placement(found.placement))
    if tasks:
        rows = [
            (
                str(one.index),
                state(one.state),
                one.outcome.value if one.outcome else "",
                "" if one.exit_code is None else str(one.exit_code),
                when(one.started_at),
                when(one.ended_at),
                one.detail,
            )
            for one in tasks
        ]
        parts.append(table((">index", "state", "outcome", ">exit", "!started", "!ended", "detail"), rows, "Tasks"))
    if attempts:
        tried = [(str(one.number), one.state.value, one.offering, one.reference or "", one.detail) for one in attempts]
        parts.append(table((">attempt", "state", "!offering", "at the site", "detail"), tried, "Attempts"))
    if events:
        happened = [(when(one.at), one.type, one.detail) for one in events]
        parts.append(table(("!at", "event", "detail"), happened, "Events"))
    return Group(*parts)


def explanation(found: Explanation) -> RenderableType:
    rows: list[tuple[Cell, ...]] = []
    for explained in found.lines:
        line = explained.line
        if not line.unit_price:
            continue
        for factor in explained.factors:
            rows.append(
                (
                    line.component.value.replace("_", " "),
                    rate(line.tariff, line.window),
                    day_and_time(factor.start),
                    day_and_time(factor.end),
                    str(factor.seconds),
                    str(factor.units),
                    f"{factor.quantity:,}",
                    "",
                    "",
                )
            )
        bearer = line.bearer.value if line.reason is None else f"{line.bearer.value} ({line.reason.value})"
        total = Text(f"{line.quantity:,}", style="bold"), Text(str(line.amount), style="bold")
        rows.append(("", Text(both(explained.arithmetic), style="italic"), "", "", "", "", total[0], total[1], bearer))
    columns = ("component", "tariff", "!from", "!to", ">seconds", ">units", ">quantity", ">amount", "borne by")
    sums: list[tuple[str, Cell]] = [
        ("charged", Text(str(found.charged), style="bold")),
        ("borne by the provider", str(found.borne_by_provider)),
    ]
    sums += notional(found)
    which = [Text(both(found.words), style="bold")] if found.words else []
    return Group(*which, table(columns, rows), pairs(sums + free(explained.line for explained in found.lines)))


def line_explanation(found: LineExplanation | DiscountExplanation) -> RenderableType:
    line = found.line
    head: list[tuple[str, Cell]] = [
        ("line", line.id),
        *([("job", line.job)] if line.job else []),
        ("amount", Text(str(line.amount), style="bold")),
        ("", both(found.words)),
    ]
    if isinstance(found, DiscountExplanation):
        return pairs(head)
    if found.restated_in is not None:
        head.append(("restated in", found.restated_in))
    return Group(pairs(head), "", *steps(found))


def price_explanation(found: PriceExplanation) -> RenderableType:
    told = [(Text(both(one.words), style="bold"), *steps(one)) for one in found.prices]
    texts = [text for of_one in told for text in (*of_one, "")]
    return Group(*texts, Text(both(found.words), style="bold"))


def steps(found: ExplainedPrice) -> tuple[str, str]:
    """The rate, the days, and what they come to: first all in Chinese, then in English."""
    more = [found.more.words] if found.more else []
    days = [*(step.words for step in found.steps), *more]

    def block(rate: str, days: Iterable[str], total: str) -> str:
        return "\n".join([rate, *(f"  {day}" for day in days), f"  {total}"])

    rate, total = found.rate.words, found.arithmetic.words
    return block(rate.zh, (day.zh for day in days), total.zh), block(rate.en, (day.en for day in days), total.en)


def both(words: Words) -> str:
    return f"{words.zh}\n{words.en}"


def notional(found: Explanation | Statement | Reconciliation) -> list[tuple[str, Cell]]:
    """What time that wasn't billed would have cost, where there was any."""
    return [("not billed 未计费", str(found.notional))] if found.notional.fen else []


def free(lines: Iterable[Line]) -> list[tuple[str, Cell]]:
    """Names the components that cost nothing; their lines aren't shown."""
    names = {line.component.value.replace("_", " ") for line in lines if line.unit_price == 0}
    return [("without a price", ", ".join(sorted(names)))] if names else []


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


def anomalies(found: Iterable[Anomaly]) -> Table:
    rows = [
        (
            one.id,
            one.reason.value,
            one.state.value,
            when(one.usage.hour),
            str(sum(to_seconds(span.end) - to_seconds(span.start) for span in one.usage.spans)),
            one.usage.run,
            one.usage.job,
            one.site or "",
            when(one.found_at),
            one.words or "",
        )
        for one in found
    ]
    return table(("!id", "!reason", "state", "!hour", ">seconds", "!run", "job", "site", "!found", "words"), rows)


def silences(found: Iterable[Silence]) -> Table:
    rows = [(one.id, one.site, one.provider, when(one.since), when(one.until)) for one in found]
    return table(("!id", "!site", "provider", "!since", "!until"), rows)


def contests(found: Iterable[Contest]) -> Table:
    rows = [
        (one.id, one.run, one.outcome.value, one.state.value, one.reason, one.words or "", when(one.contested_at))
        for one in found
    ]
    return table(("!contest", "!run", "ended", "!state", "reason", "decision", "!contested"), rows)


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


def nights(found: Iterable[BooksReconciliation]) -> Table:
    """A row for each finding; one for a night without any."""
    rows = [
        (day_and_time(one.at), one.scope, f"{one.checked:,}", _compared(one), *what)
        for one in found
        for what in [(each.check, each.subject, each.detail) for each in one.findings] or [("found nothing", "", "")]
    ]
    return table(("at", "scope", "jobs", "sites' books", "what does not hold", "!where", "how"), rows)


def _compared(one: BooksReconciliation) -> str:
    """`2 days, 1,204 runs`."""
    return f"{len(one.sites):,} days, {sum(said.compared for said in one.sites):,} runs" if one.sites else ""


def trial_balance(found: TrialBalance) -> RenderableType:
    rows = [(one.account, str(one.debit), str(one.credit), str(one.balance)) for one in found.accounts]
    accounts = table(("!account", ">debit", ">credit", ">balance"), rows)
    return Group(accounts, pairs((("at", when(found.at)), ("sum", Text(str(found.sum), style="bold")))))


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


def hours(component: Component, quantity: int) -> str:
    """Of a quantity in seconds, cut after three places: what is exact is the quantity."""
    thousandths = quantity * 1000 // (3600 * (1024 if component is Component.MEMORY_GIB_HOUR else 1))
    return f"{thousandths // 1000:,}.{thousandths % 1000:03}"


def usage_sums(found: UsageSums) -> Table:
    """With the total of each component below."""
    totals: dict[Component, int] = {}
    rows = []
    for one in found.items:
        totals[one.component] = totals.get(one.component, 0) + one.quantity
        owner = one.organization or f"{one.account} (unmapped)"
        rows.append((one.span, one.site, owner, one.component.value, hours(one.component, one.quantity)))
    rows += [("total", "", "", component.value, hours(component, total)) for component, total in totals.items()]
    return table(("span", "!site", "!organization", "component", ">hours"), rows)
