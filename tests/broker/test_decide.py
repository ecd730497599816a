"""The placement decision, without a database: filters, reasons, ranking."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caravan.contracts.base import PROSE_CHARACTERS
from caravan.contracts.dispatch import Grant
from caravan.contracts.modes import SiteMode, SiteModeFrom
from caravan.contracts.offerings import (
    Accelerator,
    AcceleratorUnit,
    Capacity,
    Limits,
    Offering,
    OfferingState,
    Site,
    SiteState,
    Tier,
)
from caravan.contracts.parties import Provider, ProviderKind, ProviderState, Tenant
from caravan.contracts.prices import Buyers, Component, PriceList, Tariff
from caravan.contracts.quotes import Reason
from caravan.contracts.spec import Array, JobSpec, Resources
from caravan.kernel import ids
from caravan.kernel.money import Money
from services.broker.adapters.fake import adapter as fake
from services.broker.adapters.local import adapter as local
from services.broker.placement.copies import CatalogView, Sold
from services.broker.placement.decide import Decision, decide, to_hold
from services.broker.placement.question import AdapterHere, Question, Reseller, Room, SiteNow
from services.broker.placement.refusals import PASSING, lasting
from services.broker.placement.why import why

NOW = datetime(2026, 3, 10, 8, tzinfo=UTC)
ORGANIZATION, PROJECT = ids.new("org"), ids.new("prj")
ADAPTERS = {
    "fake": AdapterHere.of(fake),
    "local": AdapterHere.of(local),
}
CARD = Accelerator(
    id="acc_card", vendor="V", model="M", memory_mib=1, unit=AcceleratorUnit.CARD, domestic=True, aliases=()
)


@dataclass
class World:
    """Offerings as the decision sees them. Ids grow in the order in which they are made."""

    sold: list[Sold] = field(default_factory=list)
    sites: dict[str, SiteNow] = field(default_factory=dict)
    tenants: dict[tuple[str, str, str | None], Tenant] = field(default_factory=dict)
    classes: dict[str, str] = field(default_factory=dict)
    rooms: dict[str, Room] = field(default_factory=dict)
    adapters: Mapping[str, AdapterHere] = field(default_factory=lambda: ADAPTERS)
    asked: list[str] = field(default_factory=list)
    reseller: Reseller | None = None
    resold: dict[tuple[str, str], PriceList] = field(default_factory=dict)

    def add(self, *, price: str = "36.00", adapter: str = "fake", **more: Any) -> Sold:
        provider = Provider(
            name="Centre", kind=ProviderKind.OTHER, region="西安", id=ids.new("prv"), state=ProviderState.APPROVED,
            version=1, created_at=NOW,
        )  # fmt: skip
        site = Site(
            provider=provider.id, name="Site", region="西安", adapter=adapter, id=ids.new("sit"), version=1, created_at=NOW,
            settings={"accelerators_per_node": 8},
        )  # fmt: skip
        values = {
            "site": site.id, "name": "General", "tier": Tier.HPC, "id": ids.new("off"), "provider": provider.id,
            "limits": Limits(nodes=2, cpus_per_node=8, memory_mib_per_node=8192, walltime_seconds=3600, array_tasks=10),
            "capacity": Capacity(cpus=16, memory_mib=16_384), "state": OfferingState.ACTIVE, "version": 1,
            "created_at": NOW,
        }  # fmt: skip
        offering = Offering.model_validate(values | more)
        tariff = Tariff(name="t", starts_at=NOW - timedelta(days=1), prices={Component.CPU_CORE_HOUR: Decimal(price)})
        prices = PriceList(tariffs=(tariff,), id=ids.new("prl"), offering=offering.id, revision=1, created_at=NOW)
        sold = Sold(offering, site, provider, prices)
        self.sold.append(sold)
        self.sites[site.id] = SiteNow(adapter, ADAPTERS[adapter].version, SiteState.HEALTHY)
        tenant = Tenant(site=site.id, organization=ORGANIZATION, id=ids.new("ten"), version=1, created_at=NOW)
        self.tenants[site.id, ORGANIZATION, None] = tenant
        return sold

    def change(self, sold: Sold, **changes: Any) -> Sold:
        changed = replace(sold, **changes)
        self.sold[self.sold.index(sold)] = changed
        return changed

    def decide(self, spec: JobSpec, tasks: int | None = None, excluded: Mapping[str, str] | None = None) -> Decision:
        view = CatalogView(
            "c", tuple(self.sold), {}, {}, {CARD.id: CARD}, {}, self.tenants, self.classes, self.resold,
            names={self.reseller.organization: "航天基地"} if self.reseller else {},
        )  # fmt: skip
        question = Question(spec, ORGANIZATION, self.reseller, tasks or len(spec.indices), NOW, excluded or {})

        def rooms(offerings: Any) -> Mapping[str, Room]:
            self.asked += offerings
            return self.rooms

        return decide(question, view, self.adapters, self.sites, rooms)

    def reasons(self, spec: JobSpec, **options: Any) -> dict[str, Reason]:
        """Of the only offering, by code."""
        decision = self.decide(spec, **options)
        assert not decision.options and len(decision.refused) == 1
        return {reason.code: reason for reason in decision.refused[0].reasons}


def spec(**more: Any) -> JobSpec:
    resources = {"walltime_seconds": 100} | more.pop("resources", {})
    values = {"name": "test", "project": PROJECT, "script": "true", "resources": Resources.model_validate(resources)}
    return JobSpec.model_validate(values | more)


@pytest.fixture
def world() -> World:
    return World()


def test_the_cheapest_worst_case_comes_first_and_ties_go_to_the_older_offering(world: World) -> None:
    dear, old, young = world.add(price="40.00"), world.add(), world.add()
    decision = world.decide(spec())
    assert [o.sold.offering.id for o in decision.options] == [old.offering.id, young.offering.id, dear.offering.id]
    assert [str(o.candidate.worst_case) for o in decision.options[:2]] == ["1.00", "1.00"]
    assert decision.options[2].candidate.worst_case >= Money.parse("1.11")
    assert not decision.refused


def test_a_site_that_does_not_bill_yet_holds_nothing_and_shows_what_it_would_cost(world: World) -> None:
    billed, unbilled = world.add(price="18.00"), world.add()
    assert unbilled.prices is not None
    notional = SiteModeFrom(mode=SiteMode.NOTIONAL, starts_at=NOW)
    later = SiteModeFrom(mode=SiteMode.BILLED, starts_at=NOW + timedelta(days=30))
    for modes, worst in (((notional,), "0.00"), ((notional, later), "1.00")):
        unbilled = world.change(unbilled, prices=unbilled.prices.model_copy(update={"modes": modes}))
        assert unbilled.prices is not None
        found = {o.sold.offering.id: o.candidate for o in world.decide(spec()).options}
        one, other = found[unbilled.offering.id], found[billed.offering.id]
        assert [str(one.worst_case), str(one.notional)] == [worst, "1.00"]
        assert (str(other.notional), other.components != ()) == ("0.00", True)
    assert world.decide(spec(max_cost="0.60")).options[0].sold == billed


def test_a_job_chooses_only_what_the_offering_leaves_to_it(world: World) -> None:
    sold = world.add(choices={"qos": ["normal", "high"]})
    assert world.decide(spec(options={"qos": "high"})).options[0].sold == sold
    for options, name, limit in (({"qos": "urgent"}, "qos", "normal, high"), ({"account": "x"}, "account", None)):
        reason = world.reasons(spec(options=options))["option"]
        assert (reason.field, reason.asked, reason.limit) == (f"/options/{name}", options[name], limit)
        assert name in reason.detail


def test_what_a_job_chooses_is_granted_as_such(world: World) -> None:
    targets: list[Mapping[str, Any]] = []

    def grant(resources: Resources, target: Mapping[str, Any], settings: Mapping[str, Any]) -> Grant:
        targets.append(target)
        return fake.grant(resources, {}, settings)

    world.adapters = {"fake": AdapterHere(fake.descriptor.version, grant)}
    world.add(target={"partition": "a", "qos": "normal"}, choices={"qos": ["normal", "high"]})
    world.decide(spec(options={"qos": "high"}))
    world.reasons(spec(options={"qos": "highest"}))
    assert targets == [{"partition": "a", "qos": "high"}]


def test_room_is_asked_only_for_offerings_where_the_job_could_run(world: World) -> None:
    fits, _ = world.add(), world.add(limits=Limits(nodes=1, cpus_per_node=1, memory_mib_per_node=1, walltime_seconds=1))
    world.decide(spec())
    assert world.asked == [fits.offering.id]


LIMITS = [
    ("limit_nodes", {"nodes": 3}, "/resources/nodes", "3", "2"),
    ("limit_cpus_per_node", {"cpus_per_task": 9}, "/resources/tasks_per_node", "9", "8"),
    ("limit_memory_mib_per_node", {"memory_mib_per_node": 8193}, "/resources/memory_mib_per_node", "8193", "8192"),
    ("limit_accelerators_per_node", {"accelerators_per_node": 1}, "/resources/accelerators_per_node", "1", "0"),
    ("limit_walltime_seconds", {"walltime_seconds": 3601}, "/resources/walltime_seconds", "3601", "3600"),
]


@pytest.mark.parametrize(("code", "resources", "where", "asked", "limit"), LIMITS)
def test_each_limit_refuses_with_what_was_asked_and_allowed(
    world: World, code: str, resources: dict[str, int], where: str, asked: str, limit: str
) -> None:
    world.add()
    reason = world.reasons(spec(resources=resources))[code]
    assert (reason.field, reason.asked, reason.limit) == (where, asked, limit)


def test_at_the_limit_nothing_is_refused(world: World) -> None:
    world.add()
    resources = {"nodes": 2, "cpus_per_task": 8, "memory_mib_per_node": 8192, "walltime_seconds": 3600}
    assert world.decide(spec(resources=resources)).options


def test_an_array_has_limits_for_its_tasks_and_for_what_runs_at_once(world: World) -> None:
    world.add()
    reasons = world.reasons(spec(array=Array(indices=tuple(range(11)), max_parallel=1)))
    assert list(reasons) == ["limit_array_tasks"]
    many = Array(indices=tuple(range(10)))
    reasons = world.reasons(spec(array=many, resources={"cpus_per_task": 2}))
    assert reasons["capacity"].field == "/array/max_parallel"
    assert (reasons["capacity"].asked, reasons["capacity"].limit) == ("20 CPUs, 10240 MiB", "16 CPUs, 16384 MiB")
    throttled = Array(indices=tuple(range(10)), max_parallel=8)
    assert world.decide(spec(array=throttled, resources={"cpus_per_task": 2})).options
    assert world.decide(spec(array=many, resources={"cpus_per_task": 2}), tasks=8).options


def test_where_filters_each_field(world: World) -> None:
    sold = world.add()
    here = {
        "tiers": [Tier.HPC], "offerings": [sold.offering.id], "providers": [sold.provider.id], "regions": ["西安"],
    }  # fmt: skip
    elsewhere = {
        "tiers": [Tier.AI], "offerings": [ids.new("off")], "providers": [ids.new("prv")], "regions": ["北京"],
    }  # fmt: skip
    for name in here:
        assert world.decide(spec(where={name: here[name]})).options
        assert list(world.reasons(spec(where={name: elsewhere[name]}))) == [f"where_{name}"]
    assert set(world.reasons(spec(where=elsewhere))) == {f"where_{name}" for name in elsewhere}


def test_no_tenant_at_the_site_and_the_projects_own_goes_before_the_organizations(world: World) -> None:
    sold = world.add()
    site = sold.site.id
    of_organization = world.tenants.pop((site, ORGANIZATION, None))
    assert list(world.reasons(spec())) == ["no_tenant"]
    of_project = of_organization.model_copy(update={"id": ids.new("ten"), "project": PROJECT})
    world.tenants[site, ORGANIZATION, None] = of_organization
    world.tenants[site, ORGANIZATION, ids.new("prj")] = of_organization.model_copy(update={"id": ids.new("ten")})
    assert world.decide(spec()).options[0].tenant == of_organization.id
    world.tenants[site, ORGANIZATION, PROJECT] = of_project
    assert world.decide(spec()).options[0].tenant == of_project.id


def test_a_job_is_priced_for_its_organization_its_class_and_its_effective_options(world: World) -> None:
    sold = world.add(target={"qos": "normal"}, choices={"qos": ("normal", "high")})
    assert sold.prices is not None
    (for_all,) = sold.prices.tariffs

    def priced(price: str, **special: Any) -> Tariff:
        prices = {Component.CPU_CORE_HOUR: Decimal(price)}
        return for_all.model_copy(update={"name": f"at-{price[:2]}", "prices": prices, **special})

    def asked(**more: Any) -> tuple[str, Mapping[str, str]]:
        (option,) = world.decide(spec(**more)).options
        return str(option.candidate.worst_case), option.buyer.options

    high = {"options": {"qos": ("high",)}}
    university = {"buyers": Buyers(classes=("高校",))}
    tariffs = (for_all, priced("72.00", **high), priced("18.00", **university))
    special = world.change(sold, prices=sold.prices.model_copy(update={"tariffs": tariffs}))
    assert asked() == ("1.00", {})
    assert asked(options={"qos": "high"}) == ("2.00", {"qos": "high"})
    world.classes[ORGANIZATION] = "高校"
    assert asked(options={"qos": "high"}) == ("0.52", {"qos": "high"}), "2 fen: lines of half a fen, and period edges"
    world.classes[ORGANIZATION] = "small"
    assert asked() == ("1.00", {})
    mine = Buyers(organizations=(ORGANIZATION,))
    by_name = special.prices.model_copy(update={"tariffs": (*tariffs, priced("36.00", name="mine", buyers=mine))})  # type: ignore[union-attr]
    special = world.change(special, prices=by_name)
    assert asked(options={"qos": "high"}) == ("1.00", {"qos": "high"})
    others = priced("1.00", buyers=Buyers(organizations=(ids.new("org"),)))
    world.change(special, prices=sold.prices.model_copy(update={"tariffs": (others,)}))
    assert list(world.reasons(spec())) == ["no_price"]


def test_prices_must_cover_the_walltime_from_now(world: World) -> None:
    sold = world.add()
    assert sold.prices is not None
    tariff = sold.prices.tariffs[0].model_copy(update={"ends_at": NOW + timedelta(seconds=100)})
    ending = world.change(sold, prices=sold.prices.model_copy(update={"tariffs": (tariff,)}))
    assert world.decide(spec()).options
    assert list(world.reasons(spec(resources={"walltime_seconds": 101}))) == ["no_price"]
    world.change(ending, prices=None)
    assert list(world.reasons(spec())) == ["no_price"]


def test_max_cost_is_a_filter_to_the_fen(world: World) -> None:
    world.add()
    assert world.decide(spec(max_cost=Money.parse("1.00"))).options
    reason = world.reasons(spec(max_cost=Money.parse("0.99")))["max_cost"]
    assert (reason.field, reason.asked, reason.limit) == ("/max_cost", "0.99", "1.00")


def test_what_no_hold_could_cover_is_refused(world: World) -> None:
    world.add(
        price="999999999", limits=Limits(nodes=1, cpus_per_node=8, memory_mib_per_node=8192, walltime_seconds=10**9)
    )
    assert list(world.reasons(spec(resources={"walltime_seconds": 31_000_000, "cpus_per_task": 8}))) == ["too_dear"]


def test_a_site_must_have_been_seen_with_the_adapter_that_is_installed_here(world: World) -> None:
    sold = world.add()
    site = sold.site.id
    for seen, code in (
        (SiteNow("fake", "0", SiteState.HEALTHY), "adapter_version"),
        (SiteNow("local", local.descriptor.version, SiteState.HEALTHY), "site_not_seen"),
        (SiteNow(None, None, None), "site_not_seen"),
        (SiteNow("fake", fake.descriptor.version, SiteState.REFUSED), "site_refused"),
    ):
        world.sites[site] = seen
        assert list(world.reasons(spec())) == [code]
    del world.sites[site]
    assert list(world.reasons(spec())) == ["site_not_seen"]
    world.adapters = {}
    assert set(world.reasons(spec())) == {"site_not_seen", "adapter_missing"}


def test_a_site_that_can_not_be_asked_has_no_room_and_says_why(world: World) -> None:
    away, other = world.add(price="1.00"), world.add(price="2.00")
    world.sites[away.site.id] = SiteNow("fake", fake.descriptor.version, SiteState.UNAVAILABLE)
    world.sites[other.site.id] = SiteNow("fake", fake.descriptor.version, SiteState.DEGRADED)
    found = [option.candidate for option in world.decide(spec()).options]
    assert [(one.offering, one.has_room, one.unavailable) for one in found] == [
        (away.offering.id, False, SiteState.UNAVAILABLE.words),
        (other.offering.id, True, None),
    ]


def test_a_paused_offering_and_a_suspended_provider_are_refused(world: World) -> None:
    sold = world.add()
    paused = world.change(sold, offering=sold.offering.model_copy(update={"state": OfferingState.PAUSED}))
    assert list(world.reasons(spec())) == ["paused"]
    suspended = sold.provider.model_copy(update={"state": ProviderState.SUSPENDED})
    world.change(paused, provider=suspended)
    assert set(world.reasons(spec())) == {"paused", "provider_not_approved"}


def test_what_the_backend_would_reject_is_a_reason(world: World) -> None:
    sold = world.add(adapter="local")
    reason = world.reasons(spec(resources={"nodes": 2}))["backend"]
    assert "one machine" in reason.detail
    assert (reason.field, sold.site.adapter) == ("/resources", "local")


def test_an_array_of_several_nodes_goes_where_they_can_be_had(world: World) -> None:
    sold = world.add()
    several = spec(resources={"nodes": 2}, array={"indices": [3, 4]})
    assert not world.decide(several).refused
    here = world.adapters["fake"]
    world.adapters = {"fake": replace(here, capabilities=())}
    reason = world.reasons(several)["array_of_nodes"]
    assert (reason.field, reason.asked, reason.limit) == ("/array/indices", "2", "1")
    assert not world.decide(spec(resources={"nodes": 2})).refused
    assert not world.decide(spec(array={"indices": [3, 4]})).refused
    assert sold.offering.limits.nodes == 2


def test_every_reason_is_given_at_once(world: World) -> None:
    sold = world.add(adapter="local")
    del world.tenants[sold.site.id, ORGANIZATION, None]
    world.change(sold, offering=sold.offering.model_copy(update={"state": OfferingState.PAUSED}), prices=None)
    reasons = world.reasons(
        spec(where={"tiers": [Tier.AI]}, resources={"nodes": 3, "walltime_seconds": 5000}),
        excluded={sold.offering.id: "It failed there"},
    )
    assert set(reasons) == {
        "where_tiers", "failed_there", "limit_nodes", "limit_walltime_seconds", "no_tenant", "paused", "no_price", "backend",
    }  # fmt: skip


def test_an_accelerator_must_be_the_offerings_and_is_billed_by_its_kind(world: World) -> None:
    limits = Limits(nodes=1, cpus_per_node=8, memory_mib_per_node=8192, accelerators_per_node=8, walltime_seconds=3600)
    world.add(limits=limits, accelerator=CARD.id, capacity=Capacity(cpus=8, memory_mib=8192, accelerators=8))
    other = {"accelerators_per_node": 1, "accelerator": "acc_other"}
    reason = world.reasons(spec(resources=other))["accelerator"]
    assert (reason.asked, reason.limit) == ("acc_other", CARD.id)
    [any_kind] = world.decide(spec(resources={"accelerators_per_node": 2})).options
    assert (any_kind.grant.accelerators, any_kind.grant.accelerator) == (2, CARD.id)
    assert not world.decide(spec(resources={"accelerators_per_node": 9})).options


NOTHING = Capacity(cpus=0, memory_mib=0)


@pytest.mark.parametrize(
    ("occupied", "ahead", "waited_for", "queue_ahead", "has_room"),
    [
        (NOTHING, 0, False, 0, True),
        (Capacity(cpus=15, memory_mib=0), 0, False, 0, True),
        (Capacity(cpus=16, memory_mib=0), 0, False, 0, False),
        (Capacity(cpus=0, memory_mib=16_000), 0, False, 0, False),
        (Capacity(cpus=16, memory_mib=0), 0, False, 1, True),
        (Capacity(cpus=16, memory_mib=0), 1, False, 1, False),
        (NOTHING, 0, True, 1, False),
    ],
)
def test_room(world: World, occupied: Capacity, ahead: int, waited_for: bool, queue_ahead: int, has_room: bool) -> None:
    sold = world.add(queue_ahead=queue_ahead)
    world.rooms[sold.offering.id] = Room(occupied, ahead, waited_for)
    [option] = world.decide(spec()).options
    assert option.candidate.has_room is has_room


def test_the_hold_is_for_the_first_with_room_or_else_the_dearest(world: World) -> None:
    cheap, dear = world.add(), world.add(price="72.00")
    full = Room(Capacity(cpus=16, memory_mib=0), 0, False)
    assert to_hold(world.decide(spec()).options) == Money.parse("1.00")
    world.rooms[cheap.offering.id] = full
    assert to_hold(world.decide(spec()).options) == Money.parse("2.00")
    world.rooms[dear.offering.id] = full
    assert to_hold(world.decide(spec()).options) == Money.parse("2.00")
    assert to_hold(()) is None


def test_waiting_helps_only_where_all_reasons_may_pass(world: World) -> None:
    sold = world.add()
    del world.sites[sold.site.id]
    assert not lasting(world.decide(spec()).refused)
    assert lasting(world.decide(spec(resources={"nodes": 3})).refused)
    world.add()
    assert lasting(world.decide(spec(resources={"nodes": 3})).refused)
    assert lasting(())
    assert {"paused", "no_price"} < PASSING


def test_only_excluded_offerings_are_refused_for_what_failed_there(world: World) -> None:
    failed, other = world.add(), world.add()
    decision = world.decide(spec(), excluded={failed.offering.id: "x" * 5000})
    assert [o.sold.offering.id for o in decision.options] == [other.offering.id]
    assert decision.refused[0].reasons[0].code == "failed_there"


@given(
    st.lists(
        st.tuples(st.sampled_from(["36.00", "40.00"]), st.sampled_from(list(OfferingState)), st.booleans()), max_size=6
    ),
    st.integers(1, 4000),
)
def test_every_offering_is_ranked_or_refused_once(
    offered: list[tuple[str, OfferingState, bool]], walltime: int
) -> None:
    world = World()
    for price, state, seen in offered:
        sold = world.add(price=price, state=state)
        if not seen:
            del world.sites[sold.site.id]
    decision = world.decide(spec(resources={"walltime_seconds": walltime}))
    found = [o.sold.offering.id for o in decision.options] + [r.offering for r in decision.refused]
    assert sorted(found) == sorted(sold.offering.id for sold in world.sold)
    worst = [option.candidate.worst_case for option in decision.options]
    assert worst == sorted(worst)


def test_a_grant_says_what_an_attempt_occupies(world: World) -> None:
    world.add()
    [option] = world.decide(spec(resources={"nodes": 2, "cpus_per_task": 3}), tasks=1).options
    assert option.grant == Grant(nodes=2, cpus=6, memory_mib=2048, max_seconds=100)
    assert option.candidate.capacity == Capacity(cpus=6, memory_mib=2048)


def test_why_it_was_placed_there_is_said_against_what_else_there_was(world: World) -> None:
    dear, cheap = world.add(price="40.00", name="天河"), world.add(name="General")
    [first, second] = world.decide(spec()).options
    assert (first.sold, second.sold) == (cheap, dear)
    decision = world.decide(spec())
    assert why(decision, first) == (
        "General: 能运行它的 2 个产品中最便宜，最多 1.00，其次 1.13 "
        "the cheapest of 2 that can run it, at most 1.00, the next 1.13"
    )
    assert why(decision, second).startswith("天河: 能运行它的 2 个产品中排第 2，")
    assert why(decision, second).endswith(
        " number 2 of 2 that can run it, at most 1.13; those before it, General (1.00) first, take no job now"
    )
    assert why(decision, None).endswith(" none of the 2 that can run it takes a job now: it waits for any of them")
    world.add(name="General, again")
    assert why(world.decide(spec()), first).endswith(", at most 1.00, as General, again, which is newer")
    only = world.decide(spec(where={"offerings": [dear.offering.id]}))
    assert why(only, only.options[0]) == (
        "天河: 只有它能运行，最多 1.13；另有 2 个不能运行它 it alone can run it, for at most 1.13; 2 more can't run it"
    )


@given(
    st.lists(st.tuples(st.sampled_from(["36.00", "40.00"]), st.text("价x", min_size=1, max_size=200)), max_size=5),
    st.integers(0, 5),
    st.sampled_from([0, 1, 3]),
)
def test_why_names_the_chosen_and_its_worst_case_in_both_languages(
    offered: list[tuple[str, str]], place: int, paused: int
) -> None:
    world = World()
    for price, name in offered:
        world.add(price=price, name=name)
    for _ in range(paused):
        world.add(state=OfferingState.PAUSED)
    decision = world.decide(spec())
    chosen = decision.options[place] if place < len(decision.options) else None
    said = why(decision, chosen)
    assert len(said) < PROSE_CHARACTERS
    if chosen is not None:
        one = chosen.candidate
        assert said.startswith(f"{one.offering_name}: ")
        assert said.count(f"最多 {one.worst_case}") == said.count(f"at most {one.worst_case}") == 1
    assert ("不能运行它" in said) == ("can't run it" in said) == bool(paused)


def test_reasons_are_given_in_both_languages(world: World) -> None:
    world.add(state=OfferingState.PAUSED)
    elsewhere = {"tiers": [Tier.AI], "offerings": [ids.new("off")], "providers": [ids.new("prv")], "regions": ["北京"]}
    refused = world.reasons(
        spec(
            where=elsewhere, max_cost=Money(1), options={"qos": "x"}, script=None, container={"image": "docker://a"},
            resources={"nodes": 3, "accelerators_per_node": 1, "accelerator": "acc_other", "walltime_seconds": 3601},
        )
    )  # fmt: skip
    assert len(refused) > 8
    for reason in refused.values():
        assert re.fullmatch("[一-鿿].* [A-Z][ -~]+", reason.detail), reason.detail
