"""What is due of vouchers whose programme reimburses, and the claims by which that is asked for. Money is integer fen."""

from datetime import date, datetime
from typing import Any, Final

from sqlalchemy import BigInteger, CheckConstraint, Date, ForeignKey, Index, String, text
from sqlalchemy.orm import Mapped, mapped_column

from caravan.contracts.reimbursements import ReimbursementState
from caravan.kernel.database import Instant, Json
from services.accounting.models_base import Base
from services.accounting.vouchers.models import EvidenceColumns, ReviewColumns

UNDECIDED: Final = (ReimbursementState.FILED, ReimbursementState.UNDER_REVIEW)
"""Its organization may withdraw it: what is approved may have been paid just now."""
PENDING: Final = (*UNDECIDED, ReimbursementState.APPROVED)
"""Of these an organization has one of a programme at most."""
TRANSFERRED: Final = (ReimbursementState.PAID.value, ReimbursementState.REPAID.value)
"""Its money was paid, one way or the other."""
_IS_PENDING: Final = text("state IN ('{}', '{}', '{}')".format(*PENDING))


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
    rate: Mapped[int | None] = mapped_column(
        BigInteger,
        comment="At which it pays for what the line is of; null: a discount goes by the shares of what it is off, or it was judged before "
        "this was kept.",
    )
    ends_at: Mapped[int | None] = mapped_column(
        BigInteger, comment="When the usage of its job in the period ended; null: it was closed before this was kept."
    )


class ReimbursementRow(Base):
    """A claim of all that was due as it was filed, or what of that was repaid; its dues and clawbacks name it, unless it is refused or
    withdrawn."""

    __tablename__ = "reimbursements"
    __table_args__ = (
        CheckConstraint("(state = 'repaid') = (amount < 0) AND amount <> 0", name="amount"),
        Index("ix_reimbursements_organization_id", "organization", "id"),
        Index("ix_reimbursements_state_id", "state", "id"),
        Index("ix_reimbursements_programme_id", "programme", "id"),
        Index(
            "ix_reimbursements_pending",
            *("organization", "programme"),
            unique=True,
            sqlite_where=_IS_PENDING,
            postgresql_where=_IS_PENDING,
        ),
    )

    id: Mapped[str] = mapped_column(String, primary_key=True)
    organization: Mapped[str] = mapped_column(String)
    programme: Mapped[str] = mapped_column(ForeignKey("programmes.id"))
    state: Mapped[str] = mapped_column(String)
    amount: Mapped[int] = mapped_column(BigInteger)
    clawed_back: Mapped[int] = mapped_column(BigInteger, comment="Is taken off amount.")
    spans: Mapped[Any] = mapped_column(Json, comment="As the contract has them.")
    funders: Mapped[Any] = mapped_column(Json, server_default="[]", comment="As the contract has them.")
    version: Mapped[int] = mapped_column(BigInteger)
    filed_at: Mapped[datetime] = mapped_column(Instant)
    filed_by: Mapped[str] = mapped_column(String)
    reference: Mapped[str | None] = mapped_column(String)
    paid_on: Mapped[date | None] = mapped_column(Date)
    paid_at: Mapped[datetime | None] = mapped_column(Instant)
    paid_by: Mapped[str | None] = mapped_column(String)


class ReimbursementEvidenceRow(EvidenceColumns, Base):
    """A file that bears out that it was paid."""

    __tablename__ = "reimbursement_evidence"

    reimbursement: Mapped[str] = mapped_column(ForeignKey("reimbursements.id"), primary_key=True)


class ReimbursementReviewRow(ReviewColumns, Base):
    """A review of a claim."""

    __tablename__ = "reimbursement_reviews"

    reimbursement: Mapped[str] = mapped_column(ForeignKey("reimbursements.id"), primary_key=True)
