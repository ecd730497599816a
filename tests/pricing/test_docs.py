"""What docs/prices.md says of its example."""

import json
import re
from collections import Counter
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from caravan.contracts.dispatch import Grant
from caravan.contracts.jobs import Outcome
from caravan.contracts.prices import Component, PriceListDraft
from caravan.kernel.clock import to_seconds
from caravan.kernel.money import Money
from caravan.pricing import amount, quantities, unit_price, worst_case
from services.accounting.charging.lines import PeriodSpan, Record, Terms, first_start, portions, starting
from tests.pricing.cases import ACCELERATOR, START, price_list, span

PAGE = Path(__file__).parents[2] / "docs" / "prices.md"


def example(name: str) -> PriceListDraft:
    """The price list on the page that is marked so."""
    (block,) = re.findall(rf"<!-- {name}: [^>]*-->\n```json\n(.*?)```", PAGE.read_text(), re.DOTALL)
    return PriceListDraft.model_validate(json.loads(block))


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
