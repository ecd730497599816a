"""The lines that were billed against those that the cluster's own books come to, imported into a database that knows nothing else."""

import asyncio
import json
import os
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, NamedTuple

from bench.accelerated import MODEL
from bench.platform import Platform, open_market
from bench.slurm_ends.playing import Play
from caravan import pricing
from caravan.cli.books import FORMAT, IN_UTC
from caravan.client import each
from caravan.contracts.prices import Component, PriceList
from caravan.contracts.runs import SiteRun
from caravan.contracts.statements import Line
from caravan.contracts.usage import Span
from caravan.kernel import clock

DUMP: Final = (
    "env", *(f"{name}={value}" for name, value in IN_UTC.items()), "sacct", "--allusers", "--duplicates", "--parsable2",
    "--starttime=now-1day", f"--format={FORMAT}",
)  # fmt: skip
"""Of all jobs, each run of each, with their steps."""
KINDS: Final = {"gpu:h100": MODEL}
"""What the catalog calls Slurm's accelerators."""


class Key(NamedTuple):
    """What makes lines of a job one before somebody bears them."""

    job: str
    price_list: str
    component: Component
    accelerator: str | None
    tariff: str
    window: str
    unit_price: Decimal


class Owed(NamedTuple):
    quantity: int
    amount: int
    """In fen, rounded once."""


@dataclass(frozen=True)
class Held:
    """What is in both databases: the runs with their seconds, and the lines."""

    runs: int
    lines: int
    differences: Sequence[str]


async def against_imported(play: Play) -> Held:
    """Reads the cluster's books, imports them beside the platform, and compares."""
    dump = play.platform.folder / "dump"
    dump.write_text(await asyncio.to_thread(play.cluster.run, *DUMP))
    finance = await play.platform.accounting("platform:finance", subject="finance")
    catalog = await play.platform.catalog("platform:admin", subject="operator")
    now = clock.floor_second(clock.now())
    around = (now - timedelta(days=1), now + timedelta(days=1))
    runs = [run async for run in each(finance.list_site_runs, play.market.site, *around)]
    lines = [line for job in play.ids.values() async for line in each(finance.list_lines, job=job)]
    prices = {id: await catalog.get_price_list(id) for id in {line.price_list for line in lines}}
    imported = await _imported(play.platform.folder / "imported", dump)
    return compare(runs, lines, imported, prices)


def compare(
    runs: Sequence[SiteRun], lines: Sequence[Line], imported: Mapping[str, Span], prices: Mapping[str, PriceList]
) -> Held:
    """`imported`: by identity, those that held something. Pure."""
    of = {run.identity: run for run in runs if run.identity and run.spans}
    faults = [f"{identity}: in the books alone" for identity in sorted(imported.keys() - of.keys())]
    faults += [f"{identity}: metered alone" for identity in sorted(of.keys() - imported.keys())]
    both = {identity: (of[identity], span) for identity, span in imported.items() if identity in of}
    billed, owed = _billed(lines), _owed(both, prices)
    faults += [
        f"{key}: billed {billed.get(key)}, by the books {owed.get(key)}"
        for key in sorted({*billed, *owed}, key=str)
        if billed.get(key) != owed.get(key)
    ]
    return Held(len(both), len(billed), faults)


def _billed(lines: Sequence[Line]) -> dict[Key, Owed]:
    """The sums over bearers. Where several share a line, each part of its amount was rounded: it's that of the whole."""
    quantity, amount, parts = Counter[Key](), Counter[Key](), Counter[Key]()
    for line in lines:
        assert line.job and line.tariff and line.window and line.unit_price is not None, "it is of a job's seconds"
        key = Key(
            line.job, line.price_list, line.component, line.accelerator, line.tariff, line.window, line.unit_price
        )
        quantity[key] += line.quantity
        amount[key] += line.amount.fen
        parts[key] += 1
    return {
        key: Owed(quantity[key], amount[key] if parts[key] == 1 else _amount(key, quantity[key])) for key in quantity
    }


def _owed(both: Mapping[str, tuple[SiteRun, Span]], prices: Mapping[str, PriceList]) -> dict[Key, Owed]:
    """The price of a job is charged once, in the first second of all."""
    first: dict[str, tuple[int, str]] = {}
    for identity, (run, span) in both.items():
        start = (clock.to_seconds(span.start), identity)
        first[run.job] = min(first.get(run.job, start), start)
    quantity = Counter[Key]()
    for identity, (run, span) in both.items():
        (price_list,) = {part.price_list for part in run.priced}
        second, starting = first[run.job]
        for piece in pricing.quantities([span], prices[price_list], second if starting == identity else None, ()):
            one = piece.key
            price = pricing.unit_price(prices[price_list], one.tariff, one.window, one.component, one.mode)
            key = Key(run.job, price_list, one.component, one.accelerator, one.tariff, one.window, price)
            quantity[key] += piece.quantity
    return {key: Owed(total, _amount(key, total)) for key, total in quantity.items()}


def _amount(key: Key, quantity: int) -> int:
    return pricing.amount(key.component, quantity, key.unit_price)


async def _imported(folder: Path, dump: Path) -> dict[str, Span]:
    """What a fresh installation has of the dump."""
    async with Platform(folder).start() as platform:
        market = await open_market(platform)
        told = {
            "CARAVAN_URL": platform.url("accounting").removesuffix("/accounting"),
            "CARAVAN_TOKEN": platform.token("platform:finance"),
        }
        command = [sys.executable, "-m", "caravan.cli", "usage", "import", "sacct", str(dump), "--site", market.site]
        await asyncio.to_thread(
            subprocess.run, command, env=os.environ | told, check=True, stdout=subprocess.DEVNULL, text=True
        )
        with closing(sqlite3.connect(platform.data / "accounting.db")) as books:
            books.row_factory = sqlite3.Row
            rows = books.execute("SELECT * FROM imported_runs WHERE ends_at > starts_at").fetchall()
    return {row["identity"]: _span(dict(row)) for row in rows}


def _span(row: Mapping[str, Any]) -> Span:
    kinds = {KINDS[name]: count for name, count in json.loads(row["accelerators"]).items()}
    kind = next(iter(kinds), None)
    return Span(
        start=clock.from_seconds(row["starts_at"]),
        end=clock.from_seconds(row["ends_at"]),
        nodes=row["nodes"],
        cpus=row["cpus"],
        memory_mib=row["memory_mib"],
        accelerators=kinds.get(kind, 0) if kind else 0,
        accelerator=kind,
    )
