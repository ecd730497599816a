"""Runs by a centre's own books. Times are seconds since the epoch."""

from typing import Any

from sqlalchemy import BigInteger, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from caravan.kernel.database import Json
from services.accounting.models_base import Base


class ImportedRunRow(Base):
    __tablename__ = "imported_runs"
    __table_args__ = (Index("ix_imported_runs_ends_at", "ends_at"),)

    site: Mapped[str] = mapped_column(String, primary_key=True)
    identity: Mapped[str] = mapped_column(String, primary_key=True)
    provider: Mapped[str] = mapped_column(String)
    account: Mapped[str] = mapped_column(String)
    user: Mapped[str] = mapped_column("user_name", String)
    start: Mapped[int] = mapped_column("starts_at", BigInteger)
    end: Mapped[int] = mapped_column("ends_at", BigInteger)
    nodes: Mapped[int] = mapped_column(BigInteger)
    cpus: Mapped[int] = mapped_column(BigInteger)
    memory_mib: Mapped[int] = mapped_column(BigInteger)
    accelerators: Mapped[Any] = mapped_column(Json)
    organization: Mapped[str | None] = mapped_column(String)
    project: Mapped[str | None] = mapped_column(String)
