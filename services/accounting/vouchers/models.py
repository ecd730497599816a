"""Applications for vouchers, their evidence and reviews, and vouchers. Money is integer fen."""

from datetime import datetime
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    ForeignKey,
    Index,
    LargeBinary,
    String,
    Text,
    false,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from caravan.contracts.vouchers import ApplicationState
from caravan.kernel.database import Instant, Json
from services.accounting.models_base import Base

_LIVES: Final = text(
    "contract_key IS NOT NULL AND contract_repeats IS NULL AND state NOT IN "
    f"('{ApplicationState.REFUSED}', '{ApplicationState.WITHDRAWN}')"
)


class ApplicationRow(Base):
    """With a contract an organization has one application at most that is neither refused nor withdrawn, but for what repeats one of before
    contracts' keys were compared.
    """

    __tablename__ = "voucher_applications"
    __table_args__ = (
        Index("ix_voucher_applications_organization_id", "organization", "id"),
        Index("ix_voucher_applications_state_id", "state", "id"),
        Index("ix_voucher_applications_programme_id", "programme", "id"),
        Index("ix_voucher_applications_programme_state_id", "programme", "state", "id"),
        Index(
            "ix_voucher_applications_contract",
            *("programme", "organization", "contract_key"),
            unique=True,
            sqlite_where=_LIVES,
            postgresql_where=_LIVES,
        ),
    )

    id: Mapped[str] = mapped_column(String, primary_key=True)
    programme: Mapped[str] = mapped_column(ForeignKey("programmes.id"))
    organization: Mapped[str] = mapped_column(String)
    enterprise: Mapped[Any] = mapped_column(Json)
    use: Mapped[str | None] = mapped_column(String)
    amount: Mapped[int] = mapped_column(BigInteger)
    contract_number: Mapped[str | None] = mapped_column(String)
    contract_key: Mapped[str | None] = mapped_column(String)
    contract_repeats: Mapped[str | None] = mapped_column(
        String, comment="The earlier application with the same contract, of before keys were compared."
    )
    contract_amount: Mapped[int | None] = mapped_column(BigInteger)
    state: Mapped[str] = mapped_column(String)
    version: Mapped[int] = mapped_column(BigInteger)
    applied_at: Mapped[datetime] = mapped_column(Instant)
    applied_by: Mapped[str] = mapped_column(String)


class EvidenceColumns:
    """Of a file, beside what it belongs to."""

    name: Mapped[str] = mapped_column(String, primary_key=True, sort_order=1)
    media_type: Mapped[str] = mapped_column(String, sort_order=1)
    size_bytes: Mapped[int] = mapped_column(BigInteger, sort_order=1)
    sha256: Mapped[str] = mapped_column(String, sort_order=1)
    content: Mapped[bytes] = mapped_column(LargeBinary, sort_order=1)
    stored_at: Mapped[datetime] = mapped_column(Instant, sort_order=1)
    stored_by: Mapped[str] = mapped_column(String, sort_order=1)


class EvidenceRow(EvidenceColumns, Base):
    """A file of an application."""

    __tablename__ = "voucher_evidence"

    application: Mapped[str] = mapped_column(ForeignKey("voucher_applications.id"), primary_key=True)


class ReviewColumns:
    """Of a review of the first or second stage, beside what it is of."""

    stage: Mapped[int] = mapped_column(BigInteger, primary_key=True, sort_order=1)
    passed: Mapped[bool] = mapped_column(Boolean, sort_order=1)
    reason: Mapped[str] = mapped_column(Text, sort_order=1)
    rule: Mapped[str | None] = mapped_column(String, sort_order=1)
    remedy: Mapped[str | None] = mapped_column(Text, sort_order=1)
    reviewed_at: Mapped[datetime] = mapped_column(Instant, sort_order=1)
    reviewed_by: Mapped[str] = mapped_column(String, sort_order=1)


class ReviewRow(ReviewColumns, Base):
    """A review of an application."""

    __tablename__ = "voucher_reviews"

    application: Mapped[str] = mapped_column(ForeignKey("voucher_applications.id"), primary_key=True)


class VoucherRow(Base):
    """A voucher: `amount` is what it is issued for, of the pool of `year`; what for, and for whom, as reviewed. `pledged` of it is with
    holds, is due to be reimbursed, or was redeemed; `redeemed` is a part of that. Once it has ended and no job is pledged any, its pool has
    the rest again.
    """

    __tablename__ = "vouchers"
    __table_args__ = (
        CheckConstraint("amount > 0", name="amount"),
        CheckConstraint("redeemed >= 0 AND redeemed <= pledged AND pledged + released <= amount", name="pledged"),
        Index("ix_vouchers_organization_id", "organization", "id"),
        Index("ix_vouchers_programme_organization_year", "programme", "organization", "year"),
        Index("ix_vouchers_state_expires_at", "state", "expires_at"),
        Index(
            "ix_vouchers_unsettled",
            "organization",
            sqlite_where=text("unsettled = 1"),
            postgresql_where=text("unsettled"),
        ),
    )

    id: Mapped[str] = mapped_column(String, primary_key=True)
    application: Mapped[str] = mapped_column(ForeignKey("voucher_applications.id"), unique=True)
    programme: Mapped[str] = mapped_column(ForeignKey("programmes.id"))
    organization: Mapped[str] = mapped_column(String)
    amount: Mapped[int] = mapped_column(BigInteger)
    pledged: Mapped[int] = mapped_column(BigInteger, server_default="0")
    redeemed: Mapped[int] = mapped_column(BigInteger, server_default="0")
    released: Mapped[int] = mapped_column(BigInteger, server_default="0", comment="What its pool has again.")
    clawed_back: Mapped[int] = mapped_column(BigInteger, server_default="0", comment="A part of released.")
    unsettled: Mapped[bool] = mapped_column(
        Boolean,
        server_default=false(),
        comment="The next close looks at its claims: a credit note has changed them, or jobs had pledged what they need.",
    )
    year: Mapped[int] = mapped_column(BigInteger)
    use: Mapped[str | None] = mapped_column(String)
    kinds: Mapped[list[str]] = mapped_column(Json)
    affiliates: Mapped[list[str]] = mapped_column(Json, comment="As declared: ids and credit codes.")
    state: Mapped[str] = mapped_column(String)
    issued_at: Mapped[datetime] = mapped_column(Instant)
    expires_at: Mapped[datetime] = mapped_column(Instant)
    revoked_at: Mapped[datetime | None] = mapped_column(Instant)
    revoked_by: Mapped[str | None] = mapped_column(String)
    revoke_reason: Mapped[str | None] = mapped_column(Text)
