"""What of vouchers is pledged with holds, and redeemed by what was charged. Money is integer fen."""

from sqlalchemy import BigInteger, Boolean, CheckConstraint, ForeignKey, Index, String, false
from sqlalchemy.orm import Mapped, mapped_column

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
