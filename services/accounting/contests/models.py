"""Contests of runs."""

from datetime import datetime

from sqlalchemy import ForeignKey, Index, String, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from caravan.contracts.contests import ContestState
from caravan.kernel.database import Instant
from services.accounting.models_base import Base

OPEN = text(f"state = '{ContestState.OPEN.value}'")


class ContestRow(Base):
    """A run has at most one that is open."""

    __tablename__ = "contests"
    __table_args__ = (
        Index("ix_contests_run_open", "run", unique=True, sqlite_where=OPEN, postgresql_where=OPEN),
        Index("ix_contests_organization_id", "organization", "id"),
        Index("ix_contests_provider_id", "provider", "id"),
    )

    id: Mapped[str] = mapped_column(String, primary_key=True)
    run: Mapped[str] = mapped_column(ForeignKey("runs.id"))
    job: Mapped[str] = mapped_column(String)
    organization: Mapped[str] = mapped_column(String)
    provider: Mapped[str] = mapped_column(String)
    outcome: Mapped[str] = mapped_column(String, comment="Of the run, when it was contested.")
    reason: Mapped[str] = mapped_column(Text)
    state: Mapped[str] = mapped_column(String)
    contested_at: Mapped[datetime] = mapped_column(Instant)
    contested_by: Mapped[str] = mapped_column(String)
    words: Mapped[str | None] = mapped_column(Text, comment="Of the decision.")
    decided_at: Mapped[datetime | None] = mapped_column(Instant)
    decided_by: Mapped[str | None] = mapped_column(String)
