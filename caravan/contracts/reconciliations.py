"""What accounting finds where it holds its books against each other."""

from enum import StrEnum

from pydantic import Field

from caravan.contracts.base import Count, Instant, Model
from caravan.contracts.ids import ReconciliationId


class Finding(Model):
    """Something that doesn't hold: what kind of proof failed, on what, and how."""

    check: str
    subject: str
    detail: str


class ReconciliationScope(StrEnum):
    CHANGED = "changed"
    """The jobs whose usage or lines changed since the last reconciliation that found nothing."""
    ALL = "all"
    """All that is stored, as `caravan ledger verify` does."""


class BooksReconciliation(Model):
    """One night's. The books are right when nothing was found."""

    id: ReconciliationId
    scope: ReconciliationScope
    at: Instant
    checked: Count = Field(description="How many jobs were looked at.")
    found: Count = Field(description="How many findings there are; where all was looked at, at most 1000 are counted.")
    findings: tuple[Finding, ...] = Field(description="The first of them, at most 1000.")
