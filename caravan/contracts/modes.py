"""How a site's time is billed, as of when."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from pydantic import Field

from caravan.contracts.base import Model, Second, WholeHour


class SiteMode(StrEnum):
    """What becomes of a second that something is allocated."""

    BILLED = "billed"
    NOTIONAL = "notional"
    """Priced and shown; nothing is held and no money moves."""
    TRACKED = "tracked"
    """Counted, at a price of 0."""

    @property
    def words(self) -> str | None:
        """What those are told who look for a site; None of one that bills."""
        return _WORDS.get(self)


_WORDS: Final[Mapping[SiteMode, str]] = {
    SiteMode.NOTIONAL: "试行计价：用量计价并展示，不收费 priced and shown, and not billed for the time being",
    SiteMode.TRACKED: "仅记录用量，不计价 usage is counted, without prices, for the time being",
}


class SiteModeDraft(Model):
    mode: SiteMode = Field(examples=["notional"])
    starts_at: WholeHour | None = Field(
        default=None, description="A whole hour that is still to come; null: the next one."
    )


class SiteModeFrom(Model):
    """The mode of a site from `starts_at` until another one starts. Before its first a site is `billed`."""

    mode: SiteMode
    starts_at: Second
