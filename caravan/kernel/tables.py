"""The kernel's own tables, which every service's database has. Services copy them into their metadata by `include`."""

from sqlalchemy import (
    BigInteger,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from caravan.kernel.database import Instant, Json, metadata

KERNEL = metadata()
_sequence = BigInteger().with_variant(Integer, "sqlite")

outbox = Table(
    "outbox",
    KERNEL,
    Column("sequence", _sequence, primary_key=True, autoincrement=True),
    Column("position", BigInteger, unique=True, comment="Order in the feed; null until given (PostgreSQL)."),
    Column("id", String, nullable=False),
    Column("type", String, nullable=False),
    Column("subject", String, nullable=False),
    Column("time", Instant, nullable=False),
    Column("data", Text, nullable=False),
    Index(
        "ix_outbox_unpositioned",
        "sequence",
        postgresql_where=text("position IS NULL"),
        sqlite_where=text("position IS NULL"),
    ),
)

feed_entities = Table(
    "feed_entities",
    KERNEL,
    Column("subject", String, primary_key=True),
    Column("type", String, nullable=False),
    Column("time", Instant, nullable=False),
    Column("data", Text, nullable=False),
    comment="The last state event of each entity: what a snapshot is made of.",
)

feed_state = Table(
    "feed_state",
    KERNEL,
    Column("id", Integer, primary_key=True),
    Column("generation", String, nullable=False),
    comment="One row.",
)

feed_followers = Table(
    "feed_followers",
    KERNEL,
    Column("subject", String, primary_key=True),
    Column("position", BigInteger, nullable=False, comment="Acknowledged up to here."),
    Column("seen_at", Instant, nullable=False),
)

feed_cursors = Table(
    "feed_cursors",
    KERNEL,
    Column("feed", String, primary_key=True, comment="The service that is followed."),
    Column("cursor", String, nullable=False),
)

feed_parked = Table(
    "feed_parked",
    KERNEL,
    Column("sequence", _sequence, primary_key=True, autoincrement=True, comment="The order in which they are tried."),
    Column("feed", String, nullable=False),
    Column("id", String, nullable=False, comment="The event's."),
    Column("subject", String, nullable=False),
    Column("event", Json, nullable=False),
    Column("error", Text, nullable=False),
    Column("parked_at", Instant, nullable=False),
    UniqueConstraint("feed", "id"),
    Index("ix_feed_parked_feed_subject", "feed", "subject"),
    comment="Events that could not be applied yet, and the later ones of the same entities.",
)

leases = Table(
    "leases",
    KERNEL,
    Column("name", String, primary_key=True),
    Column("holder", String, nullable=False),
    Column("epoch", BigInteger, nullable=False),
    Column("expires_at", Instant, nullable=False),
)

idempotency = Table(
    "idempotency",
    KERNEL,
    Column("scope", String, primary_key=True, comment="The caller and the operation."),
    Column("key", String, primary_key=True),
    Column("fingerprint", String, nullable=False),
    Column("owner", String, nullable=False, comment="The process that works on it."),
    Column("reference", String, comment="What the first request made, for the one who takes over."),
    Column("status", Integer, comment="Null while it is running."),
    Column("body", LargeBinary),
    Column("headers", Json),
    Column("created_at", Instant, nullable=False),
    Index("ix_idempotency_created_at", "created_at"),
)

audit = Table(
    "audit",
    KERNEL,
    Column("id", String, primary_key=True),
    Column("at", Instant, nullable=False),
    Column("subject", String, nullable=False, comment="Who did it."),
    Column("action", String, nullable=False),
    Column("entity", String, nullable=False),
    Column("data", Json, nullable=False),
    Index("ix_audit_entity_id", "entity", "id"),
)


def include(service: MetaData) -> None:
    """Add the kernel's tables to a service's metadata, so that its migrations make them."""
    for table in KERNEL.sorted_tables:
        table.to_metadata(service)


__all__ = [
    "audit",
    "feed_cursors",
    "feed_entities",
    "feed_followers",
    "feed_parked",
    "feed_state",
    "idempotency",
    "include",
    "leases",
    "outbox",
]
