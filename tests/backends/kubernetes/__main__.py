"""By hand: `python3 -m tests.backends.kubernetes up FOLDER` starts a cluster in FOLDER and prints it as a line of JSON; calling it again
prints the same. `down FOLDER` ends it. `build` makes the programs that any cluster may need, which else each cluster does for itself.
What can't be set up is said to be left out; with CI=true that fails.
"""

import json
import sys
from dataclasses import asdict

from tests.backends.kubernetes import LeftOut, cluster, must_run
from tests.backends.kubernetes.installed import PARTS, installed


def main() -> int:
    try:
        match sys.argv[1:]:
            case ["up", folder]:
                started = cluster.up(folder)
                reached = {"version": started.version, "url": started.url, "kubeconfig": started.kubeconfig()}
                print(json.dumps({**reached, **asdict(started)}))
            case ["down", folder]:
                cluster.down(folder)
            case ["build"]:
                for part in PARTS:
                    print(installed(part))
            case _:
                print(__doc__, file=sys.stderr)
                return 2
    except LeftOut as left_out:
        print(f"left out: {left_out}", file=sys.stderr)
        return int(must_run())
    return 0


if __name__ == "__main__":
    sys.exit(main())
