"""Tables of placement."""

from datetime import datetime

from sqlalchemy import BigInteger, ForeignKey, Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from caravan.kernel.database import Instant
from services.broker.models_base import Base


class Copy(Base):
    """The newest version that the broker has seen of one catalog entity."""

    __tablename__ = "copies"
    id: Mapped[str] = mapped_column(String, primary_key=True)
    type: Mapped[str] = mapped_column(String)
    version: Mapped[int] = mapped_column(BigInteger)
    data: Mapped[str] = mapped_column(Text)
    __table_args__ = (Index("ix_copies_type", "type"),)


class Occupied(Base):
    """What attempts occupy of an offering, from placement until seen terminal."""

    __tablename__ = "capacity"
    offering: Mapped[str] = mapped_column(String, primary_key=True)
    cpus: Mapped[int] = mapped_column(BigInteger)
    memory_mib: Mapped[int] = mapped_column(BigInteger)
    accelerators: Mapped[int] = mapped_column(BigInteger)
    ahead: Mapped[int] = mapped_column(BigInteger)


class Waiting(Base):
    """A job that waits for room on an offering. The oldest goes first: ids sort by age."""

    __tablename__ = "waiting"
    offering: Mapped[str] = mapped_column(String, primary_key=True)
    job: Mapped[str] = mapped_column(String, primary_key=True)
    __table_args__ = (Index("ix_waiting_job", "job"),)


class StoredPlacement(Base):
    __tablename__ = "placements"
    id: Mapped[str] = mapped_column(String, primary_key=True)
    job: Mapped[str] = mapped_column(ForeignKey("jobs.id", deferrable=True, initially="DEFERRED"))
    data: Mapped[str] = mapped_column(Text)
    __table_args__ = (Index("ix_placements_job_id", "job", "id"),)


class StoredQuote(Base):
    __tablename__ = "quotes"
    id: Mapped[str] = mapped_column(String, primary_key=True)
    organization: Mapped[str] = mapped_column(String)
    data: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(Instant)
    __table_args__ = (Index("ix_quotes_organization_id", "organization", "id"),)
