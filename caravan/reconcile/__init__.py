"""What Caravan billed beside what a site's own books say.

Owns what a run held by such books (`rows.py`), and in what that differs from what was billed (`comparing.py`, open it first).
`slurm.py` has it from slurmdbd's; at Kubernetes `pods.py` and `record.py` read containers, and `containers.py` has it from these.
Pure: takes what others have read, never opens a file.
"""

from caravan.reconcile.comparing import Asked, Kind, Reconciliation, reconcile, unmatched, unsettled
from caravan.reconcile.rows import Row

__all__ = ["Asked", "Kind", "Reconciliation", "Row", "reconcile", "unmatched", "unsettled"]
