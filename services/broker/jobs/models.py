"""Tables of jobs, their array tasks, attempts, runs and events."""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, ForeignKey, Index, String, Text, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from caravan.kernel.database import Instant, Json
from services.broker.models_base import Base


class JobRow(Base):
    __tablename__ = "jobs"
    id: Mapped[str] = mapped_column(String, primary_key=True)
    organization: Mapped[str] = mapped_column(String)
    project: Mapped[str] = mapped_column(String)
    name: Mapped[str] = mapped_column(String)
    spec: Mapped[str] = mapped_column(Text)
    labels: Mapped[dict[str, str]] = mapped_column(Json)
    state: Mapped[str] = mapped_column(String)
    reason: Mapped[str | None] = mapped_column(String)
    detail: Mapped[str] = mapped_column(Text)
    refusal: Mapped[dict[str, Any] | None] = mapped_column(Json)
    counts: Mapped[dict[str, int]] = mapped_column(Json)
    hold_revision: Mapped[int] = mapped_column(BigInteger)
    hold_fen: Mapped[int] = mapped_column(BigInteger)
    hold_state: Mapped[str] = mapped_column(String)
    granted_fen: Mapped[int | None] = mapped_column(BigInteger, comment="The last amount granted; null: none ever was.")
    reseller: Mapped[dict[str, str] | None] = mapped_column(
        Json, comment="The organization and its project that buy what it sells on, by the agreement at the submission."
    )
    hold_ahead: Mapped[Any] = mapped_column(Json, server_default="[]", comment="HoldRequest.ahead, as asked last.")
    resale_fen: Mapped[int | None] = mapped_column(
        BigInteger, comment="As hold_fen, of the reseller's; null: it was never asked for any."
    )
    resale_granted_fen: Mapped[int | None] = mapped_column(BigInteger, comment="As granted_fen, of the reseller's.")
    offering: Mapped[str | None] = mapped_column(String)
    attempts: Mapped[int] = mapped_column(BigInteger)
    cancel_requested: Mapped[int] = mapped_column(BigInteger)
    excluded: Mapped[dict[str, list[str]]] = mapped_column(
        Json, comment="Offering -> [failed | rejected, detail]: where it was tried in vain."
    )
    open_runs: Mapped[int] = mapped_column(BigInteger, comment="Runs whose books aren't final yet.")
    created_at: Mapped[datetime] = mapped_column(Instant)
    started_at: Mapped[datetime | None] = mapped_column(Instant)
    ended_at: Mapped[datetime | None] = mapped_column(Instant)
    settled_at: Mapped[datetime | None] = mapped_column(Instant)
    wake_at: Mapped[datetime | None] = mapped_column(Instant, comment="When `advance` has something to do.")
    version: Mapped[int] = mapped_column(BigInteger)
    __table_args__ = (
        Index("ix_jobs_organization_id", "organization", "id"),
        Index("ix_jobs_organization_state_id", "organization", "state", "id"),
        Index("ix_jobs_project_id", "project", "id"),
        Index("ix_jobs_project_state_id", "project", "state", "id"),
        Index(
            "ix_jobs_wake_at",
            "wake_at",
            postgresql_where=text("wake_at IS NOT NULL"),
            sqlite_where=text("wake_at IS NOT NULL"),
        ),
    )


class LabelRow(Base):
    """A label (`name=value`) of a job, to find jobs by."""

    __tablename__ = "job_labels"
    label: Mapped[str] = mapped_column(String, primary_key=True)
    job: Mapped[str] = mapped_column(ForeignKey("jobs.id", deferrable=True, initially="DEFERRED"), primary_key=True)


class TaskRow(Base):
    __tablename__ = "array_tasks"
    job: Mapped[str] = mapped_column(ForeignKey("jobs.id", deferrable=True, initially="DEFERRED"), primary_key=True)
    index: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    state: Mapped[str] = mapped_column(String)
    attempt: Mapped[str | None] = mapped_column(String)
    run: Mapped[str | None] = mapped_column(String)
    tries: Mapped[int] = mapped_column(BigInteger)
    detail: Mapped[str] = mapped_column(Text)


class AttemptRow(Base):
    __tablename__ = "attempts"
    id: Mapped[str] = mapped_column(String, primary_key=True)
    job: Mapped[str] = mapped_column(ForeignKey("jobs.id", deferrable=True, initially="DEFERRED"))
    number: Mapped[int] = mapped_column(BigInteger)
    site: Mapped[str] = mapped_column(String)
    offering: Mapped[str] = mapped_column(String)
    provider: Mapped[str] = mapped_column(String)
    price_list: Mapped[str] = mapped_column(String)
    price_class: Mapped[str | None] = mapped_column(String, comment="The organization's, when it was placed.")
    options: Mapped[dict[str, str]] = mapped_column(
        Json, server_default="{}", comment="Of its target, what tariffs go by."
    )
    preempted_borne_by: Mapped[str] = mapped_column(
        String, server_default="provider", comment="As its offering said when it was placed."
    )
    tenant: Mapped[str] = mapped_column(String)
    indices: Mapped[list[int]] = mapped_column(Json)
    grant: Mapped[dict[str, Any]] = mapped_column(Json)
    capacity: Mapped[dict[str, Any]] = mapped_column(Json)
    reserved: Mapped[str | None] = mapped_column(String, comment="How capacity is held: room, ahead, or no more.")
    worst_fen: Mapped[int] = mapped_column(BigInteger)
    use: Mapped[Any] = mapped_column(
        Json, nullable=True, comment="HoldUse, of what worst_fen is made; null: not known."
    )
    resale: Mapped[dict[str, Any] | None] = mapped_column(
        Json, comment="How a reseller buys it; null: the provider sells to the organization."
    )
    resale_worst_fen: Mapped[int | None] = mapped_column(BigInteger, comment="As worst_fen, of the reseller's.")
    state: Mapped[str] = mapped_column(String)
    desired: Mapped[str] = mapped_column(String)
    reference: Mapped[str | None] = mapped_column(
        String, comment="Committed by compare-and-set; the only one ever released."
    )
    observation: Mapped[int] = mapped_column(BigInteger)
    detail: Mapped[str] = mapped_column(Text)
    work: Mapped[int | None] = mapped_column(BigInteger, comment="Its place in the site's sequence of wanted work.")
    created_at: Mapped[datetime] = mapped_column(Instant)
    ended_at: Mapped[datetime | None] = mapped_column(Instant)
    __table_args__ = (
        Index("ix_attempts_job", "job", "number"),
        Index("ix_attempts_site_work", "site", "work"),
    )


class RunRow(Base):
    __tablename__ = "runs"
    id: Mapped[str] = mapped_column(String, primary_key=True)
    site: Mapped[str] = mapped_column(String)
    backend_identity: Mapped[str] = mapped_column(String)
    attempt: Mapped[str] = mapped_column(ForeignKey("attempts.id"))
    job: Mapped[str] = mapped_column(ForeignKey("jobs.id", deferrable=True, initially="DEFERRED"))
    index: Mapped[int] = mapped_column(BigInteger)
    observation: Mapped[int] = mapped_column(BigInteger)
    state: Mapped[str] = mapped_column(String)
    outcome: Mapped[str | None] = mapped_column(String)
    exit_code: Mapped[int | None] = mapped_column(BigInteger)
    signal: Mapped[int | None] = mapped_column(BigInteger)
    detail: Mapped[str] = mapped_column(Text)
    started_at: Mapped[datetime] = mapped_column(Instant)
    ended_at: Mapped[datetime | None] = mapped_column(Instant)
    final: Mapped[int] = mapped_column(BigInteger)
    hours: Mapped[dict[str, int]] = mapped_column(Json, comment="Hour -> last revision stated.")
    marks: Mapped[dict[str, str]] = mapped_column(
        Json, server_default="{}", comment="Hour -> mark of the spans of that revision."
    )
    aside: Mapped[dict[str, list[Any]]] = mapped_column(
        Json,
        server_default="{}",
        comment="Hour -> last revision of what something speaks against, and the mark of what was last told of it.",
    )
    start_told: Mapped[datetime | None] = mapped_column(
        Instant, comment="When it started, as last told; null: as started_at."
    )
    end_told: Mapped[datetime | None] = mapped_column(
        Instant, comment="When it ended, as last told: it may be before its start."
    )
    __table_args__ = (
        UniqueConstraint("site", "backend_identity", "attempt", "index"),
        Index("ix_runs_attempt", "attempt"),
        Index("ix_runs_job", "job"),
    )


class EventRow(Base):
    __tablename__ = "job_events"
    job: Mapped[str] = mapped_column(ForeignKey("jobs.id", deferrable=True, initially="DEFERRED"), primary_key=True)
    sequence: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    at: Mapped[datetime] = mapped_column(Instant)
    type: Mapped[str] = mapped_column(String)
    detail: Mapped[str] = mapped_column(Text)
    data: Mapped[dict[str, Any]] = mapped_column(Json)
