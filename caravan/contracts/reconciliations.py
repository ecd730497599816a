"""What accounting finds where it holds its books against each other."""

from enum import StrEnum

from pydantic import Field

from caravan.contracts.base import Count, Instant, Model, Second
from caravan.contracts.ids import ReconciliationId, SiteId


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


class SiteReconciliation(Model):
    """Of a site's runs with seconds in the day [start, end): its own books against what was stated."""

    site: SiteId
    start: Second
    end: Second
    compared: Count
    differing: Count = Field(description="How many differences there are: these are among the findings.")
    open: Count = Field(description="Runs that go on.")
    newer: Count = Field(description="Runs that started or ended after the site's books were read: left out.")
    not_kept: Count = Field(
        description="Runs of which the site's books, which forget, have nothing any more: left out."
    )


class BooksReconciliation(Model):
    """One night's. The books are right when nothing was found."""

    id: ReconciliationId
    scope: ReconciliationScope
    at: Instant
    checked: Count = Field(description="How many jobs were looked at.")
    found: Count = Field(description="How many findings there are; where all was looked at, at most 1000 are counted.")
    findings: tuple[Finding, ...] = Field(description="The first of them, at most 1000.")
    sites: tuple[SiteReconciliation, ...] = Field(
        default=(), description="The days of sites' own books that had been reported and were compared."
    )
