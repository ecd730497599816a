"""The local adapter: jobs as processes of the agent's own machine, for small centres, development and the demo.

Owns the site's folder and everything that runs from it. It never queues: what is released starts (an array by its throttle), so the
capacity of its offerings is what bounds it. Each submission has a supervisor that needs neither agent nor platform. As root each
tenant is a uid of its own. Without root tenants share the agent's uid and are kept apart by namespaces: files are hidden, but a
hostile job can still send signals to processes of that uid, so run it as root for tenants that don't trust each other.

Open `submissions.py` first (what the folder means), then `supervisor.py` and `keeper.py` (what runs), `isolation.py` (what a job sees).
"""

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any

from caravan.contracts.dispatch import Grant
from caravan.contracts.offerings import AdapterDescriptor
from caravan.contracts.spec import Resources
from services.broker.adapters.local.backend import open_site
from services.broker.adapters.local.grant import Settings, grant
from services.broker.adapters.port import Backend, SiteContext

NOTHING: dict[str, Any] = {"type": "object", "properties": {}, "additionalProperties": False}


class LocalAdapter:
    descriptor = AdapterDescriptor(
        name="local",
        version="1",
        site_settings=Settings.model_json_schema(),
        tenant_settings=NOTHING,
        target=NOTHING,
        capabilities=("arrays", "logs", "memory_limit", "needs_consent"),
        books_lag_seconds=0,
    )

    def grant(self, resources: Resources, target: Mapping[str, Any], settings: Mapping[str, Any]) -> Grant:
        return grant(resources, target, settings)

    def open(self, context: SiteContext) -> AbstractAsyncContextManager[Backend]:
        return open_site(context)


adapter = LocalAdapter()
