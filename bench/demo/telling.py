"""How the story looks: chapters with both languages in their headings, tables, short ids, waits."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import datetime
from typing import Final, TypeVar
from zoneinfo import ZoneInfo

from rich.console import Console, RenderableType
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from caravan.client import ServiceUnavailable
from caravan.contracts.problems import AdapterUnknown, NoOfferingFits, UnknownReference

T = TypeVar("T")
Cell = str | Text
WIDTH: Final = (100, 120)
ZONE: Final = ZoneInfo("Asia/Shanghai")
"""The platform's zone, in which all times of the story are shown."""


class WentWrong(Exception):
    """The story did not go as it must."""


class TookTooLong(Exception):
    """Something that was waited for did not come."""


class Teller:
    """Writes the story to stdout, or to nobody."""

    def __init__(self, *, quiet: bool = False) -> None:
        terminal = Console(highlight=False)
        width = min(max(terminal.width, WIDTH[0]), WIDTH[1])
        self.out = Console(width=width, highlight=False, emoji=False, quiet=quiet)
        self.began = time.monotonic()
        self._chapter = 0

    def chapter(self, chinese: str, english: str) -> None:
        self._chapter += 1
        self.out.print()
        self.out.print(
            Rule(
                Text.assemble((f"{self._chapter}  {chinese}  ", "bold cyan"), (english, "cyan")),
                align="left",
                style="cyan",
            )
        )

    def say(self, words: str | Text) -> None:
        """A sentence; [bold]…[/] and the like are rich's markup."""
        self.out.print(words)

    def show(self, what: RenderableType) -> None:
        self.out.print(what)

    def table(self, columns: Sequence[str], rows: Iterable[Sequence[Cell]], title: str | None = None) -> None:
        """`>` before a column's name puts it right, `!` keeps its words together."""
        made = Table(title=title, title_justify="left", title_style="bold", header_style="bold")
        for column in columns:
            name = column.lstrip(">!")
            flags = column[: len(column) - len(name)]
            made.add_column(
                name.replace(" ", "\n", 1),
                justify="right" if ">" in flags else "left",
                no_wrap=bool(flags),
                overflow="fold",
                vertical="middle",
            )
        for row in rows:
            made.add_row(*row)
        self.out.print(made)

    async def until(self, ask: Callable[[], Awaitable[T | None]], what: str, seconds: float = 30) -> T:
        """Ask until the answer is something; raises TookTooLong. A platform that is down for the moment is asked again."""
        deadline = time.monotonic() + seconds
        with self.out.status(f"{what} …"):
            while True:
                try:
                    found = await ask()
                except ServiceUnavailable:
                    found = None
                if found is not None:
                    return found
                if time.monotonic() > deadline:
                    raise TookTooLong(f"waited {seconds:.0f} s for this, in vain: {what}")
                await asyncio.sleep(0.2)

    async def known(self, call: Callable[[], Awaitable[T]], what: str) -> T:
        """What the call answers, once its service has heard of what it is about: the services follow each other."""

        async def ask() -> T | None:
            try:
                return await call()
            except (AdapterUnknown, NoOfferingFits, UnknownReference):
                return None

        return await self.until(ask, what)


def short(identifier: str) -> str:
    """The end of an id, which tells things apart: `job_…3f9a2c`."""
    prefix, _, rest = identifier.rpartition("_")
    return f"{prefix}_…{rest[-6:]}"


def cores(count: int) -> str:
    return "1 core" if count == 1 else f"{count} cores"


def clock(instant: datetime | None) -> str:
    return "" if instant is None else instant.astimezone(ZONE).strftime("%H:%M:%S")


def yes(words: str) -> Text:
    return Text(f"✓ {words}", style="green")


def no(words: str) -> Text:
    return Text(f"✗ {words}", style="bold red")
