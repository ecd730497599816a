"""The placement decision: pure. Every offering is either a candidate with its worst case, or refused with every reason.

Hard filters first, then the cheapest worst case; ties go to the older offering, so that equal questions get equal answers.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from caravan.contracts.dispatch import Grant
from caravan.contracts.funds import HoldUse
from caravan.contracts.modes import SiteMode
from caravan.contracts.offerings import Capacity, SiteState
from caravan.contracts.prices import Buyer
from caravan.contracts.quotes import Candidate, Reason, Refusal
from caravan.contracts.spec import JobSpec
from caravan.kernel import clock
from caravan.kernel.money import Money
from caravan.pricing import WorstCase, worst_case
from services.broker.adapters.port import Rejected
from services.broker.placement import refusals
from services.broker.placement.copies import CatalogView, Sold
from services.broker.placement.question import AdapterHere, Question, Room, RoomsOf, SiteNow
from services.broker.placement.sale import Bought, Sale, Wholesale, sale_of

DEAREST: Final = Money(10**15)
"""Accounting takes no hold above it: ten trillion yuan."""


@dataclass(frozen=True)
class Option:
    """A candidate with what dispatch needs and people don't read. `wholesale`: of the reseller, where one sells it."""

    candidate: Candidate
    sold: Sold
    tenant: str
    grant: Grant
    worst: WorstCase
    buyer: Buyer
    wholesale: Wholesale | None

    @property
    def use(self) -> HoldUse:
        """What `worst` is made of."""
        candidate = self.candidate
        return HoldUse(offering=candidate.offering, reseller=candidate.reseller, components=self.worst.by_component)


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
    retail: Bought
    tenant: str
    grant: Grant
    need: Capacity
    worst: WorstCase
    notional: Money
    wholesale: Wholesale | None
    reseller_name: str | None

    def option(self, room: Room | None, site: SiteNow) -> Option:
        sold, prices = self.sold, self.retail.prices
        unavailable = site.state is SiteState.UNAVAILABLE
        return Option(
            candidate=Candidate(
                offering=sold.offering.id,
                offering_name=sold.offering.name,
                provider=sold.provider.id,
                provider_name=sold.provider.name,
                reseller=prices.reseller,
                reseller_name=self.reseller_name,
                site=sold.site.id,
                tier=sold.offering.tier,
                price_list=prices.id,
                price_list_revision=prices.revision,
                worst_case=self.worst.amount,
                components=self.worst.components,
                notional=self.notional,
                preempted_borne_by=sold.offering.preempted_borne_by,
                capacity=self.need,
                has_room=not unavailable and has_room(self.need, sold, room),
                unavailable=SiteState.UNAVAILABLE.words if unavailable else None,
            ),
            sold=sold,
            tenant=self.tenant,
            grant=self.grant,
            worst=self.worst,
            buyer=self.retail.buyer,
            wholesale=self.wholesale,
        )


def _look(
    question: Question, sold: Sold, view: CatalogView, adapter: AdapterHere | None, site: SiteNow | None
) -> _Fit | list[Reason]:
    """The offering with what the job would get and cost there, or every reason against it."""
    spec = question.spec
    reasons = [*refusals.unwanted(question, sold), *refusals.over_limits(spec, sold, view)]
    not_chosen = refusals.not_to_choose(spec, sold)
    reasons += not_chosen
    tenant = view.tenant(sold.site.id, question.organization, spec.project)
    if tenant is None:
        reasons.append(
            refusals.reason(
                "no_tenant",
                "算力中心尚未在此站点为贵单位开通，请向其申请",
                "The centre has not set your organization up at this site; ask it for access",
            )
        )
    reasons += refusals.inoperable(sold, adapter, site)
    if adapter is not None:
        reasons += refusals.array_not_run(spec, adapter)
    if adapter is not None and spec.container is not None:
        reasons += refusals.image_not_run(spec.container, adapter, sold)
    sale = sale_of(question, sold, view)
    if not isinstance(sale, Sale):
        reasons += sale
    grant = _granted(spec, sold, adapter) if adapter is not None and not not_chosen else None
    if isinstance(grant, Reason):
        return [*reasons, grant]
    if grant is None:
        return reasons
    need = occupied_by(grant, min(question.tasks, spec.max_parallel))
    if not need.within(sold.offering.capacity):
        reasons.append(
            refusals.reason(
                "capacity",
                "同时运行的任务超出产品的容量，请减小 array.max_parallel 或资源",
                "The tasks that would run at once need more than the offering has; lower array.max_parallel or the resources",
                field="/array/max_parallel" if spec.array else "/resources",
                asked=_words(need),
                limit=_words(sold.offering.capacity),
            )
        )
    if not isinstance(sale, Sale):
        return reasons
    prices, wholesale = sale.retail.prices, sale.wholesale(grant, question)
    now = clock.to_seconds(question.now)
    worst = worst_case(grant, question.tasks, prices, now)
    if spec.max_cost is not None and worst.amount > spec.max_cost:
        reasons.append(
            refusals.reason(
                "max_cost",
                "最坏情形超出 max_cost，请提高 max_cost 或缩短时长",
                "Its worst case is dearer than max_cost; raise max_cost or shorten the walltime",
                field="/max_cost",
                asked=str(spec.max_cost),
                limit=str(worst.amount),
            )
        )
    if worst.amount > DEAREST:
        reasons.append(
            refusals.reason(
                "too_dear",
                f"最坏情形为 {worst.amount}，一份作业最多冻结 {DEAREST}",
                f"Its worst case is {worst.amount}, and no more than {DEAREST} can be held for a job",
                field="/resources/walltime_seconds",
            )
        )
    if wholesale is not None and wholesale.worst.amount > DEAREST:
        reasons.append(
            refusals.reason(
                "too_dear",
                f"转售方购买它的最坏情形超出一份作业最多冻结的 {DEAREST}",
                f"The worst case of its reseller, who buys it, is above {DEAREST}, and no more can be held for a job",
                field="/resources/walltime_seconds",
            )
        )
    if reasons or tenant is None:
        return reasons
    notional = worst_case(grant, question.tasks, prices, now, SiteMode.NOTIONAL).amount
    reseller_name = view.names.get(prices.reseller) if prices.reseller is not None else None
    return _Fit(sold, sale.retail, tenant.id, grant, need, worst, notional, wholesale, reseller_name)


def to_hold(options: Sequence[Option]) -> Money | None:
    """What is set aside for a job with these options: the worst case of the one it takes; None when it can't run."""
    with_room = [option.candidate.worst_case for option in options if option.candidate.has_room]
    if not options:
        return None
    return with_room[0] if with_room else dearest(options).worst.amount


def dearest(options: Sequence[Option]) -> Option:
    """For what money is set aside while a job waits for room on any of these."""
    return max(options, key=lambda option: option.worst.amount)


def dearest_wholesale(options: Sequence[Option]) -> WorstCase | None:
    """As `dearest`, of what resellers buy; None where none sells."""
    resold = [option.wholesale.worst for option in options if option.wholesale is not None]
    return max(resold, key=lambda worst: worst.amount, default=None)


def _granted(spec: JobSpec, sold: Sold, adapter: AdapterHere) -> Grant | Reason:
    """What the backend would allocate to one task, or why it never would."""
    asked = spec.resources
    if asked.accelerators_per_node and asked.accelerator is None:
        asked = asked.model_copy(update={"accelerator": sold.offering.accelerator})
    try:
        return adapter.grant(asked, sold.offering.target_with(spec.options), sold.site.settings)
    except Rejected as error:
        return refusals.reason(
            "backend", "其后端不会接受此作业", f"Its backend would not take the job: {error}", field="/resources"
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


def _words(capacity: Capacity) -> str:
    accelerators = f", {capacity.accelerators} accelerators" if capacity.accelerators else ""
    return f"{capacity.cpus} CPUs, {capacity.memory_mib} MiB{accelerators}"
