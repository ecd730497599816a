"""What a charge, a line or a price comes to, step by step."""

from collections.abc import Iterable

from rich.console import Group, RenderableType
from rich.text import Text

from caravan.cli.show.parts import Cell, both, day_and_time, free, notional, pairs, rate, table
from caravan.contracts.explanations import (
    DiscountExplanation,
    ExplainedPrice,
    Explanation,
    LineExplanation,
    PriceExplanation,
)


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
