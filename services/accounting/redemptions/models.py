"""What of vouchers is pledged with holds, redeemed by what was charged, and settled as periods close. Money is integer fen."""

from datetime import datetime

from sqlalchemy import BigInteger, Boolean, CheckConstraint, ForeignKey, Index, String, Text, false
from sqlalchemy.orm import Mapped, mapped_column

from caravan.kernel.database import Instant
from services.accounting.models_base import Base


class RedemptionRow(Base):
    """Of a job, by the one voucher that counts for it. Once the job is settled, no more is pledged than is redeemed."""

    __tablename__ = "redemptions"
    __table_args__ = (
        CheckConstraint("redeemed >= 0 AND redeemed <= pledged", name="redeemed"),
        Index("ix_redemptions_voucher_job", "voucher", "job"),
    )

    job: Mapped[str] = mapped_column(String, primary_key=True)
    organization: Mapped[str] = mapped_column(String)
    voucher: Mapped[str] = mapped_column(ForeignKey("vouchers.id"))
    pledged: Mapped[int] = mapped_column(BigInteger)
    redeemed: Mapped[int] = mapped_column(BigInteger)
    settled: Mapped[bool] = mapped_column(Boolean, server_default=false())


class SettlementRow(Base):
    """What a period's close has added to what a voucher pays for the span of claims that starts at `starts_at` (seconds since the epoch)
    and lies in `year`: on lines of that period, and for those of `earlier` ones. `claimed`: its lines' shares. Never changed.

    Where a credit note gives back of a line, `period` is the note, and what it takes is of `earlier`.
    """

    __tablename__ = "voucher_settlements"
    __table_args__ = (Index("ix_voucher_settlements_voucher", "voucher"),)

    period: Mapped[str] = mapped_column(String, primary_key=True)
    voucher: Mapped[str] = mapped_column(ForeignKey("vouchers.id"), primary_key=True)
    starts_at: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    year: Mapped[int] = mapped_column(BigInteger)
    organization: Mapped[str] = mapped_column(String)
    programme: Mapped[str] = mapped_column(String)
    claimed: Mapped[int] = mapped_column(BigInteger)
    on_lines: Mapped[int] = mapped_column(BigInteger)
    earlier: Mapped[int] = mapped_column(BigInteger)


class LineShareRow(Base):
    """A voucher's share of a line, and what of that is paid, as its period closed."""

    __tablename__ = "line_shares"
    __table_args__ = (Index("ix_line_shares_voucher_line", "voucher", "line"),)

    line: Mapped[str] = mapped_column(String, primary_key=True)
    voucher: Mapped[str] = mapped_column(ForeignKey("vouchers.id"), primary_key=True)
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


class EarlierRow(Base):
    """What of the `earlier` of a settlement (or of what is due) is for this line; or for none as yet, '': what a credit note takes back
    of more than stands on its line, and what was settled before this was kept. Never changed."""

    __tablename__ = "earlier_lines"
    __table_args__ = (Index("ix_earlier_lines_line", "line"), Index("ix_earlier_lines_period", "period"))

    voucher: Mapped[str] = mapped_column(ForeignKey("vouchers.id"), primary_key=True)
    line: Mapped[str] = mapped_column(String, primary_key=True)
    period: Mapped[str] = mapped_column(String, primary_key=True)
    starts_at: Mapped[int] = mapped_column(BigInteger)
    fen: Mapped[int] = mapped_column(BigInteger)


class ClawbackRow(Base):
    """What was taken back of what closed periods had paid by a voucher; on the statement of `period`, which was open then,
    or which followed on those in which the organization had none. Of one that reimburses, `period` is the reimbursement in which it is set
    off, or empty as long as there is none."""

    __tablename__ = "voucher_clawbacks"
    __table_args__ = (Index("ix_voucher_clawbacks_voucher", "voucher"), Index("ix_voucher_clawbacks_period", "period"))

    id: Mapped[str] = mapped_column(String, primary_key=True)
    voucher: Mapped[str] = mapped_column(ForeignKey("vouchers.id"))
    period: Mapped[str] = mapped_column(String)
    organization: Mapped[str] = mapped_column(String)
    amount: Mapped[int] = mapped_column(BigInteger)
    reason: Mapped[str] = mapped_column(Text)
    made_at: Mapped[datetime] = mapped_column(Instant)
    made_by: Mapped[str] = mapped_column(String)
