"""What was found each night, and the sites' own books that wait for one."""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Boolean, String
from sqlalchemy.orm import Mapped, mapped_column

from caravan.kernel.database import Instant, Json
from services.accounting.models_base import Base


class ReconciliationRow(Base):
    """One night's. `seal`: the ledger's last seal at its begin, behind which the next one begins."""

    __tablename__ = "reconciliations"

    id: Mapped[str] = mapped_column(String, primary_key=True)
    scope: Mapped[str] = mapped_column(String)
    at: Mapped[datetime] = mapped_column(Instant)
    seal: Mapped[int] = mapped_column(BigInteger)
    checked: Mapped[int] = mapped_column(BigInteger)
    found: Mapped[int] = mapped_column(BigInteger)
    findings: Mapped[Any] = mapped_column(Json)
    differing: Mapped[int] = mapped_column(
        BigInteger, server_default="0", comment="How many of what was found lies between the sites' books and these."
    )
    sites: Mapped[Any] = mapped_column(Json, server_default="[]")


class SiteBooksRow(Base):
    """A page of what a site's own books have of [starts_at, ends_at), a day."""

    __tablename__ = "site_books"

    site: Mapped[str] = mapped_column(String, primary_key=True)
    starts_at: Mapped[datetime] = mapped_column(Instant, primary_key=True)
    page: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    ends_at: Mapped[datetime] = mapped_column(Instant)
    last: Mapped[bool] = mapped_column(Boolean)
    as_of: Mapped[datetime] = mapped_column(Instant)
    keeps_all: Mapped[bool] = mapped_column(Boolean)
    runs: Mapped[Any] = mapped_column(Json)


class BooksTold(Base):
    """Through which day a site's own books have come here whole. Without a row: never, as those of an adapter that has none."""

    __tablename__ = "site_books_told"

    site: Mapped[str] = mapped_column(String, primary_key=True)
    through: Mapped[datetime] = mapped_column(Instant)
