"""Silences: spans in which a site stated no more usage, though something was there to be stated."""

from pydantic import Field

from caravan.contracts.base import Instant, Model
from caravan.contracts.ids import ProviderId, SilenceId, SiteId


class Silence(Model):
    """By accounting's clock."""

    id: SilenceId
    site: SiteId
    provider: ProviderId
    since: Instant = Field(
        description="When it last moved how far its usage is complete; or first had an attempt, of one that never has."
    )
    found_at: Instant
    until: Instant | None = Field(
        description="When it had moved again, or nothing was left there to be stated. Null: it lasts."
    )
