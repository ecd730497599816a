"""What was used, and what of it can't be trusted or isn't agreed on."""

from collections.abc import Iterable

from rich.table import Table

from caravan.cli.show.parts import day_and_time, hours, table, when
from caravan.contracts.anomalies import Anomaly
from caravan.contracts.contests import Contest
from caravan.contracts.imports import UsageSums
from caravan.contracts.prices import Component
from caravan.contracts.reconciliations import BooksReconciliation
from caravan.contracts.silences import Silence
from caravan.kernel.clock import to_seconds


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
