"""Anomalies: usage that can't be trusted as it was stated. It is set aside, and billed only if a person accepts it."""

from enum import StrEnum

from pydantic import Field

from caravan.contracts.base import Instant, Model, Name, Prose
from caravan.contracts.ids import AnomalyId, OrganizationId, ProviderId, SiteId
from caravan.contracts.usage import UsageRecord


class AnomalyReason(StrEnum):
    """docs/anomalies.md says of each what to do."""

    NO_ATTEMPT = "no_attempt"
    """Nothing is known of the attempt, long after the usage was stated."""
    CONTRADICTORY = "contradictory"
    """The same run, hour and revision was stated with other spans."""
    IN_THE_FUTURE = "in_the_future"
    """It ends after the time at which it was stated."""
    IDENTITY_TAKEN = "identity_taken"
    """At its site another run has the same identity of the backend's: one allocation would be billed twice."""
    BEFORE_PLACEMENT = "before_placement"
    """It starts before its attempt was placed."""
    START_MOVED = "start_moved"
    """A higher revision of an hour says that its run started at another time."""
    TAKEN_BACK = "taken_back"
    """Its job was settled, and a higher revision than was listed then takes seconds away."""
    OVERLAPPING = "overlapping"
    """Another run of the same array task holds some of the same seconds: a task has one run at a time."""
    AFTER_END = "after_end"
    """It has seconds after the end of its run, as its site told that."""
    BOOKS_CLOSED = "books_closed"
    """It was stated once the books of its run were closed."""
    ENDED_BEFORE_START = "ended_before_start"
    """By its site's books the run ended before it started: nobody knows how long it ran."""


class DoubtedUsage(Model):
    """What a site has stated and the broker knows better (the broker -> accounting event `usage.doubted`): to be set aside."""

    usage: UsageRecord
    reason: AnomalyReason


class AnomalyState(StrEnum):
    OPEN = "open"
    ACCEPTED = "accepted"
    """It was billed as it was stated."""
    DISCARDED = "discarded"
    """Kept for good, and not billed."""
    SUPERSEDED = "superseded"
    """A later revision has replaced it, or what it waited for has come."""


class Decision(StrEnum):
    ACCEPT = "accept"
    DISCARD = "discard"


class AnomalyDecision(Model):
    decision: Decision
    words: Prose = Field(
        min_length=1, description="Why, for whoever asks later.", examples=["站点已核实 Confirmed by site"]
    )


class Anomaly(Model):
    """An hour of a run that is set aside. Site, provider and organization are null while its attempt isn't known."""

    id: AnomalyId
    reason: AnomalyReason
    state: AnomalyState
    usage: UsageRecord
    site: SiteId | None
    provider: ProviderId | None
    organization: OrganizationId | None
    found_at: Instant
    settled_at: Instant | None
    settled_by: Name | None = Field(description="Null: nobody, it was superseded.")
    words: str | None
