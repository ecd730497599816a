"""Tables of usage: copies of others' entities, and the facts that lines are made of. Hours are seconds since the epoch."""

from datetime import datetime
from typing import Any, Final

from pydantic import TypeAdapter
from sqlalchemy import BigInteger, Boolean, Dialect, ForeignKey, Index, String, Text, TypeDecorator, false, text
from sqlalchemy.orm import Mapped, mapped_column

from caravan.contracts.usage import Span
from caravan.kernel.database import Instant, Json
from services.accounting.models_base import Base

_SPANS: Final = TypeAdapter(tuple[Span, ...])


class Spans(TypeDecorator[tuple[Span, ...]]):
    """What a run held, stored as the contract's JSON."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: tuple[Span, ...] | None, dialect: Dialect) -> str | None:
        return None if value is None else _SPANS.dump_json(value).decode()

    def process_result_value(self, value: str | None, dialect: Dialect) -> tuple[Span, ...] | None:
        return None if value is None else _SPANS.validate_json(value)


class OrganizationCopy(Base):
    __tablename__ = "organizations"

    id: Mapped[str] = mapped_column(String, primary_key=True)
    name: Mapped[str] = mapped_column(String)
    credit_code: Mapped[str | None] = mapped_column(String, index=True)
    version: Mapped[int] = mapped_column(BigInteger)


class ProjectCopy(Base):
    __tablename__ = "projects"

    id: Mapped[str] = mapped_column(String, primary_key=True)
    organization: Mapped[str] = mapped_column(String)
    name: Mapped[str] = mapped_column(String)
    version: Mapped[int] = mapped_column(BigInteger)


class ProviderCopy(Base):
    __tablename__ = "providers"

    id: Mapped[str] = mapped_column(String, primary_key=True)
    name: Mapped[str] = mapped_column(String)
    credit_code: Mapped[str | None] = mapped_column(String, index=True)
    tax_rate: Mapped[int] = mapped_column(BigInteger, comment="In hundredths of a percent.")
    version: Mapped[int] = mapped_column(BigInteger)


class AcceleratorCopy(Base):
    __tablename__ = "accelerators"

    id: Mapped[str] = mapped_column(String, primary_key=True)
    name: Mapped[str] = mapped_column(String)
    unit: Mapped[str] = mapped_column(String)
    domestic: Mapped[bool] = mapped_column(Boolean, server_default=false())


class OfferingCopy(Base):
    __tablename__ = "offerings"

    id: Mapped[str] = mapped_column(String, primary_key=True)
    provider: Mapped[str] = mapped_column(String)
    tier: Mapped[str] = mapped_column(String)
    accelerator: Mapped[str | None] = mapped_column(String)
    version: Mapped[int] = mapped_column(BigInteger)


class PriceListCopy(Base):
    """An immutable revision, whole: the contract's JSON. `reseller` sells by it; '': the provider does.

    Those that were copied before `created_at` was kept have no volume discounts.
    """

    __tablename__ = "price_lists"

    id: Mapped[str] = mapped_column(String, primary_key=True)
    offering: Mapped[str] = mapped_column(String)
    reseller: Mapped[str] = mapped_column(String, server_default=text("''"))
    revision: Mapped[int] = mapped_column(BigInteger)
    document: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(Instant, server_default="0")
    volume_discounts: Mapped[Any] = mapped_column(Json, server_default="{}")


class JobName(Base):
    __tablename__ = "job_names"

    job: Mapped[str] = mapped_column(String, primary_key=True)
    name: Mapped[str] = mapped_column(String)


class AttemptCopy(Base):
    """Who will owe whom for the runs of an attempt, by which prices."""

    __tablename__ = "attempts"
    __table_args__ = (
        Index("ix_attempts_offering_job", "offering", "job"),
        Index("ix_attempts_open", "site", sqlite_where=text("ended = 0"), postgresql_where=text("NOT ended")),
    )

    id: Mapped[str] = mapped_column(String, primary_key=True)
    job: Mapped[str] = mapped_column(String)
    organization: Mapped[str] = mapped_column(String)
    project: Mapped[str] = mapped_column(String)
    offering: Mapped[str] = mapped_column(String)
    site: Mapped[str] = mapped_column(String)
    provider: Mapped[str] = mapped_column(String)
    price_list: Mapped[str] = mapped_column(String)
    price_class: Mapped[str | None] = mapped_column(String, comment="The organization's, when it was placed.")
    options: Mapped[dict[str, str]] = mapped_column(
        Json, server_default="{}", comment="Of its target, what tariffs go by."
    )
    ended: Mapped[bool] = mapped_column(
        Boolean, server_default=false(), comment="The books of all its runs are closed."
    )
    grant: Mapped[Any] = mapped_column(Json, nullable=True, comment="Of each run; null: it isn't known.")
    resale: Mapped[Any] = mapped_column(
        Json, nullable=True, comment="How a reseller buys it; null: the provider sells."
    )
    wholesale_list: Mapped[str | None] = mapped_column(String, comment="The price list in `resale`.")
    preempted_borne_by: Mapped[str] = mapped_column(
        String, server_default="provider", comment="As its offering said when it was placed."
    )
    placed_at: Mapped[datetime | None] = mapped_column(Instant, comment="Null: it isn't known.")


class RunRow(Base):
    """A run of which usage or the end has been heard. `outcome` is null until its books are final."""

    __tablename__ = "runs"
    __table_args__ = (
        Index("ix_runs_job_billable_from_id", "job", "billable_from", "id"),
        Index("ix_runs_identity", "identity"),
        Index("ix_runs_job_task_index", "job", "task_index"),
    )

    id: Mapped[str] = mapped_column(String, primary_key=True)
    job: Mapped[str] = mapped_column(String)
    attempt: Mapped[str] = mapped_column(ForeignKey("attempts.id"))
    outcome: Mapped[str | None] = mapped_column(String)
    upheld: Mapped[bool] = mapped_column(
        Boolean, server_default=false(), comment="The organization bears it, however it ended: a contest was upheld."
    )
    identity: Mapped[str | None] = mapped_column(String, comment="The backend's own; null until usage tells it.")
    task_index: Mapped[int | None] = mapped_column(BigInteger, comment="Of its array task; null until usage tells it.")
    billable_from: Mapped[int | None] = mapped_column(
        BigInteger, comment="The first second held; null: none, or the provider bears the run."
    )
    time_up: Mapped[int | None] = mapped_column(
        BigInteger,
        comment="From which second on it has held something for longer than it was granted; null: it hasn't.",
    )


class UsageRow(Base):
    """One hour of one run, in its last revision."""

    __tablename__ = "usage_records"
    __table_args__ = (
        Index("ix_usage_records_job_hour_run", "job", "hour", "run"),
        Index("ix_usage_records_hour_run", "hour", "run"),
    )

    run: Mapped[str] = mapped_column(ForeignKey("runs.id"), primary_key=True)
    hour: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    revision: Mapped[int] = mapped_column(BigInteger)
    job: Mapped[str] = mapped_column(String)
    run_started_at: Mapped[int] = mapped_column(BigInteger)
    spans: Mapped[tuple[Span, ...]] = mapped_column(Spans)
    applied_at: Mapped[datetime] = mapped_column(Instant)


class UsageExtent(Base):
    """One row: the end of the latest second of usage that was ever applied (seconds since the epoch)."""

    __tablename__ = "usage_extent"

    id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    end: Mapped[int] = mapped_column("ends_at", BigInteger)
