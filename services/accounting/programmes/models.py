"""Programmes and their pools. Money is integer fen."""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from caravan.kernel.database import Instant, Json
from services.accounting.models_base import Base


class ProgrammeRow(Base):
    """`version` counts changes of terms, state and pools; what is committed of pools changes without it."""

    __tablename__ = "programmes"

    id: Mapped[str] = mapped_column(String, primary_key=True)
    state: Mapped[str] = mapped_column(String)
    starts_at: Mapped[datetime] = mapped_column(Instant)
    ends_at: Mapped[datetime] = mapped_column(Instant)
    terms: Mapped[Any] = mapped_column(Json, comment="The draft without its pools.")
    version: Mapped[int] = mapped_column(BigInteger)
    created_at: Mapped[datetime] = mapped_column(Instant)
    published_at: Mapped[datetime | None] = mapped_column(Instant)


class PoolRow(Base):
    """What of a calendar year's pool is committed."""

    __tablename__ = "programme_pools"
    __table_args__ = (CheckConstraint("committed >= 0 AND committed <= amount", name="committed"),)

    programme: Mapped[str] = mapped_column(ForeignKey("programmes.id"), primary_key=True)
    year: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    amount: Mapped[int] = mapped_column(BigInteger)
    committed: Mapped[int] = mapped_column(BigInteger)
