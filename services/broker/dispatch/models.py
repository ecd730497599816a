"""Tables of dispatch."""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Index, LargeBinary, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from caravan.kernel.database import Instant, Json
from services.broker.models_base import Base


class SiteRow(Base):
    """What a site's agent last said of the site, and how far its sequence of wanted work has come."""

    __tablename__ = "site_states"
    site: Mapped[str] = mapped_column(String, primary_key=True)
    work: Mapped[int] = mapped_column(BigInteger)
    adapter: Mapped[str | None] = mapped_column(String)
    adapter_version: Mapped[str | None] = mapped_column(String)
    health: Mapped[str | None] = mapped_column(String)
    detail: Mapped[str] = mapped_column(Text)
    seen_at: Mapped[datetime | None] = mapped_column(Instant)
    inventory: Mapped[list[dict[str, Any]] | None] = mapped_column(Json)
    version: Mapped[int] = mapped_column(BigInteger)
    complete_through: Mapped[datetime | None] = mapped_column(Instant)
    progress_version: Mapped[int] = mapped_column(BigInteger)
    books_through: Mapped[datetime | None] = mapped_column(
        Instant, comment="The site's own books were reported of each day before it."
    )


class LogReadRow(Base):
    """A read of a task's output that waits for the site's agent, and its answer for the one who asked."""

    __tablename__ = "log_reads"
    id: Mapped[str] = mapped_column(String, primary_key=True)
    site: Mapped[str] = mapped_column(String)
    request: Mapped[dict[str, Any]] = mapped_column(Json)
    asked_at: Mapped[datetime] = mapped_column(Instant)
    answer: Mapped[dict[str, Any] | None] = mapped_column(Json)
    data: Mapped[bytes | None] = mapped_column(LargeBinary)
    __table_args__ = (Index("ix_log_reads_site", "site"),)
