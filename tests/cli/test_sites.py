"""`caravan site`, as far as it needs no platform, and what is shown of sites that don't bill."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from typer.testing import CliRunner, Result

from caravan.cli import app, show
from caravan.contracts.modes import SiteMode, SiteModeFrom
from caravan.contracts.offerings import (
    Capacity,
    Limits,
    Offering,
    OfferingPrice,
    OfferingState,
    PreemptedBearer,
    Tier,
)
from caravan.contracts.prices import Buyer, Component, PriceList, Tariff
from tests.cli.test_finance import shown

SITE, NOW = "sit_" + "1" * 32, datetime(2026, 3, 1, 8, tzinfo=UTC)


def caravan(*arguments: str) -> Result:
    clean = {"CARAVAN_TOKEN": "x", "CARAVAN_URL": "http://127.0.0.1:1"}
    return CliRunner().invoke(app, ["site", *arguments], env=clean)


@pytest.mark.parametrize("at", ["tomorrow", "2026-06-16T00:00:00", "2026-06-16T00:30:00Z", "1780000000"])
def test_a_mode_wants_a_whole_hour_with_its_offset(at: str) -> None:
    done = caravan("mode", SITE, "notional", "--from", at)
    assert done.exit_code == 2
    assert done.stderr.startswith("starts_at: ")
    assert caravan("mode", SITE, "notional", "--from", "2026-06-16T00:00:00+08:00").exit_code == 1, "nobody answers"


def test_modes_are_shown_in_words() -> None:
    text = shown(show.modes([SiteModeFrom(mode=SiteMode.NOTIONAL, starts_at=NOW)]))
    assert "notional" in text and "not billed" in text


@pytest.mark.parametrize(
    ("mode", "words"),
    [
        (SiteMode.BILLED, "0.36 per cpu-core-hour"),
        (SiteMode.NOTIONAL, f"0.36 per cpu-core-hour; {SiteMode.NOTIONAL.words}"),
        (SiteMode.TRACKED, SiteMode.TRACKED.words),
    ],
)
def test_a_price_that_is_not_billed_says_so(mode: SiteMode, words: str) -> None:
    limits = Limits(nodes=1, cpus_per_node=1, memory_mib_per_node=1, walltime_seconds=1)
    offering = Offering(
        id="off_" + "1" * 32, provider="prv_" + "1" * 32, site=SITE, name="通用计算", tier=Tier.HPC, limits=limits,
        capacity=Capacity(cpus=1, memory_mib=1), state=OfferingState.ACTIVE, version=1, created_at=NOW,
    )  # fmt: skip
    tariff = Tariff(name="2026", starts_at=NOW, prices={Component.CPU_CORE_HOUR: Decimal("0.36")})
    prices = PriceList(
        id="prl_" + "1" * 32, offering=offering.id, revision=1, created_at=NOW, tariffs=(tariff,),
        modes=(SiteModeFrom(mode=mode, starts_at=NOW),),
    )  # fmt: skip
    found = OfferingPrice(
        offering=offering, provider_name="中心", region="西安", site_health=None, price_list=prices, buyer=Buyer(), price=None
    )  # fmt: skip
    assert show.prices(found, NOW + timedelta(hours=1)) == words
    assert "preempted" not in shown(show.offerings([found], NOW))
    charged = offering.model_copy(update={"preempted_borne_by": PreemptedBearer.ORGANIZATION})
    assert "preempted" in shown(show.offerings([found.model_copy(update={"offering": charged})], NOW))
