"""Lines as stored: the contract's Line, with '' for none of what is text, so that it can be in a key."""

from datetime import datetime
from typing import Any, Final

from sqlalchemy import BigInteger, Index, String, Text, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from caravan.contracts.statements import LineKind
from caravan.kernel.database import Instant, Json
from services.accounting.models_base import Base

_ADJUSTS: Final = text("corrects <> ''")
_RESOLD: Final = text("reseller <> ''")


class LineRow(Base):
    """A line in `period`, of a job, or with '' for its job a volume discount. An adjustment `corrects` a closed period, and stands in one
    that was open then. `reseller` sells it; '': the provider itself does. Lines of one key have one, since each price list is one seller's.

    Line.period of a plain line is where its seconds lie. Lines without any quantity are removed; a closed period's never change.
    The tax is put on the lines that organizations bear as their period closes.
    """

    __tablename__ = "lines"
    __table_args__ = (
        UniqueConstraint(
            "job",
            "period",
            "corrects",
            "organization",
            "provider",
            "project",
            "price_list",
            "component",
            "accelerator",
            "tariff",
            "pricing_window",
            "bearer",
            "reason",
            "attempt",
            name="uq_lines_key",
        ),
        Index("ix_lines_period_id", "period", "id"),
        Index("ix_lines_organization_id", "organization", "id"),
        Index("ix_lines_provider_id", "provider", "id"),
        Index("ix_lines_period_organization_job_id", "period", "organization", "job", "id"),
        Index("ix_lines_period_provider_job_id", "period", "provider", "job", "id"),
        Index("ix_lines_reseller_id", "reseller", "id", sqlite_where=_RESOLD, postgresql_where=_RESOLD),
        Index(
            "ix_lines_period_reseller_job_id",
            *("period", "reseller", "job", "id"),
            sqlite_where=_RESOLD,
            postgresql_where=_RESOLD,
        ),
        Index("ix_lines_corrects", "corrects", "organization", sqlite_where=_ADJUSTS, postgresql_where=_ADJUSTS),
    )

    id: Mapped[str] = mapped_column(String, primary_key=True)
    kind: Mapped[str] = mapped_column(String, server_default=LineKind.USAGE.value)
    period: Mapped[str] = mapped_column(String)
    organization: Mapped[str] = mapped_column(String)
    provider: Mapped[str] = mapped_column(String)
    reseller: Mapped[str] = mapped_column(String, server_default=text("''"))
    project: Mapped[str] = mapped_column(String)
    job: Mapped[str] = mapped_column(String)
    component: Mapped[str] = mapped_column(String)
    accelerator: Mapped[str] = mapped_column(String)
    price_list: Mapped[str] = mapped_column(String)
    price_list_revision: Mapped[int] = mapped_column(BigInteger)
    tariff: Mapped[str] = mapped_column(String)
    window: Mapped[str] = mapped_column("pricing_window", String)
    bearer: Mapped[str] = mapped_column(String)
    reason: Mapped[str] = mapped_column(String)
    unit_price: Mapped[str] = mapped_column(String)
    quantity: Mapped[int] = mapped_column(BigInteger)
    amount: Mapped[int] = mapped_column(BigInteger)
    basis: Mapped[int | None] = mapped_column(BigInteger, comment="Of a volume discount alone.")
    attempt: Mapped[str] = mapped_column(String, server_default=text("''"), comment="Which a minimum charge is of.")
    corrects: Mapped[str] = mapped_column(String)
    tax: Mapped[int | None] = mapped_column(BigInteger)
    tax_treatment: Mapped[str | None] = mapped_column(String)
    tax_rate: Mapped[int | None] = mapped_column(BigInteger, comment="In hundredths of a percent.")
    subsidy: Mapped[int | None] = mapped_column(BigInteger, comment="Put on as the period closes, where vouchers pay.")


class ChargeDue(Base):
    """An hour of a run, or with hour 0 its end, that was stated and isn't in the lines yet. A job alone is to be looked at.

    `before` is what the lines were made of: the hour's spans, how the run had ended.
    """

    __tablename__ = "charges_due"

    job: Mapped[str] = mapped_column(String, primary_key=True)
    run: Mapped[str] = mapped_column(String, primary_key=True)
    hour: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    before: Mapped[Any] = mapped_column(Json, nullable=True)


class ChargeFailed(Base):
    """A job that could not be charged; it is tried again."""

    __tablename__ = "charges_failed"

    job: Mapped[str] = mapped_column(String, primary_key=True)
    error: Mapped[str] = mapped_column(Text)
    tried_at: Mapped[datetime] = mapped_column(Instant)
