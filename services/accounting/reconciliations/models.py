"""What was found each night."""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, String
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
