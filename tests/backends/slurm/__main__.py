"""By hand: `python3 -m tests.backends.slurm up FOLDER [RELEASE …]` starts the releases (all of them) under FOLDER and prints a line of
JSON for each; calling it again prints the same. `down FOLDER` ends them. A release that can't be set up is said to be left out; with
CI=true that fails, unless it moves.
"""

import json
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from tests.backends.slurm import RELEASES, LeftOut, Release, cluster, must_run


def main() -> int:
    match sys.argv[1:]:
        case ["up", folder, *names] if set(names) <= {release.name for release in RELEASES}:
            chosen = [release for release in RELEASES if not names or release.name in names]
            with ThreadPoolExecutor() as pool:
                return max(pool.map(lambda release: up(release, Path(folder, release.name)), chosen))
        case ["down", folder]:
            for release in RELEASES:
                cluster.down(str(Path(folder, release.name)))
            with suppress(OSError):  # it isn't there, or holds what isn't ours
                Path(folder).rmdir()
            return 0
    print(__doc__, file=sys.stderr)
    return 2


def up(release: Release, folder: Path) -> int:
    try:
        print(json.dumps(asdict(cluster.up(release, str(folder)))))
    except LeftOut as left_out:
        print(f"left out: {left_out}", file=sys.stderr)
        return int(must_run(release))
    return 0


if __name__ == "__main__":
    sys.exit(main())
