"""What every service tells of itself: feed events in their envelope and pages, and entries of its audit log."""

from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints

_Word = Annotated[str, StringConstraints(min_length=1, max_length=200)]


class Event(BaseModel):
    """A CloudEvents 1.0 envelope; `subject` is the entity, whose events are applied in order."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    specversion: Literal["1.0"] = "1.0"
    id: str
    source: _Word
    type: _Word
    subject: _Word
    time: AwareDatetime
    data: dict[str, Any]
    position: int = Field(description="Where it stands in this feed.")


class FeedPage(BaseModel):
    """Events after a cursor; `next` is the cursor that acknowledges them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    events: tuple[Event, ...]
    next: str = Field(description="`<generation>:<position>`, to be passed as `after`.")


class SnapshotPage(BaseModel):
    """Current state of all entities of the feed's state events, for a new follower, and the cursor to follow from."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    cursor: str
    events: tuple[Event, ...]
    next: str | None = Field(description="To be passed as `after` for the next page; null after the last.")


class AuditEntry(BaseModel):
    """One decision: who (the token's subject), what, on which entity."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    at: AwareDatetime
    subject: str
    action: str = Field(description="The operation, for example `approve_provider`.")
    entity: str
    data: dict[str, Any]
