"""The placement decision: pure. Every offering is either a candidate with its worst case, or refused with every reason.

Hard filters first, then the cheapest worst case; ties go to the older offering, so that equal questions get equal answers.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from caravan.contracts.dispatch import Grant
from caravan.contracts.jobs import Candidate, JobSpec, Reason, Refusal, Resources
from caravan.contracts.offerings import Capacity, PriceList
from caravan.kernel import clock
from caravan.pricing import UNCOVERED, windows, worst_case
from services.broker.placement.copies import CatalogView, Sold, approved

GrantOf = Callable[[Resources, Mapping[str, Any], Mapping[str, Any]], Grant]
"""An adapter's pure function of what its backend will allocate: (resources, target, site settings) -> grant of one task."""


@dataclass(frozen=True)
class AdapterHere:
    """An adapter installed beside the broker."""

    version: str
    grant: GrantOf


@dataclass(frozen=True)
class SiteNow:
    """What the site's agent last said of itself."""

    adapter_version: str | None
    refused: str | None


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


def decide(
    question: Question,
    view: CatalogView,
    adapters: Mapping[str, AdapterHere],
    sites: Mapping[str, SiteNow],
    rooms: Mapping[str, Room],
) -> Decision:
    """Look at every offering on sale."""
    options, refused = [], []
    for sold in view.sold:
        option = _look(question, sold, view, adapters, sites.get(sold.site.id), rooms.get(sold.offering.id))
        if isinstance(option, Option):
            options.append(option)
        else:
            refused.append(
                Refusal(
                    offering=sold.offering.id,
                    offering_name=sold.offering.name,
                    provider=sold.provider.id,
                    reasons=tuple(option),
                )
            )
    options.sort(key=lambda o: (o.candidate.worst_case.fen, o.candidate.offering))
    return Decision(tuple(options), tuple(refused))


def _look(
    question: Question,
    sold: Sold,
    view: CatalogView,
    adapters: Mapping[str, AdapterHere],
    site: SiteNow | None,
    room: Room | None,
) -> Option | list[Reason]:
    reasons = [*_wanted(question, sold), *_limits(question.spec, sold, view)]
    tenant = view.tenant(sold.site.id, question.organization, question.spec.project)
    if tenant is None:
        reasons.append(
            Reason(
                code="no_tenant", detail="The centre has not set your organization up at this site; ask it for access"
            )
        )
    adapter = adapters.get(sold.site.adapter)
    reasons += _operable(sold, adapter, site, question.now, question.spec.resources.walltime_seconds)
    if reasons or adapter is None or tenant is None or sold.prices is None:
        return reasons
    grant = adapter.grant(question.spec.resources, sold.offering.target, sold.site.settings)
    need = occupied_by(grant, min(question.tasks, question.spec.max_parallel))
    if not need.within(sold.offering.capacity):
        return [
            Reason(
                code="capacity",
                detail="The tasks that would run at once need more than the offering has; lower array.max_parallel or the resources",
                field="/array/max_parallel" if question.spec.array else "/resources",
                asked=_words(need),
                limit=_words(sold.offering.capacity),
            )
        ]
    worst = worst_case(grant, question.tasks, sold.prices, clock.to_seconds(question.now))
    if question.spec.max_cost is not None and worst.amount > question.spec.max_cost:
        return [
            Reason(
                code="max_cost",
                detail="Its worst case is dearer than max_cost; raise max_cost or shorten the walltime",
                field="/max_cost",
                asked=str(question.spec.max_cost),
                limit=str(worst.amount),
            )
        ]
    return Option(
        candidate=Candidate(
            offering=sold.offering.id,
            offering_name=sold.offering.name,
            provider=sold.provider.id,
            provider_name=sold.provider.name,
            site=sold.site.id,
            tier=sold.offering.tier,
            price_list=sold.prices.id,
            price_list_revision=sold.prices.revision,
            worst_case=worst.amount,
            components=worst.components,
            capacity=need,
            has_room=has_room(need, sold, room),
        ),
        sold=sold,
        tenant=tenant.id,
        grant=grant,
    )


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
        Reason(
            code=f"where_{field}", detail=detail, field=f"/where/{field}", asked=", ".join(wanted), limit=str(actual)
        )
        for field, wanted, actual, detail in checks
        if wanted and actual not in wanted
    ]
    if offering.id in question.excluded:
        reasons.append(Reason(code="failed_there", detail=question.excluded[offering.id]))
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
        Reason(
            code=f"limit_{name}",
            detail=f"It allows at most {limit:,} {name.replace('_', ' ')}, the job asks for {value:,}",
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
            Reason(
                code="accelerator",
                detail="It has another kind of accelerator" if has else "It has no accelerators",
                field="/resources/accelerator",
                asked=wanted,
                limit=sold.offering.accelerator,
            )
        )
    return reasons


def _priced_through(prices: PriceList, start: int, seconds: int) -> bool:
    return all(window.tariff != UNCOVERED for window in windows(prices.tariffs, start, start + seconds))


def _operable(
    sold: Sold, adapter: AdapterHere | None, site: SiteNow | None, now: datetime, walltime_seconds: int
) -> list[Reason]:
    reasons = []
    if not approved(sold.provider):
        reasons.append(Reason(code="provider_not_approved", detail="Its provider is not approved at present"))
    if sold.prices is None or not _priced_through(sold.prices, clock.to_seconds(now), walltime_seconds):
        reasons.append(
            Reason(code="no_price", detail="Its price list does not cover the time from now to the job's walltime")
        )
    if adapter is None:
        reasons.append(
            Reason(code="adapter_missing", detail=f"The platform has no adapter {sold.site.adapter} installed")
        )
    elif site is not None and site.adapter_version not in (None, adapter.version):
        reasons.append(
            Reason(
                code="adapter_version",
                detail="The centre's adapter and the platform's differ in version, so what it would allocate is not known",
                asked=adapter.version,
                limit=site.adapter_version,
            )
        )
    if site is None or site.adapter_version is None:
        reasons.append(Reason(code="site_not_seen", detail="The site's agent has not reported yet"))
    elif site.refused:
        reasons.append(Reason(code="site_refused", detail=f"The site can't be operated: {site.refused}"))
    return reasons


def _words(capacity: Capacity) -> str:
    accelerators = f", {capacity.accelerators} accelerators" if capacity.accelerators else ""
    return f"{capacity.cpus} CPUs, {capacity.memory_mib} MiB{accelerators}"
