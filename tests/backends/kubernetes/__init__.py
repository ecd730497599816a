"""Real Kubernetes clusters on loopback for tests: `Cluster` is what a test gets.

Owns how Kubernetes is built from its Go modules, configured, started and ended. A cluster is its own etcd, apiserver,
controller-manager and scheduler on free ports of 127.0.0.1, and a real node with a kubelet, containerd and runc; on demand also nodes
that kwok plays, and Kueue. It lives in namespaces of its own, so ending its first process ends all of it. Outside of its folder it has
a bridge and a control group by its number (`outside.py`), and nothing reaches beyond this machine.

Never installs anything on the machine itself, never signals a process that it didn't start, and knows nothing of Caravan: it works with
no other package than the standard library. Open `cluster.py` first, then `installed.py` (the programs), `configuration.py` (what an
administrator would write), `supervisor.py` and `node.sh` (what runs first in the namespaces).

By hand: `python3 -m tests.backends.kubernetes up FOLDER`, and `down FOLDER`.
"""

from tests.backends.kubernetes.cluster import Cluster, running
from tests.backends.kubernetes.installed import must_run
from tests.backends.shelf import LeftOut

__all__ = ["Cluster", "LeftOut", "must_run", "running"]
