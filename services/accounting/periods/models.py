"""Periods and the progress of sites. A closed period is never changed: triggers of `0002_guards` see to it."""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, Index, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from caravan.kernel.database import Instant, Json
from services.accounting.models_base import Base


class PeriodRow(Base):
    """[starts_at, ends_at). `part` numbers the periods of one month in the order in which they were cut, which may not be that of time."""

    __tablename__ = "periods"
    __table_args__ = (
        UniqueConstraint("month", "part"),
        CheckConstraint("starts_at < ends_at", name="span"),
        Index("ix_periods_starts_at", "starts_at", unique=True),
        Index("ix_periods_state_ends_at", "state", "ends_at"),
        {"sqlite_with_rowid": False},
    )

    id: Mapped[str] = mapped_column(String, primary_key=True)
    name: Mapped[str] = mapped_column(String)
    month: Mapped[str] = mapped_column(String)
    part: Mapped[int] = mapped_column(BigInteger)
    starts_at: Mapped[datetime] = mapped_column(Instant)
    ends_at: Mapped[datetime] = mapped_column(Instant)
    state: Mapped[str] = mapped_column(String)
    grace_ends_at: Mapped[datetime | None] = mapped_column(Instant)
    late_sites: Mapped[Any] = mapped_column(Json)
    set_aside: Mapped[Any] = mapped_column(Json, server_default="{}", comment="As it closed: hours by reason.")
    closed_at: Mapped[datetime | None] = mapped_column(Instant)
    version: Mapped[int] = mapped_column(BigInteger)


class Zone(Base):
    """One row: the zone in which this installation's months are cut."""

    __tablename__ = "period_zone"

    id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    zone: Mapped[str] = mapped_column(String)


class SiteProgressRow(Base):
    """A copy of the broker's: all usage of the site before `complete_through` has been stated.

    Version 0, at the epoch: the site was given an attempt and has told nothing yet.
    """

    __tablename__ = "site_progress"

    site: Mapped[str] = mapped_column(String, primary_key=True)
    provider: Mapped[str] = mapped_column(String)
    complete_through: Mapped[datetime] = mapped_column(Instant)
    moved_at: Mapped[datetime] = mapped_column(
        Instant, server_default="0", comment="By accounting's clock; at first when it was given an attempt."
    )
    version: Mapped[int] = mapped_column(BigInteger)
