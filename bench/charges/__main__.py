"""`python -m bench.charges FOLDER [--jobs N] [--seed N] [--faults]`: play a drawn history and export what finance sees.

With --faults the same history is also played once for each fault, planted before, in a process of its own: FOLDER/<fault>.
"""

import argparse
import multiprocessing
import sys
from pathlib import Path

from bench.charges.faults import FAULTS
from bench.charges.history import draw
from bench.charges.playing import play
from caravan.kernel.logs import configure_logs


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.charges", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("folder", type=Path, help="where the exported files go; made if it isn't there")
    parser.add_argument("--jobs", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--faults", action="store_true")
    asked = parser.parse_args()
    forks = multiprocessing.get_context("fork")  # from one process that has imported everything and started no thread
    plays: list[tuple[Path, str | None]] = [(asked.folder, None)]
    if asked.faults:
        plays += [(asked.folder / name, name) for name in FAULTS]
    processes = [forks.Process(target=_play, args=(asked.seed, asked.jobs, *one)) for one in plays]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    sys.exit(any(process.exitcode for process in processes))


def _play(seed: int, jobs: int, folder: Path, fault: str | None) -> None:
    configure_logs("error")
    if fault is not None:
        FAULTS[fault].plant()
    play(draw(seed, jobs), folder, seed)


if __name__ == "__main__":
    main()
