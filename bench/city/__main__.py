"""`python -m bench.city FOLDER [--records N] [--seed N] [--url URL] [--fault NAME]`: play a made city and print its figures as JSON."""

import argparse
import json
import sys
from pathlib import Path

from bench.city.playing import play
from caravan.kernel.logs import configure_logs


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.city", description=__doc__)
    parser.add_argument("folder", type=Path, help="where facts, claims and a SQLite file go; made if it isn't there")
    parser.add_argument("--records", type=int, default=20_000, help="about how many usage records")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--url", help="an empty PostgreSQL database")
    asked = parser.parse_args()
    configure_logs("error")
    print(json.dumps(play(asked.folder, asked.records, asked.seed, asked.url, _say)))


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
