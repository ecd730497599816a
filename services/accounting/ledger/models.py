"""The ledger's tables. Entries, postings and seals are never changed: triggers of the migration `0002_guards` see to it."""

from datetime import datetime

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from caravan.kernel.database import Instant
from services.accounting.models_base import Base


class Entry(Base):
    """One fact. Its postings are written before it: then the guard on this table sees the whole."""

    __tablename__ = "ledger_entries"
    __table_args__ = (
        CheckConstraint("posting_count >= 2", name="posting_count"),
        Index("ix_ledger_entries_organization_id", "organization", "id"),
        Index("ix_ledger_entries_kind_id", "kind", "id"),
        {"sqlite_with_rowid": False},
    )

    id: Mapped[str] = mapped_column(String, primary_key=True)
    kind: Mapped[str] = mapped_column(String)
    at: Mapped[datetime] = mapped_column(Instant)
    organization: Mapped[str | None] = mapped_column(String)
    reference: Mapped[str] = mapped_column(String)
    description: Mapped[str] = mapped_column(Text)
    posting_count: Mapped[int] = mapped_column(BigInteger)


class EntryPosting(Base):
    """A debit (positive) or credit (negative), in fen."""

    __tablename__ = "ledger_postings"
    __table_args__ = (
        CheckConstraint("amount <> 0", name="amount"),
        Index("ix_ledger_postings_account_entry", "account", "entry"),
        {"sqlite_with_rowid": False},
    )

    entry: Mapped[str] = mapped_column(
        ForeignKey("ledger_entries.id", deferrable=True, initially="DEFERRED"), primary_key=True
    )
    number: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    account: Mapped[str] = mapped_column(String)
    amount: Mapped[int] = mapped_column(BigInteger)


class Balance(Base):
    """The sums of an account's debits and credits, in fen, both positive: kept with each entry, proved by `verify`."""

    __tablename__ = "ledger_balances"
    __table_args__ = (
        CheckConstraint("account NOT LIKE 'prepaid:%' OR debit <= credit", name="prepaid"),
        CheckConstraint("account NOT LIKE 'receivable:%' OR credit <= debit", name="receivable"),
    )

    account: Mapped[str] = mapped_column(String, primary_key=True)
    debit: Mapped[int] = mapped_column(BigInteger)
    credit: Mapped[int] = mapped_column(BigInteger)


class Unsealed(Base):
    """Entries that wait for their seal, so that sealing looks at what is new and not at history."""

    __tablename__ = "ledger_unsealed"

    entry: Mapped[str] = mapped_column(ForeignKey("ledger_entries.id"), primary_key=True)


class Seal(Base):
    """A link of the chain: sha256 over the seal before it and the entry."""

    __tablename__ = "ledger_seals"
    __table_args__ = ({"sqlite_with_rowid": False},)

    sequence: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    entry: Mapped[str] = mapped_column(ForeignKey("ledger_entries.id"), unique=True)
    hash: Mapped[str] = mapped_column(String)
    sealed_at: Mapped[datetime] = mapped_column(Instant)
