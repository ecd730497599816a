"""Credit notes. One is never changed: triggers see to it."""

from datetime import datetime

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from caravan.kernel.database import Instant
from services.accounting.models_base import Base


class CreditNoteRow(Base):
    """Money in fen; names are those on the statement."""

    __tablename__ = "credit_notes"
    __table_args__ = (
        CheckConstraint("amount > 0", name="amount"),
        Index("ix_credit_notes_line", "line"),
        Index("ix_credit_notes_statement", "statement"),
        Index("ix_credit_notes_organization_id", "organization", "id"),
        Index("ix_credit_notes_provider_id", "provider", "id"),
        {"sqlite_with_rowid": False},
    )

    id: Mapped[str] = mapped_column(String, primary_key=True)
    number: Mapped[str] = mapped_column(String, unique=True)
    statement: Mapped[str] = mapped_column(ForeignKey("statements.id"))
    statement_number: Mapped[str] = mapped_column(String)
    period: Mapped[str] = mapped_column(String)
    line: Mapped[str] = mapped_column(String)
    organization: Mapped[str] = mapped_column(String)
    organization_name: Mapped[str] = mapped_column(String)
    provider: Mapped[str] = mapped_column(String)
    provider_name: Mapped[str] = mapped_column(String)
    amount: Mapped[int] = mapped_column(BigInteger)
    tax: Mapped[int | None] = mapped_column(BigInteger)
    reason: Mapped[str] = mapped_column(Text)
    issued_at: Mapped[datetime] = mapped_column(Instant)
    issued_by: Mapped[str] = mapped_column(String)
