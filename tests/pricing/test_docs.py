"""What docs/prices.md says of its examples."""

import json
import re
from collections import Counter
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from caravan.cli import show
from caravan.contracts.dispatch import Grant
from caravan.contracts.jobs import Outcome
from caravan.contracts.modes import SiteMode, SiteModeDraft, SiteModeFrom
from caravan.contracts.offerings import AcceleratorUnit, PreemptedBearer
from caravan.contracts.prices import Buyer, Component, PriceListDraft
from caravan.kernel.clock import to_seconds
from caravan.kernel.money import Money
from caravan.pricing import (
    Shape,
    amount,
    prices_for,
    quantities,
    reference_price,
    unit_price,
    volume_discount,
    worst_case,
)
from caravan.pricing.explained import explained_span
from caravan.pricing.explained_words import Kind
from caravan.pricing.volume_words import discounted
from services.accounting.charging.lines import (
    PeriodSpan,
    Record,
    Terms,
    first_start,
    portions,
    provider_bears,
    starting,
    timed,
)
from services.accounting.charging.minimum import top_ups
from services.catalog.calendars.library import known_years
from tests.pricing.cases import ACCELERATOR, START, price_list, span

PAGE = Path(__file__).parents[2] / "docs" / "prices.md"
CHINESE = PAGE.with_suffix(".zh.md")


@pytest.mark.parametrize(("page", "language"), [(PAGE, "en"), (PAGE.with_suffix(".zh.md"), "zh")])
def test_a_line_is_checked_by_hand_as_the_page_says(page: Path, language: str) -> None:
    """The lines of the accelerators, as `caravan explain` prints them."""
    draft = example("peak")
    year = next(one for one in known_years() if one.year == 2026)
    start = to_seconds(datetime(2026, 10, 6, 20, tzinfo=ZoneInfo("Asia/Shanghai"))) - START
    grant = Grant(nodes=1, cpus=1, memory_mib=1, accelerators=8, accelerator=ACCELERATOR, max_seconds=1)
    kind = Kind("NVIDIA H100 80G", AcceleratorUnit.CARD)
    prices = explained_span(
        span(grant, start, start + 3 * 86_400), price_list(*draft.tariffs, calendar=(year,)), Buyer(), kind
    )
    told = [show.steps(one) for one in prices if one.component is Component.ACCELERATOR_HOUR]
    assert fenced(page, "by hand", "text") == "\n".join(text[language == "en"] for text in told) + "\n"


def test_volume_takes_off_what_the_pages_say() -> None:
    tiers = example("volume").volume_discounts[Component.CPU_CORE_HOUR]
    core_seconds = 60_000 * 3600
    words = discounted(Component.CPU_CORE_HOUR, tiers, core_seconds, Money(6_000_00)).en
    assert "= 325.00" in words
    sums = {
        fen: Money(volume_discount(Component.CPU_CORE_HOUR, tiers, core_seconds, fen)) for fen in (6_000_00, 4_500_00)
    }
    assert [str(off) for off in sums.values()] == ["325.00", "243.75"]
    for page in (PAGE, PAGE.with_suffix(".zh.md")):
        text = page.read_text()
        assert "6,000.00 x (5 x 40,000 + 12.5 x 10,000) / (100 x 60,000) = 325.00" in text
        assert "243.75" in text


def fenced(page: Path, name: str, language: str) -> str:
    (block,) = re.findall(rf"<!-- {name}: [^>]*-->\n```{language}\n(.*?)```", page.read_text(), re.DOTALL)
    return str(block)


def example(name: str) -> PriceListDraft:
    """The price list on the page that is marked so."""
    return PriceListDraft.model_validate(json.loads(fenced(PAGE, name, "json")))


def test_the_example_costs_what_the_page_says() -> None:
    draft = example("peak")
    prices = price_list(*draft.tariffs)
    assert draft.zone == prices.zone == "Asia/Shanghai"
    friday = to_seconds(datetime(2026, 3, 6, 21, tzinfo=ZoneInfo("Asia/Shanghai")))
    grant = Grant(nodes=1, cpus=1, memory_mib=1, accelerators=8, accelerator=ACCELERATOR, max_seconds=3 * 3600)
    lines: Counter[str] = Counter()
    for piece in quantities([span(grant, friday - START, friday - START + 3 * 3600)], prices, friday, []):
        if piece.key.component is Component.ACCELERATOR_HOUR:
            price = unit_price(prices, piece.key.tariff, piece.key.window, piece.key.component)
            lines[piece.key.window] += amount(piece.key.component, piece.quantity, price)
    assert lines == {"peak": 96_00, "flat": 64_00, "off-peak": 32_00}
    assert "8 x 12.00 + 8 x 8.00 + 8 x 4.00 = 192.00" in PAGE.read_text()
    held = {c.component: c.window for c in worst_case(grant, 1, prices, friday).components}
    assert held["accelerator_hour"] == "peak"


def test_the_price_per_job_falls_where_the_page_says() -> None:
    prices = price_list(*example("job").tariffs)
    noon = to_seconds(datetime(2026, 3, 6, 12, tzinfo=ZoneInfo("Asia/Shanghai")))
    grant = Grant(nodes=1, cpus=1, memory_mib=1, max_seconds=60)

    def per_job(*outcomes: Outcome) -> list[str]:
        records = []
        for run, minute, outcome in zip("abc", (-40, -35, 0), outcomes, strict=True):
            second = noon - START + 60 * minute
            records.append(Record(run, None, (span(grant, second, second + 60),), Terms("", "", "", prices), outcome))
        return [
            str(Money(portion.key.amount(portion.quantity)))
            for record in records
            for portion in portions(starting(record, first_start(records)), (PeriodSpan("", 0, 2 * noon),))
            if portion.key.component is Component.JOB
        ]

    ran, failed = Outcome.SUCCEEDED, Outcome.SITE
    assert per_job(ran, ran, ran) == per_job(failed, ran, ran) == ["0.50"]
    assert per_job(failed, failed, ran) == ["0.20"]
    assert per_job(failed, failed, failed) == []


def test_a_site_that_begins_to_bill_costs_what_the_page_says() -> None:
    published = [SiteModeDraft.model_validate(one) for one in json.loads(fenced(PAGE, "modes", "json"))]
    modes = tuple(SiteModeFrom.model_validate(one.model_dump()) for one in published)
    prices = price_list(*example("peak").tariffs, modes=modes)
    friday = to_seconds(datetime(2026, 3, 6, 21, tzinfo=ZoneInfo("Asia/Shanghai")))
    grant = Grant(nodes=1, cpus=1, memory_mib=1, accelerators=8, accelerator=ACCELERATOR, max_seconds=3 * 3600)
    lines: Counter[SiteMode] = Counter()
    for piece in quantities([span(grant, friday - START, friday - START + 3 * 3600)], prices, friday, []):
        key = piece.key
        if key.component is Component.ACCELERATOR_HOUR:
            price = unit_price(prices, key.tariff, key.window, key.component, key.mode)
            lines[key.mode] += amount(key.component, piece.quantity, price)
    assert lines == {SiteMode.NOTIONAL: 96_00, SiteMode.BILLED: 64_00 + 32_00}
    for words in ("8 x 12.00 = 96.00", "8 x 8.00 + 8 x 4.00 = 96.00"):
        assert words in PAGE.read_text() and words in PAGE.with_name("prices.zh.md").read_text()


def test_the_example_of_prices_for_some_costs_what_the_page_says() -> None:
    prices = price_list(*example("buyers").tariffs)
    deal = prices.tariffs[3].buyers
    assert deal is not None

    def cost(month: int, buyer: Buyer) -> str:
        at = to_seconds(datetime(2026, month, 15, 9, tzinfo=ZoneInfo("Asia/Shanghai")))
        return str(
            reference_price(Shape(nodes=1, cpus=0, memory_mib=0, accelerators=8), 3600, prices_for(prices, buyer), at)
        )

    high = {"qos": "high"}
    named = Buyer(organization=deal.organizations[0])
    costs = [
        cost(3, buyer)
        for buyer in (
            Buyer(),
            Buyer(options=high),
            Buyer(price_class="高校"),
            Buyer(price_class="高校", options=high),
            named,
        )
    ]
    assert costs == ["64.00", "96.00", "48.00", "48.00", "40.00"]
    assert cost(4, named) == cost(4, Buyer())
    for page, begins in ((PAGE, "- Eight accelerators for an hour"), (CHINESE, "- 8 张卡在 3 月")):
        _, _, said = page.read_text().partition(begins)
        assert re.findall(r"\d+\.\d\d", said)[:4] == [*costs[:3], costs[4]]


def test_an_attempt_is_topped_up_as_the_page_says() -> None:
    prices = price_list(*example("minimum").tariffs)
    grant = Grant(nodes=1, cpus=1, memory_mib=1, accelerators=1, accelerator=ACCELERATOR, max_seconds=360)
    terms = Terms("", "", "", prices, "att", ended=True)
    record = Record("run", START, (span(grant, 0, 360),), terms, Outcome.SUCCEEDED)
    parts = portions(record, (PeriodSpan("", 0, 2 * START),))
    lines = {p.key.component: Money(p.key.amount(p.quantity)) for p in (*parts, *top_ups([(terms, parts)]))}
    billed = {component: str(money) for component, money in lines.items() if money}
    assert billed == {Component.ACCELERATOR_HOUR: "0.80", Component.JOB: "0.30", Component.MINIMUM_CHARGE: "0.90"}
    assert worst_case(grant, 1, prices, START).amount == Money(200)
    told = explained_span(span(grant, 0, 360), prices, Buyer(), None)
    assert {one.component: str(one.arithmetic.amount) for one in told if one.arithmetic.amount} == billed
    lacks = told[-1].minimum_charge
    assert lacks is not None
    assert lacks.words.en in PAGE.read_text() and lacks.words.zh in CHINESE.read_text()


@pytest.mark.parametrize("page", [PAGE, CHINESE])
def test_how_a_run_ended_decides_who_bears_it_as_the_pages_say(page: Path) -> None:
    """The first word of a cell is the code's; what is `preempted` has a row for each way in which an offering may be sold."""
    said = {}
    for row in re.findall(
        r"^\| (`[a-z_]+`[^|]*) \| (`(?:organization|provider)`[^|]*) \|([^|]*)\|$", page.read_text(), re.MULTILINE
    ):
        outcome, bearer, reason = (cell.strip().partition(" ")[0].strip("`,") for cell in row)
        only = re.search("`preempted_borne_by`[^|]*`([a-z]+)`", row[0])
        for by in PreemptedBearer if only is None else [PreemptedBearer(only[1])]:
            said[outcome, by] = (bearer, reason)
    code = {(outcome, by): provider_bears(outcome, by) for outcome in Outcome for by in PreemptedBearer}
    assert said == {case: ("provider", reason) if reason else ("organization", "") for case, reason in code.items()}


def test_what_is_beyond_the_grant_is_overrun_as_the_pages_say() -> None:
    grant = Grant(nodes=1, cpus=2, memory_mib=1, max_seconds=600)
    terms = Terms("org", "prj", "prv", price_list(), grant=grant)
    spans = [
        span(grant.model_copy(update={"cpus": cpus}), start, end) for cpus, start, end in ((3, 0, 500), (2, 900, 1100))
    ]
    records = timed([Record("run", None, (one,), terms, None) for one in spans])
    found: Counter[str] = Counter()
    for record in records:
        for portion in portions(record, [PeriodSpan("per", START, START + 2000)]):
            found[portion.key.reason] += portion.quantity if portion.key.component is Component.CPU_CORE_HOUR else 0
    assert found == {"": 1200, "overrun": 700}
    for page in (PAGE, CHINESE):
        assert "500 x 2 + 100 x 2 = 1200" in page.read_text()
        assert "500 x 1 + 100 x 2 = 700" in page.read_text()
