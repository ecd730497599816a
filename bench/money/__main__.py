"""`python -m bench.money FOLDER [--rounds N] [--jobs N] [--seed N] [--url URL]`: go on where the database stands, up to the end."""

import argparse
import asyncio
import json
from pathlib import Path
from random import Random

from bench.money.living import live
from bench.money.rounds import Phase, draw
from caravan.kernel.logs import configure_logs
from caravan.kernel.migrations import migrate
from caravan.kernel.settings import Settings


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.money", description=__doc__)
    parser.add_argument("folder", type=Path, help="of keys, of a SQLite file and of books.json; made if it isn't there")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--jobs", type=int, default=40, help="of each round")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--url", help="a PostgreSQL database, empty at the first life")
    asked = parser.parse_args()
    configure_logs("error")
    settings = Settings(
        mode="development",
        data_dir=asked.folder / "data",
        log_level="error",
        log_format="console",
        accounting_database_url=asked.url,
    )
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    migrate(settings.database_url("accounting"), "accounting")
    books = asyncio.run(live(settings, draw(Random(asked.seed), asked.rounds, asked.jobs), _say))
    (asked.folder / "books.json").write_text(json.dumps(books, ensure_ascii=False))


def _say(number: int, phase: Phase, what: str) -> None:
    print(json.dumps([number, phase, what]), flush=True)


if __name__ == "__main__":
    main()
