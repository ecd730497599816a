"""What all tables are made of: columns, pairs, times and words."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final

from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from caravan.contracts.base import Words
from caravan.contracts.explanations import Explanation
from caravan.contracts.prices import WHOLE_TARIFF, Component
from caravan.contracts.statements import Line, Statement
from caravan.reconcile.comparing import Reconciliation

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
WORDS_COLUMNS: Final = 20
"""Of a terminal, for a column whose words may go below each other."""
PADDING: Final = 2
"""Of each column, left and right."""
Cell = str | Text


class Rows(Table):
    """A table where the terminal is wide enough for it; else, so that no id and no amount is ever cut, one row below the other."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        if not self.rows or self._needs(console, options) <= options.max_width:
            yield from super().__rich_console__(console, options)
            return
        if self.title:
            yield Text(str(self.title), style="bold")
        names = [str(column.header) for column in self.columns]
        for place, row in enumerate(zip(*(column.cells for column in self.columns), strict=True)):
            if place:
                yield ""
            yield pairs((name, cell) for name, cell in zip(names, row, strict=True) if str(cell))

    def _needs(self, console: Console, options: ConsoleOptions) -> int:
        """Columns of the terminal: all of what keeps its words together, and of the rest what can still be read."""
        needs = self._extra_width
        for column in self.columns:
            widest = max(Measurement.get(console, options, cell).maximum for cell in (column.header, *column.cells))
            needs += PADDING + (widest if column.no_wrap else min(WORDS_COLUMNS, widest))
        return needs


def table(columns: Sequence[str], rows: Iterable[Sequence[Cell]], title: str | None = None) -> Table:
    """`>` before a column's name puts it right; `!` keeps its words together: ids, times."""
    made = Rows(title=title, title_justify="left", title_style="bold", header_style="bold", expand=False)
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


def more(out: Console, cursor: str | None) -> None:
    if cursor is not None:
        out.print(f"There are more: --cursor {cursor}")


def rate(tariff: str, window: str) -> str:
    """The part of a price list that a line is priced by."""
    return tariff if window == WHOLE_TARIFF else f"{tariff}, {window}"


def seller(provider: str, reseller: str | None) -> str:
    """Whose centre it is; who sells it stands before that, where that isn't the centre itself."""
    return provider if reseller is None else f"{reseller} ({provider})"


def both(words: Words) -> str:
    return f"{words.zh}\n{words.en}"


def notional(found: Explanation | Statement | Reconciliation) -> list[tuple[str, Cell]]:
    """What time that wasn't billed would have cost, where there was any."""
    return [("not billed 未计费", str(found.notional))] if found.notional.fen else []


def free(lines: Iterable[Line]) -> list[tuple[str, Cell]]:
    """Names the components that cost nothing; their lines aren't shown."""
    names = {line.component.value.replace("_", " ") for line in lines if line.unit_price == 0}
    return [("without a price", ", ".join(sorted(names)))] if names else []


def hours(component: Component, quantity: int) -> str:
    """Of a quantity in seconds, cut after three places: what is exact is the quantity."""
    thousandths = quantity * 1000 // (3600 * (1024 if component is Component.MEMORY_GIB_HOUR else 1))
    return f"{thousandths // 1000:,}.{thousandths % 1000:03}"
