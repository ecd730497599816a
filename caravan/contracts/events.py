"""Feed events (CloudEvents 1.0) and which types there are.

State events (`*.changed`) carry the whole entity and its version: the newest says it all. Fact events happened once and are kept
until every follower has them.
"""

from typing import Any, Literal

from pydantic import Field

from caravan.contracts.base import Instant, Model, Name


class Event(Model):
    """A CloudEvents 1.0 envelope; `subject` is the entity, whose events are applied in order."""

    specversion: Literal["1.0"] = "1.0"
    id: str
    source: Name
    type: Name
    subject: Name
    time: Instant
    data: dict[str, Any]
    position: int = Field(description="Where it stands in this feed.")


class FeedPage(Model):
    """Events after a cursor; `next` is the cursor that acknowledges them."""

    events: tuple[Event, ...]
    next: str = Field(description="`<generation>:<position>`, to be passed as `after`.")


class SnapshotPage(Model):
    """Current state of all entities of the feed's state events, for a new follower, and the cursor to follow from."""

    cursor: str
    events: tuple[Event, ...]
    next: str | None


# catalog
ORGANIZATION = "organization.changed"
PROJECT = "project.changed"
PROVIDER = "provider.changed"
TENANT = "tenant.changed"
SITE = "site.changed"
OFFERING = "offering.changed"
PRICE_LIST = "price_list.changed"
ACCELERATOR = "accelerator.changed"
# broker
SITE_REPORTED = "site.reported"
ADAPTER_ANNOUNCED = "adapter.announced"
SITE_PROGRESS = "site.progress"
ATTEMPT_PLACED = "attempt.placed"
USAGE_STATED = "usage.stated"
RUN_FINAL = "run.final"
JOB_NAMED = "job.named"
JOB_SETTLED = "job.settled"
# accounting
HOLD_DECIDED = "hold.decided"
BUDGET = "budget.changed"
