"""The Kubernetes adapter: jobs as Jobs of a centre's cluster, by its API server (1.29 or newer).

Owns what is said to the API server and how its answers are read. A submission is a suspended Job, named by the tag, in the namespace
of its tenant; it is released by a patch, and ended by a deletion of which its pods are a part. How things stand comes from one watch
of Jobs and one of pods for the whole site: no Job is ever asked for by itself to see how it does.

**What keeps a record until it was read.** Each pod has our finalizer (`caravan/usage`): whoever deletes it, also hours after the last
agent, its container's times and exit code stay until the broker has closed its books. Then the agent takes it off, with a pod that is
being deleted as with any other, so a namespace that is deleted is gone moments after its last run was billed. A centre that lets the
platform go for good takes them off itself:
`kubectl get pods -A -l caravan/site -o name` says where, and
`kubectl patch POD -n NAMESPACE --type=json -p '[{"op": "remove", "path": "/metadata/finalizers"}]'` frees each one.

**Tasks of several nodes** are a Job of their own, with a pod for each node that knows its rank, and a Service without an address by which
they find each other (`nodes.py`). **Containers of an array that doesn't count from 0** can't know their index from Kubernetes, and have no
wrapper that could say it: their pods are made with a scheduling gate, and the agent writes the index to each and opens it. While no
agent is there these wait; nothing is billed for that.

**A tenant** is a namespace: deploy/kubernetes-site/tenant.yaml makes one, with policies that let nothing in or out but between nodes of
jobs. No pod has a token of the cluster's, whatever its service account may do.

**Where Kueue decides what may start** (the site's settings name a queue) a submission is staged without the label of a queue, and
released by adding it: so Kueue hears of nothing that was only staged, and from then on alone suspends and resumes it. Its words are the
reason for which a job waits. What it preempts ends as that, which the provider bears, and is a new run when it's admitted again. No
LocalQueue of a tenant's namespace may be called `default`: Kueue gives it each Job that names none, so it would start what is staged.
Such a namespace is refused. A job's place in its queue is told by Kueue's own order (`lines.py`), as all Workloads are watched.

**What the inventory knows** besides its nodes: what all pods of the cluster asked for isn't free, and where there is a queue, neither is
what its quotas don't have left; none of its jobs may have more than the largest of them. A tenant's LimitRanges and ResourceQuotas are
no part of it, since a part of a site is for all tenants: a job that they can never let have its pod is rejected as it is staged.

**Output** is copied to the agent's machine (`outputs.py`, `copies.py`), followed while somebody asks for it, and kept in the agent's folder
for it (`CARAVAN_AGENT_OUTPUT`) for `keep_output_seconds` after its end. Of a container that runs the kubelet itself keeps only its newest
10 MiB (`containerLogMaxSize`): what was turned over before it was asked for is lost, and the output says so where that can be noticed.

Open `backend.py` first, which watches and delegates. The rest, by what it's about:
- a submission's life: `staging.py`, `lives.py` (what becomes of it then), `tending.py` (its pods that wait for us), on `objects.py` (one
  Job and its pods, looked up and changed)
- what is asked for: `manifest.py`, `script.py`, `environment.py`, `acts.py`, `grant.py`
- how it is looked at: `watch.py`, `records.py`
- what that means: `submissions.py` (all), `known.py` (each), `runs.py`, `ends.py`, `clocks.py`, `reasons.py`, `nodes.py`, and with Kueue
  `queues.py`, `lines.py`
- what it wrote: `outputs.py`, `copies.py`
- what there is: `reads.py`, `inventory.py`, `devices.py`, `quotas.py`, `allowances.py`, and what is wrong with it: `health.py`
- the way there: `settings.py`, `connection.py`, `rest.py`, `failures.py`; what all of it is named: `reference.py`.
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

from pydantic import ValidationError

from caravan.contracts.dispatch import Grant
from caravan.contracts.offerings import AdapterDescriptor
from caravan.contracts.spec import Resources
from services.broker.adapters.kubernetes.backend import open_site
from services.broker.adapters.kubernetes.clocks import LAG_SECONDS
from services.broker.adapters.kubernetes.grant import grant
from services.broker.adapters.kubernetes.settings import Settings, Target, Tenant
from services.broker.adapters.port import Backend, SiteContext


class KubernetesAdapter:
    descriptor = AdapterDescriptor(
        name="kubernetes",
        version="1",
        site_settings=Settings.model_json_schema(),
        tenant_settings=Tenant.model_json_schema(),
        target=Target.model_json_schema(),
        capabilities=("accelerators", "arrays", "container", "logs", "memory_limit", "several_nodes"),
        books_lag_seconds=LAG_SECONDS,
    )

    def grant(self, resources: Resources, target: Mapping[str, Any], settings: Mapping[str, Any]) -> Grant:
        return grant(resources, target, settings)

    def images(self, settings: Mapping[str, Any]) -> Sequence[str] | None:
        """As the port has it. None of settings that are wrong, too: `grant` says what is."""
        try:
            return Settings.model_validate(dict(settings)).images
        except ValidationError:
            return None

    def open(self, context: SiteContext) -> AbstractAsyncContextManager[Backend]:
        return open_site(context)


adapter = KubernetesAdapter()
