"""Credit notes. One is never changed: triggers see to it."""

from datetime import datetime
from typing import Final

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, String, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from caravan.kernel.database import Instant
from services.accounting.models_base import Base

_RESOLD: Final = text("reseller <> ''")


class CreditNoteRow(Base):
    """Money in fen; names are those on the statement. `reseller` has sold it; '': the provider itself has."""

    __tablename__ = "credit_notes"
    __table_args__ = (
        CheckConstraint("amount > 0", name="amount"),
        Index("ix_credit_notes_line", "line"),
        Index("ix_credit_notes_statement", "statement"),
        Index("ix_credit_notes_organization_id", "organization", "id"),
        Index("ix_credit_notes_provider_id", "provider", "id"),
        Index("ix_credit_notes_reseller_id", "reseller", "id", sqlite_where=_RESOLD, postgresql_where=_RESOLD),
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
    reseller: Mapped[str] = mapped_column(String, server_default=text("''"))
    reseller_name: Mapped[str] = mapped_column(String, server_default=text("''"))
    amount: Mapped[int] = mapped_column(BigInteger)
    tax: Mapped[int | None] = mapped_column(BigInteger)
    reason: Mapped[str] = mapped_column(Text)
    issued_at: Mapped[datetime] = mapped_column(Instant)
    issued_by: Mapped[str] = mapped_column(String)
