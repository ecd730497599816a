"""Accounting's settings: those of every service, and how long a close waits."""

from pydantic import Field

from caravan.kernel import settings


class Settings(settings.Settings):
    """See `caravan/kernel/settings.py`; the prefix stays."""

    closing_grace_hours: int = Field(
        default=72,
        ge=0,
        description="How long after its end a closing period waits for sites whose usage is not complete.",
    )
