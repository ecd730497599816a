"""Real Slurm clusters on loopback for tests: `Cluster` is what a test gets, one for each of `RELEASES`.

Owns how each release is installed (a Debian in a folder of the cache), configured, started and ended. A cluster is four virtual
nodes with fake accelerators, and its own munge, MariaDB, slurmdbd, slurmctld and slurmrestd on free ports of 127.0.0.1. It lives in
namespaces of its own, so ending its first process ends all of it, and nothing outside its folder is written.

Never installs Slurm on the machine itself, never signals a process that it didn't start, and knows nothing of Caravan: it works with
no other package than the standard library. Open `cluster.py` first, then `installed.py` (the folders of the cache),
`configuration.py` (what a site's administrator would write) and `supervisor.py` (what runs in the namespaces).

By hand: `python3 -m tests.backends.slurm up FOLDER [RELEASE …]`, and `down FOLDER`.
"""

from tests.backends.shelf import LeftOut
from tests.backends.slurm.cluster import Cluster
from tests.backends.slurm.installed import RELEASES, Release, must_run

__all__ = ["RELEASES", "Cluster", "LeftOut", "Release", "must_run"]
