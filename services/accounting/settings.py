"""Accounting's settings: those of every service, how long a close waits and a site may be silent, and when the books are reconciled."""

from pydantic import Field

from caravan.kernel import settings


class Settings(settings.Settings):
    """See `caravan/kernel/settings.py`; the prefix stays."""

    closing_grace_hours: int = Field(
        default=72,
        ge=0,
        description="How long after its end a closing period waits for sites whose usage is not complete.",
    )
    site_silence_minutes: int = Field(
        default=120,
        ge=90,
        description="How long a site that has something to state may not move how far its usage is complete. "
        "It moves once an hour at least, some minutes behind the hour.",
    )
    reconciliation_hour: int = Field(
        default=3,
        ge=0,
        le=23,
        description="The hour of the platform's zone in which the books are reconciled each night.",
    )
