"""What was set aside."""

from datetime import datetime
from typing import Any, Final

from sqlalchemy import BigInteger, Index, String, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from caravan.kernel.database import Instant, Json
from services.accounting.models_base import Base

_OPEN: Final = text("state = 'open'")


class AnomalyRow(Base):
    """An hour of a run as it was stated, whole; `fingerprint` tells its spans from others of the same revision."""

    __tablename__ = "anomalies"
    __table_args__ = (
        Index("ix_anomalies_run_hour_revision_fingerprint", "run", "hour", "revision", "fingerprint", unique=True),
        Index("ix_anomalies_job", "job"),
        Index("ix_anomalies_open", "hour", sqlite_where=_OPEN, postgresql_where=_OPEN),
    )

    id: Mapped[str] = mapped_column(String, primary_key=True)
    reason: Mapped[str] = mapped_column(String)
    state: Mapped[str] = mapped_column(String)
    run: Mapped[str] = mapped_column(String)
    hour: Mapped[int] = mapped_column(BigInteger, comment="Seconds since the epoch.")
    revision: Mapped[int] = mapped_column(BigInteger)
    fingerprint: Mapped[str] = mapped_column(String)
    job: Mapped[str] = mapped_column(String)
    usage: Mapped[Any] = mapped_column(Json)
    site: Mapped[str | None] = mapped_column(String)
    provider: Mapped[str | None] = mapped_column(String)
    organization: Mapped[str | None] = mapped_column(String)
    reseller: Mapped[str | None] = mapped_column(String)
    found_at: Mapped[datetime] = mapped_column(Instant)
    settled_at: Mapped[datetime | None] = mapped_column(Instant)
    settled_by: Mapped[str | None] = mapped_column(String)
    words: Mapped[str | None] = mapped_column(Text)
