"""What is due of vouchers whose programme reimburses. Money is integer fen."""

from sqlalchemy import BigInteger, ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from services.accounting.models_base import Base


class DueRow(Base):
    """What a period's close has added to what is due of a voucher for the span of claims that starts at `starts_at` (seconds since the
    epoch) and lies in `year`: on lines of that period, and for those of `earlier` ones. `claimed`: its lines' shares.

    Where a credit note gives back of a line, `period` is the note, and what it takes is of `earlier`. Changed in `reimbursement` alone: the
    one in which it is filed.
    """

    __tablename__ = "reimbursement_dues"
    __table_args__ = (
        Index("ix_reimbursement_dues_voucher", "voucher"),
        Index("ix_reimbursement_dues_organization_programme", "organization", "programme"),
        Index("ix_reimbursement_dues_reimbursement", "reimbursement"),
    )

    period: Mapped[str] = mapped_column(String, primary_key=True)
    voucher: Mapped[str] = mapped_column(ForeignKey("vouchers.id"), primary_key=True)
    starts_at: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    year: Mapped[int] = mapped_column(BigInteger)
    organization: Mapped[str] = mapped_column(String)
    programme: Mapped[str] = mapped_column(String)
    claimed: Mapped[int] = mapped_column(BigInteger)
    on_lines: Mapped[int] = mapped_column(BigInteger)
    earlier: Mapped[int] = mapped_column(BigInteger)
    reimbursement: Mapped[str | None] = mapped_column(String)


class DueShareRow(Base):
    """A voucher's share of a line in the span that starts at `starts_at`, and what of that is due, as its period closed. Never changed."""

    __tablename__ = "reimbursement_shares"
    __table_args__ = (Index("ix_reimbursement_shares_voucher_line", "voucher", "line"),)

    line: Mapped[str] = mapped_column(String, primary_key=True)
    voucher: Mapped[str] = mapped_column(ForeignKey("vouchers.id"), primary_key=True)
    starts_at: Mapped[int] = mapped_column(BigInteger)
    share: Mapped[int] = mapped_column(BigInteger)
    paid: Mapped[int] = mapped_column(BigInteger)
