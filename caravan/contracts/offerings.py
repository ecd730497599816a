"""What is sold: accelerators, sites and offerings."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from caravan.contracts.base import Count, Instant, JsonObject, Model, Name, Positive, Prose, TargetField, TargetValue
from caravan.contracts.ids import AcceleratorId, OfferingId, ProviderId, SiteId
from caravan.contracts.modes import SiteMode
from caravan.contracts.prices import Buyer, PriceList
from caravan.kernel.money import Money


class AcceleratorUnit(StrEnum):
    CARD = "card"
    DIE = "die"
    SLICE = "slice"


class Accelerator(Model):
    """A GPU, NPU or DCU kind. Data: code never names one."""

    id: AcceleratorId = Field(examples=["acc_nvidia-h100-80g"])
    vendor: Name = Field(examples=["NVIDIA"])
    model: Name = Field(examples=["H100 80G"])
    memory_mib: Positive = Field(examples=[81920])
    unit: AcceleratorUnit
    domestic: bool
    aliases: tuple[Name, ...] = ()

    @property
    def name(self) -> str:
        """Vendor and model in one: `NVIDIA H100 80G`, `Ascend 910B3`."""
        return self.model if self.model.startswith(self.vendor.split()[-1]) else f"{self.vendor} {self.model}"


class Capacity(Model):
    """A capacity vector: what a provider contributes, what a placement occupies."""

    cpus: Count = Field(examples=[256])
    memory_mib: Count = Field(examples=[1_048_576])
    accelerators: Count = 0

    def __add__(self, other: "Capacity") -> "Capacity":
        return Capacity(
            cpus=self.cpus + other.cpus,
            memory_mib=self.memory_mib + other.memory_mib,
            accelerators=self.accelerators + other.accelerators,
        )

    def times(self, count: int) -> "Capacity":
        return Capacity(
            cpus=self.cpus * count, memory_mib=self.memory_mib * count, accelerators=self.accelerators * count
        )

    def within(self, other: "Capacity") -> bool:
        """Whether this fits into `other` in every component."""
        return (
            self.cpus <= other.cpus and self.memory_mib <= other.memory_mib and self.accelerators <= other.accelerators
        )


class PartLimits(Model):
    """What a backend allows one job in a part, where that is less than the part has."""

    nodes: Positive | None = None
    cpus_per_node: Positive | None = None
    memory_mib_per_node: Positive | None = None
    walltime_seconds: Positive | None = None


class InventoryItem(Model):
    """A homogeneous part of a site as its backend reports it: a partition, a queue, a machine."""

    target: JsonObject = Field(description="What an offering on this part names as its backend target.")
    name: Name
    nodes: Positive
    cpus_per_node: Positive
    memory_mib_per_node: Positive
    accelerators_per_node: Count = 0
    accelerator_backend_name: Name | None = Field(default=None, description="As the backend calls it: `gres/gpu:h100`.")
    limits: PartLimits = PartLimits()
    nodes_out: Count = Field(default=0, description="Nodes that take no jobs now: drained, down, or of a closed part.")
    free: Capacity | None = Field(
        default=None, description="What no job holds, on the nodes that take jobs; as of the site's last report."
    )


class AdapterDescriptor(Model):
    """An adapter as data: what a site's settings must look like, and what it can do."""

    name: Name
    version: Name
    site_settings: JsonObject = Field(description="JSON Schema of a site's settings.")
    tenant_settings: JsonObject = Field(description="JSON Schema of a tenant's settings.")
    target: JsonObject = Field(description="JSON Schema of an offering's backend target.")
    capabilities: tuple[Name, ...] = ()
    books_lag_seconds: Count = Field(description="How long after a second the backend's books are final for it.")


class SiteState(StrEnum):
    """How a site stands, as its agent sees it."""

    HEALTHY = "healthy"
    DEGRADED = "degraded"
    """Something of it is wrong, and jobs run all the same."""
    UNAVAILABLE = "unavailable"
    """Its backend can't be asked: it gets no new jobs until it can."""
    REFUSED = "refused"
    """Its settings are such that it can't be operated."""

    @property
    def words(self) -> str:
        """What those are told who use the site, or look for one."""
        return _WORDS[self]


_WORDS: Final = {
    SiteState.HEALTHY: "",
    SiteState.DEGRADED: "算力中心部分功能异常，作业照常运行 something is wrong at the centre, and jobs run all the same",
    SiteState.UNAVAILABLE: "算力中心暂时无法接收新作业 the centre can't take new jobs for the time being",
    SiteState.REFUSED: "算力中心的设置有误，暂时无法运行作业 the centre is set up so that it can't run jobs for now",
}


class SiteHealth(Model):
    """As last reported by the site's agent. `detail` may name users, paths and hosts of the centre: it is for the centre and the
    platform's operators. Everybody else is told of the state in words that are the same for all sites."""

    state: SiteState
    detail: Prose = ""
    seen_at: Instant


class AgentPlace(StrEnum):
    """Where the site's agent runs: inside the broker, or at the centre (`caravan agent`), which then opens no port."""

    PLATFORM = "platform"
    CENTRE = "centre"


class SiteDraft(Model):
    """One cluster of a provider, reached through one adapter."""

    provider: ProviderId
    name: Name = Field(examples=["一号集群"])
    region: Name = Field(examples=["西安"])
    adapter: Name = Field(examples=["local"])
    agent: AgentPlace = AgentPlace.PLATFORM
    lost_after_seconds: Positive | None = Field(
        default=None,
        description="How long its agent may be silent before what it was given is declared lost and tried elsewhere; "
        "null: only a person declares that.",
    )
    settings: JsonObject = Field(
        default_factory=dict, description="As the adapter's schema has it.", examples=[{"folder": "/srv/caravan"}]
    )
    accelerators: dict[AcceleratorId, Name] = Field(
        default_factory=dict, description="The backend's own name of each accelerator kind: `gres/gpu:h100`."
    )


class Site(SiteDraft):
    id: SiteId
    version: int
    created_at: Instant
    health: SiteHealth | None = None
    inventory: tuple[InventoryItem, ...] | None = None
    mode: SiteMode | None = Field(
        default=None, description="How its time is billed now. Null in the feed, since it changes with the hour."
    )


class SiteReported(Model):
    """`site.reported`: a site's health and inventory as its agent last gave them."""

    site: SiteId
    version: int
    health: SiteHealth
    inventory: tuple[InventoryItem, ...] | None = None


class Tier(StrEnum):
    CLOUD = "cloud"
    HPC = "hpc"
    AI = "ai"


class OfferingState(StrEnum):
    """draft -> active <-> paused -> archived."""

    DRAFT = "draft"
    ACTIVE = "active"
    PAUSED = "paused"
    ARCHIVED = "archived"


class Limits(Model):
    """What one job may ask of an offering."""

    nodes: Positive = Field(examples=[4])
    cpus_per_node: Positive = Field(examples=[64])
    memory_mib_per_node: Positive = Field(examples=[262_144])
    accelerators_per_node: Count = 0
    walltime_seconds: Positive = Field(examples=[86_400])
    array_tasks: Positive = 1000


class PreemptedBearer(StrEnum):
    """Who bears a run that its site ended to make room for another job."""

    PROVIDER = "provider"
    ORGANIZATION = "organization"

    @property
    def words(self) -> str | None:
        """What those are told who look for an offering, where it isn't what they'd expect."""
        return "被抢占的运行照常收费 preempted runs are charged" if self is PreemptedBearer.ORGANIZATION else None


class OfferingDraft(Model):
    site: SiteId
    name: Name = Field(examples=["通用计算"])
    description: Prose = ""
    tier: Tier = Field(examples=["hpc"])
    limits: Limits
    accelerator: AcceleratorId | None = None
    target: JsonObject = Field(default_factory=dict)
    choices: dict[TargetField, tuple[TargetValue, ...]] = Field(
        default_factory=dict,
        max_length=20,
        description="What a job may set of the target by its `options`: field -> the values to choose from. "
        "All else is as the target has it.",
        examples=[{"qos": ["normal", "high"]}],
    )
    capacity: Capacity
    queue_ahead: Count = Field(default=0, description="How many attempts may wait at the backend beyond the capacity.")
    preempted_borne_by: PreemptedBearer = Field(
        default=PreemptedBearer.PROVIDER,
        description="Who bears runs that end `preempted`: the provider, or the organization, as far as its hold goes. Of each attempt "
        "as it was when that was placed.",
    )

    @model_validator(mode="after")
    def _accelerators_agree(self) -> Self:
        if (self.accelerator is None) != (self.limits.accelerators_per_node == 0):
            raise PydanticCustomError(
                "accelerator", "Name an accelerator and give limits.accelerators_per_node, or neither of them"
            )
        return self

    def target_with(self, options: Mapping[TargetField, TargetValue]) -> JsonObject:
        """The backend target of a job that chose these."""
        return {**self.target, **options}


class Offering(OfferingDraft):
    """What is sold on a site."""

    id: OfferingId
    provider: ProviderId
    state: OfferingState
    version: int
    created_at: Instant


class OfferingPrice(Model):
    """An offering found by a search, with its current price list and what the reference shape asked for costs a buyer."""

    offering: Offering
    provider_name: Name
    reseller_name: Name | None = Field(
        default=None, description="Who sells it to the buyer at the prices of `price_list`; null: the provider does."
    )
    region: Name
    site_health: SiteHealth | None
    site_mode: SiteMode = Field(
        default=SiteMode.BILLED, description="How its time is billed now, for jobs that are placed now."
    )
    unbilled: Prose | None = Field(
        default=None, description="That its time is not billed now, in words for people; null where it is."
    )
    price_list: PriceList | None
    buyer: Buyer = Field(
        description="Whose `price` this is. Its options are of the offering's target: a job may choose others."
    )
    price: Money | None = Field(
        description="For the reference shape, at the prices of now; null where there are none for the buyer."
    )
