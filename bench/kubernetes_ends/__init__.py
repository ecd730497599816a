"""An independent check of how jobs end on a real Kubernetes: what the platform's API tells of them against the node's own record.

Owns the jobs that are asked for, and the comparison of them and of the node's record of its containers (containerd's events and what
each container was made of, `tests.backends.kubernetes.containers`) with what the API says and bills. It shares no code with the
Kubernetes adapter nor with pricing, and asks the cluster itself for nothing. Open `asked.py` first (the jobs), then `compare.py` (the
fields); `playing.py` runs them.
"""
