"""`python -m bench.city FOLDER [--records N] [--seed N] [--url URL] [--faults N]`: play a made city and print its figures as JSON.

With --faults a city of N records is also played once for each fault, planted before, in a process of its own: FOLDER/<fault>.
"""

import argparse
import json
import multiprocessing
import os
import sys
from pathlib import Path
from typing import Any, Final

from bench.city.faults import FAULTS
from bench.city.playing import play
from caravan.kernel.logs import configure_logs

AT_ONCE: Final = os.cpu_count() or 1


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.city", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("folder", type=Path, help="where facts, claims and a SQLite file go; made if it isn't there")
    parser.add_argument("--records", type=int, default=20_000, help="about how many usage records")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--url", help="an empty PostgreSQL database")
    parser.add_argument("--faults", type=int, default=0, help="about how many usage records a city with a fault has")
    asked = parser.parse_args()
    plays: list[tuple[Any, ...]] = [(asked.folder, asked.records, asked.seed, asked.url, None)]
    if asked.faults:
        plays += [(asked.folder / name, asked.faults, asked.seed, None, name) for name in FAULTS]
    # forked by one process that has imported everything and started no thread; each plays one city
    with multiprocessing.get_context("fork").Pool(AT_ONCE, maxtasksperchild=1) as pool:
        figures, *_ = pool.map(_play, plays, chunksize=1)
    print(json.dumps(figures))


def _play(one: tuple[Path, int, int, str | None, str | None]) -> dict[str, Any]:
    folder, records, seed, url, fault = one
    configure_logs("error")
    if fault is not None:
        FAULTS[fault].plant()
    return play(folder, records, seed, url, lambda text: print(text, file=sys.stderr, flush=True))


if __name__ == "__main__":
    main()
