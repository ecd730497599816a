"""`python -m bench.volume FOLDER [--jobs N] [--at-once N] [--in-first N] [--seed N] [--url URL]`: play it and print the figures as JSON."""

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path

from bench.volume.playing import play
from caravan.kernel.logs import configure_logs


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.volume", description=__doc__)
    parser.add_argument("folder", type=Path, help="where keys and a SQLite file go; made if it isn't there")
    parser.add_argument("--jobs", type=int, default=40)
    parser.add_argument("--at-once", type=int, default=4, help="more jobs, ingested and charged at the same time")
    parser.add_argument("--in-first", type=int, default=20, help="jobs of the month that is closed")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--url", help="an empty PostgreSQL database")
    asked = parser.parse_args()
    configure_logs("error")
    figures = play(asked.folder, asked.jobs, asked.at_once, asked.in_first, asked.seed, asked.url, _say)
    print(json.dumps(asdict(figures)))


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
