"""The placement decision: pure. Every offering is either a candidate with its worst case, or refused with every reason.

Hard filters first, then the cheapest worst case; ties go to the older offering, so that equal questions get equal answers.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Self

from caravan.contracts.base import prose
from caravan.contracts.dispatch import Grant
from caravan.contracts.offerings import Capacity, OfferingState, PriceList, SiteState
from caravan.contracts.quotes import Candidate, Reason, Refusal
from caravan.contracts.spec import Container, JobSpec, Resources
from caravan.kernel import clock
from caravan.kernel.money import Money
from caravan.pricing import UNCOVERED, WorstCase, windows, worst_case
from services.broker.adapters.port import Adapter, Rejected, TakesContainers
from services.broker.placement.copies import CatalogView, Sold, approved

GrantOf = Callable[[Resources, Mapping[str, Any], Mapping[str, Any]], Grant]
"""An adapter's pure function of what its backend will allocate: (resources, target, site settings) -> grant of one task.
Raises Rejected."""
ImagesOf = Callable[[Mapping[str, Any]], Sequence[str] | None]
"""Its pure function of the images that a site with these settings runs; None: the site runs no containers."""
PASSING: Final = frozenset(
    {"paused", "provider_not_approved", "no_price", "adapter_version", "site_not_seen", "site_refused"}
)
"""Reasons that may pass by themselves: a job that was accepted waits for them instead of failing."""
DEAREST: Final = Money(10**15)
"""Accounting takes no hold above it: ten trillion yuan."""


@dataclass(frozen=True)
class AdapterHere:
    """An adapter installed beside the broker."""

    version: str
    grant: GrantOf
    images: ImagesOf | None = None
    """None: it runs no containers."""

    @classmethod
    def of(cls, adapter: Adapter) -> Self:
        images = adapter.images if isinstance(adapter, TakesContainers) else None
        return cls(adapter.descriptor.version, adapter.grant, images)


@dataclass(frozen=True)
class SiteNow:
    """What the site's agent last said of itself: its adapter, and how it stands, with words of what is wrong."""

    adapter: str | None
    adapter_version: str | None
    state: SiteState | None
    detail: str


@dataclass(frozen=True)
class Room:
    """What is occupied of an offering, and whether others wait for it."""

    occupied: Capacity
    ahead: int
    waited_for: bool


@dataclass(frozen=True)
class Question:
    """Where could these tasks of this job run? `excluded`: offerings that failed it already, with the reason."""

    spec: JobSpec
    organization: str
    tasks: int
    now: datetime
    excluded: Mapping[str, str]


@dataclass(frozen=True)
class Option:
    """A candidate with what dispatch needs and people don't read."""

    candidate: Candidate
    sold: Sold
    tenant: str
    grant: Grant


@dataclass(frozen=True)
class Decision:
    """Options ranked, the best first, and everything refused with its reasons."""

    options: tuple[Option, ...]
    refused: tuple[Refusal, ...]


RoomsOf = Callable[[Sequence[str]], Mapping[str, Room]]
"""How occupied these offerings are; one that is missing has never been used."""


def decide(
    question: Question,
    view: CatalogView,
    adapters: Mapping[str, AdapterHere],
    sites: Mapping[str, SiteNow],
    rooms: RoomsOf,
) -> Decision:
    """Look at every offering that is on sale or paused. `rooms` is asked once, for those where the job could run."""
    fitting, refused = [], []
    for sold in view.sold:
        looked = _look(question, sold, view, adapters.get(sold.site.adapter), sites.get(sold.site.id))
        if isinstance(looked, _Fit):
            fitting.append(looked)
        else:
            refused.append(
                Refusal(
                    offering=sold.offering.id,
                    offering_name=sold.offering.name,
                    provider=sold.provider.id,
                    reasons=tuple(looked),
                )
            )
    fitting.sort(key=lambda fit: (fit.worst.amount.fen, fit.sold.offering.id))
    occupied = rooms([fit.sold.offering.id for fit in fitting])
    options = (fit.option(occupied.get(fit.sold.offering.id), sites[fit.sold.site.id]) for fit in fitting)
    return Decision(tuple(options), tuple(refused))


@dataclass(frozen=True)
class _Fit:
    """An offering on which the job could run."""

    sold: Sold
    prices: PriceList
    tenant: str
    grant: Grant
    need: Capacity
    worst: WorstCase

    def option(self, room: Room | None, site: SiteNow) -> Option:
        sold = self.sold
        unavailable = site.state is SiteState.UNAVAILABLE
        return Option(
            candidate=Candidate(
                offering=sold.offering.id,
                offering_name=sold.offering.name,
                provider=sold.provider.id,
                provider_name=sold.provider.name,
                site=sold.site.id,
                tier=sold.offering.tier,
                price_list=self.prices.id,
                price_list_revision=self.prices.revision,
                worst_case=self.worst.amount,
                components=self.worst.components,
                capacity=self.need,
                has_room=not unavailable and has_room(self.need, sold, room),
                unavailable=prose(site.detail) if unavailable else None,
            ),
            sold=sold,
            tenant=self.tenant,
            grant=self.grant,
        )


def _look(
    question: Question, sold: Sold, view: CatalogView, adapter: AdapterHere | None, site: SiteNow | None
) -> _Fit | list[Reason]:
    """The offering with what the job would get and cost there, or every reason against it."""
    spec = question.spec
    reasons = [*_wanted(question, sold), *_limits(spec, sold, view)]
    not_chosen = _not_to_choose(spec, sold)
    reasons += not_chosen
    tenant = view.tenant(sold.site.id, question.organization, spec.project)
    if tenant is None:
        reasons.append(
            _reason("no_tenant", "The centre has not set your organization up at this site; ask it for access")
        )
    reasons += _operable(sold, adapter, site)
    if adapter is not None and spec.container is not None:
        reasons += _image(spec.container, adapter, sold)
    priced = sold.prices is not None and _priced_through(sold.prices, question)
    if not priced:
        reasons.append(_reason("no_price", "Its price list does not cover the time from now to the job's walltime"))
    grant = _granted(spec, sold, adapter) if adapter is not None and not not_chosen else None
    if isinstance(grant, Reason):
        return [*reasons, grant]
    if grant is None:
        return reasons
    need = occupied_by(grant, min(question.tasks, spec.max_parallel))
    if not need.within(sold.offering.capacity):
        reasons.append(
            _reason(
                "capacity",
                "The tasks that would run at once need more than the offering has; lower array.max_parallel or the resources",
                field="/array/max_parallel" if spec.array else "/resources",
                asked=_words(need),
                limit=_words(sold.offering.capacity),
            )
        )
    if sold.prices is None or not priced:
        return reasons
    worst = worst_case(grant, question.tasks, sold.prices, clock.to_seconds(question.now))
    if spec.max_cost is not None and worst.amount > spec.max_cost:
        reasons.append(
            _reason(
                "max_cost",
                "Its worst case is dearer than max_cost; raise max_cost or shorten the walltime",
                field="/max_cost",
                asked=str(spec.max_cost),
                limit=str(worst.amount),
            )
        )
    if worst.amount > DEAREST:
        reasons.append(
            _reason(
                "too_dear",
                f"Its worst case is {worst.amount}, and no more than {DEAREST} can be held for a job",
                field="/resources/walltime_seconds",
            )
        )
    if reasons or tenant is None:
        return reasons
    return _Fit(sold, sold.prices, tenant.id, grant, need, worst)


def to_hold(options: Sequence[Option]) -> Money | None:
    """What is set aside for a job with these options: the worst case of the one it takes; None when it can't run."""
    with_room = [option.candidate.worst_case for option in options if option.candidate.has_room]
    if not options:
        return None
    return with_room[0] if with_room else dearest(options)


def dearest(options: Sequence[Option]) -> Money:
    """What is set aside for a job that waits for room on any of these."""
    return max(option.candidate.worst_case for option in options)


def _granted(spec: JobSpec, sold: Sold, adapter: AdapterHere) -> Grant | Reason:
    """What the backend would allocate to one task, or why it never would."""
    asked = spec.resources
    if asked.accelerators_per_node and asked.accelerator is None:
        asked = asked.model_copy(update={"accelerator": sold.offering.accelerator})
    try:
        return adapter.grant(asked, sold.offering.target_with(spec.options), sold.site.settings)
    except Rejected as error:
        return _reason("backend", f"Its backend would not take the job: {error}", field="/resources")


def lasting(refused: Sequence[Refusal]) -> bool:
    """Whether waiting can't help: each offering has a reason against it that does not pass by itself."""
    return all(any(reason.code not in PASSING for reason in refusal.reasons) for refusal in refused)


def occupied_by(grant: Grant, at_once: int) -> Capacity:
    """What an attempt occupies: its grant for as many tasks as may run at once."""
    one = Capacity(cpus=grant.cpus, memory_mib=grant.memory_mib, accelerators=grant.accelerators)
    return one.times(at_once)


def has_room(need: Capacity, sold: Sold, room: Room | None) -> bool:
    """Whether it could go there now: nobody waits before it, and it fits or may queue at the backend."""
    if room is None:
        return True
    fits = (room.occupied + need).within(sold.offering.capacity)
    return not room.waited_for and (fits or room.ahead < sold.offering.queue_ahead)


def _wanted(question: Question, sold: Sold) -> list[Reason]:
    where, offering = question.spec.where, sold.offering
    checks = (
        ("tiers", where.tiers, offering.tier, "Its tier is not among those asked for"),
        ("offerings", where.offerings, offering.id, "It is not among the offerings asked for"),
        ("providers", where.providers, sold.provider.id, "Its provider is not among those asked for"),
        ("regions", where.regions, sold.site.region, "Its region is not among those asked for"),
    )
    reasons = [
        _reason(f"where_{field}", detail, field=f"/where/{field}", asked=", ".join(wanted), limit=str(actual))
        for field, wanted, actual, detail in checks
        if wanted and actual not in wanted
    ]
    if offering.id in question.excluded:
        reasons.append(_reason("failed_there", question.excluded[offering.id]))
    return reasons


def _limits(spec: JobSpec, sold: Sold, view: CatalogView) -> list[Reason]:
    asked, limits = spec.resources, sold.offering.limits
    checks = (
        ("nodes", asked.nodes, limits.nodes, "/resources/nodes"),
        ("cpus_per_node", asked.cpus_per_node, limits.cpus_per_node, "/resources/tasks_per_node"),
        (
            "memory_mib_per_node",
            asked.memory_mib_per_node,
            limits.memory_mib_per_node,
            "/resources/memory_mib_per_node",
        ),
        (
            "accelerators_per_node",
            asked.accelerators_per_node,
            limits.accelerators_per_node,
            "/resources/accelerators_per_node",
        ),
        ("walltime_seconds", asked.walltime_seconds, limits.walltime_seconds, "/resources/walltime_seconds"),
        ("array_tasks", len(spec.indices), limits.array_tasks, "/array/indices"),
    )
    reasons = [
        _reason(
            f"limit_{name}",
            f"It allows at most {limit:,} {name.replace('_', ' ')}, the job asks for {value:,}",
            field=field,
            asked=str(value),
            limit=str(limit),
        )
        for name, value, limit, field in checks
        if value > limit
    ]
    wanted = asked.accelerator
    if wanted is not None and wanted != sold.offering.accelerator:
        has = view.accelerators.get(sold.offering.accelerator or "")
        reasons.append(
            _reason(
                "accelerator",
                "It has another kind of accelerator" if has else "It has no accelerators",
                field="/resources/accelerator",
                asked=wanted,
                limit=sold.offering.accelerator,
            )
        )
    return reasons


def _not_to_choose(spec: JobSpec, sold: Sold) -> list[Reason]:
    """Of the job's options, what the centre doesn't leave to jobs there."""
    choices = sold.offering.choices
    return [
        _reason(
            "option",
            f"Its {name} can be one of {', '.join(choices[name])}"
            if name in choices
            else f"A job can't choose its {name}",
            field=f"/options/{name}",
            asked=value,
            limit=", ".join(choices.get(name, ())) or None,
        )
        for name, value in spec.options.items()
        if value not in choices.get(name, ())
    ]


def _image(container: Container, adapter: AdapterHere, sold: Sold) -> list[Reason]:
    images = adapter.images(sold.site.settings) if adapter.images is not None else None
    if images is None:
        return [_reason("container", "Its site runs no containers; give a script", field="/container")]
    if container.among(images):
        return []
    detail = "Its centre runs only images of its own choice"
    return [
        _reason("container_image", detail, field="/container/image", asked=container.image, limit=", ".join(images))
    ]


def _priced_through(prices: PriceList, question: Question) -> bool:
    start = clock.to_seconds(question.now)
    covered = windows(prices.tariffs, start, start + question.spec.resources.walltime_seconds)
    return all(window.tariff != UNCOVERED for window in covered)


def _operable(sold: Sold, adapter: AdapterHere | None, site: SiteNow | None) -> list[Reason]:
    reasons = []
    if sold.offering.state is not OfferingState.ACTIVE:
        reasons.append(_reason("paused", "The centre has paused its sale"))
    if not approved(sold.provider):
        reasons.append(_reason("provider_not_approved", "Its provider is not approved at present"))
    if adapter is None:
        reasons.append(_reason("adapter_missing", f"The platform has no adapter {sold.site.adapter} installed"))
    seen = site is not None and site.adapter == sold.site.adapter
    if site is None or not seen:
        reasons.append(_reason("site_not_seen", "The site's agent has not reported yet"))
    elif adapter is not None and site.adapter_version != adapter.version:
        reasons.append(
            _reason(
                "adapter_version",
                "The centre's adapter and the platform's differ in version, so what it would allocate is not known",
                asked=adapter.version,
                limit=site.adapter_version,
            )
        )
    if site is not None and site.state is SiteState.REFUSED:
        reasons.append(_reason("site_refused", f"The site can't be operated: {site.detail}"))
    return reasons


def _reason(
    code: str, detail: str, *, field: str | None = None, asked: str | None = None, limit: str | None = None
) -> Reason:
    return Reason(code=code, detail=prose(detail), field=field, asked=asked, limit=limit)


def _words(capacity: Capacity) -> str:
    accelerators = f", {capacity.accelerators} accelerators" if capacity.accelerators else ""
    return f"{capacity.cpus} CPUs, {capacity.memory_mib} MiB{accelerators}"
