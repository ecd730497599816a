"""What the placement decision is asked, and what it is given to know: adapters, sites, and how occupied offerings are."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self

from caravan.contracts.dispatch import Grant
from caravan.contracts.offerings import Capacity, SiteState
from caravan.contracts.spec import JobSpec, Resources
from services.broker.adapters.port import Adapter, TakesContainers

GrantOf = Callable[[Resources, Mapping[str, Any], Mapping[str, Any]], Grant]
"""An adapter's pure function of what its backend will allocate: (resources, target, site settings) -> grant of one task.
Raises Rejected."""
ImagesOf = Callable[[Mapping[str, Any]], Sequence[str] | None]
"""Its pure function of the images that a site with these settings runs; None: the site runs no containers."""


@dataclass(frozen=True)
class AdapterHere:
    """An adapter installed beside the broker."""

    version: str
    grant: GrantOf
    images: ImagesOf | None = None
    """None: it runs no containers."""
    capabilities: Collection[str] = ()

    @classmethod
    def of(cls, adapter: Adapter) -> Self:
        images = adapter.images if isinstance(adapter, TakesContainers) else None
        return cls(adapter.descriptor.version, adapter.grant, images, adapter.descriptor.capabilities)


@dataclass(frozen=True)
class SiteNow:
    """What the site's agent last said of itself: its adapter, and how it stands."""

    adapter: str | None
    adapter_version: str | None
    state: SiteState | None


@dataclass(frozen=True)
class Room:
    """What is occupied of an offering, and whether others wait for it."""

    occupied: Capacity
    ahead: int
    waited_for: bool


@dataclass(frozen=True)
class Reseller:
    """Whom an organization buys from what that sells, and the project of that which buys it from providers."""

    organization: str
    project: str


@dataclass(frozen=True)
class Question:
    """Where could these tasks of this job run? `reseller`: the job's, by the agreement under which it was submitted.
    `excluded`: offerings that failed it already, with the reason."""

    spec: JobSpec
    organization: str
    reseller: Reseller | None
    tasks: int
    now: datetime
    excluded: Mapping[str, str]


RoomsOf = Callable[[Sequence[str]], Mapping[str, Room]]
"""How occupied these offerings are; one that is missing has never been used."""
