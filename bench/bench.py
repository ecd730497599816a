"""How quick it is on this machine: `python -m bench.bench [seconds]`. Requests a second and latencies, for 1 and for 16 clients.

The platform runs in one process on SQLite files, with nothing else of it at work; the load comes from wrk over loopback. Then what the
local backend costs (`bench.backends`). The bars that the platform is held to are cases of `make prove`; these are figures to look at.
"""

import asyncio
import sys
import tempfile
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.table import Table

from bench import backends
from bench.cases.load import bare, occupy, spec
from bench.ending import like_ctrl_c
from bench.platform import Market, Platform, open_market
from bench.wrk import GET, POST, load

CLIENTS: Final = (1, 16)


def main(seconds: int) -> None:
    table = Table("request", "clients", "a second", "p50 ms", "p99 ms", "errors", title="One process, SQLite")
    with tempfile.TemporaryDirectory(prefix="caravan-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        asyncio.run(measure(folder, seconds, table))
    Console(width=None if sys.stdout.isatty() else 120).print(table)
    asyncio.run(backends.main(20))


async def measure(folder: Path, seconds: int, table: Table) -> None:
    async with Platform(folder).start() as platform:
        market = await open_market(platform, cpus=1, deposit="100000000.00")
        await occupy(platform, market)
        platform.stop()
        platform.start(CARAVAN_EMBEDDED_AGENTS="false", CARAVAN_LOG_LEVEL="warning")
        job = await some_job(platform, market)
        token = platform.token(f"org/{market.organization}:admin")
        with bare(folder) as root:
            for what, url, body in requests(platform, market, root, job):
                for clients in CLIENTS:
                    run = f"{what}-{clients}".replace(" ", "-")
                    script = GET.format(token=token) if body is None else POST.format(token=token, body=body, run=run)
                    one = await asyncio.to_thread(load, folder, url, script, clients=clients, seconds=seconds)
                    figures = (f"{one.per_second:,.0f}", f"{one.p50_ms:.1f}", f"{one.p99_ms:.1f}", str(one.errors))
                    table.add_row(what, str(clients), *figures)


async def some_job(platform: Platform, market: Market) -> str:
    broker = await platform.broker(f"org/{market.organization}:member")
    return (await broker.submit_job(spec(market))).id


def requests(platform: Platform, market: Market, root: str, job: str) -> list[tuple[str, str, str | None]]:
    """(name, URL, body or None for GET)."""
    catalog, broker, accounting = (platform.url(name) for name in ("catalog", "broker", "accounting"))
    body = spec(market).model_dump_json()
    return [
        ("a bare insert", f"{root}/engine", body),
        ("submit a job that waits", f"{broker}/v1/jobs", body),
        ("quote", f"{broker}/v1/quotes", body),
        ("list 50 jobs", f"{broker}/v1/jobs", None),
        ("get a job", f"{broker}/v1/jobs/{job}", None),
        ("search with a price", f"{catalog}/v1/offerings?cpus=1&hours=1", None),
        ("funds", f"{accounting}/v1/funds/{market.organization}", None),
        ("explain a job", f"{accounting}/v1/jobs/{job}/explanation", None),
    ]


if __name__ == "__main__":
    like_ctrl_c()
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
