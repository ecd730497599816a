"""Feed events (CloudEvents 1.0) and which types there are.

State events (`*.changed`) carry the whole entity and its version: the newest says it all. Fact events happened once and are kept
until every follower has them.
"""

from caravan.kernel.events import Event as Event
from caravan.kernel.events import FeedPage as FeedPage
from caravan.kernel.events import SnapshotPage as SnapshotPage

# catalog
ORGANIZATION = "organization.changed"
PROJECT = "project.changed"
PROVIDER = "provider.changed"
TENANT = "tenant.changed"
SITE = "site.changed"
OFFERING = "offering.changed"
PRICE_LIST = "price_list.changed"
RESALE_AGREEMENT = "resale_agreement.changed"
ACCELERATOR = "accelerator.changed"
# broker
SITE_REPORTED = "site.reported"
ADAPTER_ANNOUNCED = "adapter.announced"
SITE_PROGRESS = "site.progress"
ATTEMPT_PLACED = "attempt.placed"
USAGE_STATED = "usage.stated"
USAGE_DOUBTED = "usage.doubted"
RUN_FINAL = "run.final"
ATTEMPT_ENDED = "attempt.ended"
JOB_NAMED = "job.named"
JOB_SETTLED = "job.settled"
BOOKS_READ = "books.read"
# accounting
BUDGET = "budget.changed"
