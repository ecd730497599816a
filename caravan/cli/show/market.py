"""What is sold and at which prices, where a job could run and why not."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from caravan import pricing
from caravan.cli.show.parts import UNIT, pairs, rate, seller, table, when
from caravan.contracts.modes import SiteMode, SiteModeFrom
from caravan.contracts.offerings import OfferingPrice
from caravan.contracts.prices import WHOLE_TARIFF, Component, PriceList
from caravan.contracts.quotes import Candidate, Placement, Quote, Refusal
from caravan.contracts.resale import ResaleAgreement
from caravan.kernel.clock import to_seconds


def prices(found: OfferingPrice, now: datetime) -> str:
    """What the tariff of now says for its buyer."""
    if found.price_list is None:
        return "no price now"
    second, price_list = to_seconds(now), pricing.prices_for(found.price_list, found.buyer)
    (window,) = pricing.windows(price_list, second, second + 1)
    by_component = pricing.prices(price_list, window.tariff, window.name)
    if window.mode is SiteMode.TRACKED or not by_component:
        return window.mode.words or "no price now"
    words = _prices(by_component)
    part = "" if window.name == WHOLE_TARIFF else f" ({window.name})"
    return f"{words}{part}" + (f"; {window.mode.words}" if window.mode.words else "")


def _prices(by_component: Mapping[Component, Decimal]) -> str:
    return ", ".join(f"{price} per {component.value.replace('_', '-')}" for component, price in by_component.items())


def offerings(found: Iterable[OfferingPrice], now: datetime) -> Table:
    rows = []
    for one in found:
        limits = one.offering.limits
        most = f"{limits.nodes} x {limits.cpus_per_node} cores, {limits.memory_mib_per_node:,} MiB"
        if limits.accelerators_per_node:
            most += f", {limits.accelerators_per_node} x {one.offering.accelerator}"
        rows.append(
            (
                one.offering.name,
                seller(one.provider_name, one.reseller_name),
                one.region,
                one.offering.tier.value,
                most,
                _with(prices(one, now), one.offering.preempted_borne_by.words),
                str(one.price) if one.price is not None else "",
                one.site_health.state if one.site_health else "unknown",
                one.offering.id,
            )
        )
    return table(("offering", "provider", "region", "tier", "at most", "price", ">for your shape", "site", "!id"), rows)


def modes(found: Iterable[SiteModeFrom]) -> Table:
    return table(("!from", "mode", ""), [(when(one.starts_at), one.mode.value, one.mode.words or "") for one in found])


def resale_agreements(found: Iterable[ResaleAgreement]) -> Table:
    rows = [
        (one.id, one.reseller, one.project, "\n".join(one.members), when(one.starts_at), when(one.ends_at))
        for one in found
    ]
    return table(("!id", "!reseller", "!buys as", "!members", "!from", "!until"), rows)


def price_lists(found: Iterable[PriceList]) -> Table:
    rows = [
        (
            str(one.revision),
            one.reseller or "the provider",
            "\n".join(
                f"{tariff.name} from {when(tariff.starts_at)}"
                + (f" until {when(tariff.ends_at)}" if tariff.ends_at else "")
                + f": {_prices(tariff.prices)}"
                for tariff in one.tariffs
            ),
            when(one.created_at),
            one.id,
        )
        for one in found
    ]
    return table((">revision", "!sold by", "tariffs", "!published", "!id"), rows)


def _worst_case(one: Candidate) -> str:
    return "\n".join(
        f"{c.quantity:,} {UNIT.get(c.component, '')} at {c.unit_price} ({rate(c.tariff, c.window)}) = {c.amount}"
        for c in one.components
    ) or (f"not billed 未计费: {one.notional} at most" if one.notional.fen else "")


def _with(price: str, condition: str | None) -> str:
    """What it costs, and below it on what condition."""
    return "\n".join(filter(None, (price, condition)))


def candidates(found: Sequence[Candidate]) -> Table:
    rows = [
        (
            str(place),
            one.offering_name,
            seller(one.provider_name, one.reseller_name),
            _with(_worst_case(one), one.preempted_borne_by.words),
            str(one.worst_case),
            "now" if one.has_room else f"waits: {one.unavailable}" if one.unavailable else "waits",
            one.offering,
        )
        for place, one in enumerate(found, 1)
    ]
    return table((">", "offering", "provider", "worst case", ">set aside", "room", "!id"), rows)


def quote(found: Quote) -> RenderableType:
    ranked = candidates(found.candidates) if found.candidates else "No offering can run this job."
    return Group(ranked, *refusals(found.refused))


def refusals(found: Sequence[Refusal]) -> list[Table]:
    """One table, or none."""
    rows = [(one.offering_name, "\n".join(reason.detail for reason in one.reasons)) for one in found]
    return [table(("refused", "why"), rows)] if rows else []


def placement(found: Placement) -> RenderableType:
    chosen = pairs([("placed", Text(found.why))])
    return Group(chosen, candidates(found.candidates), *refusals(found.refused))
