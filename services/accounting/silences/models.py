"""What the loop has found."""

from datetime import datetime
from typing import Final

from sqlalchemy import Index, String, text
from sqlalchemy.orm import Mapped, mapped_column

from caravan.kernel.database import Instant
from services.accounting.models_base import Base

_OPEN: Final = text("until IS NULL")


class SilenceRow(Base):
    """A site has at most one without an end."""

    __tablename__ = "silences"
    __table_args__ = (
        Index("ix_silences_open", "site", unique=True, sqlite_where=_OPEN, postgresql_where=_OPEN),
        Index("ix_silences_provider_id", "provider", "id"),
    )

    id: Mapped[str] = mapped_column(String, primary_key=True)
    site: Mapped[str] = mapped_column(String)
    provider: Mapped[str] = mapped_column(String)
    since: Mapped[datetime] = mapped_column(Instant)
    found_at: Mapped[datetime] = mapped_column(Instant)
    until: Mapped[datetime | None] = mapped_column(Instant)
