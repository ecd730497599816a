"""What docs/resale.md says of its examples."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from caravan.contracts.dispatch import Grant
from caravan.contracts.prices import Buyer, Buyers, PriceList, PriceListDraft
from caravan.contracts.resale import ResaleAgreementDraft
from caravan.kernel.money import Money
from caravan.pricing import prices_for, reference_price, worst_case
from caravan.pricing.resale import holds, sells
from tests.pricing.cases import ACCELERATOR, START, at, price_list, tariff
from tests.pricing.test_docs import fenced

PAGE = Path(__file__).parents[2] / "docs" / "resale.md"
GRANT = Grant(nodes=1, cpus=1, memory_mib=1, accelerators=8, accelerator=ACCELERATOR, max_seconds=4 * 3600)


def sides() -> Iterator[PriceList]:
    """The lists of the page: retail for a member, wholesale for the reseller."""
    agreement = ResaleAgreementDraft.model_validate(json.loads(fenced(PAGE, "agreement", "json")))
    for name, buyer in (("retail", agreement.members[0]), ("wholesale", agreement.reseller)):
        draft = PriceListDraft.model_validate(json.loads(fenced(PAGE, name, "json")))
        assert draft.reseller == (agreement.reseller if name == "retail" else None)
        yield prices_for(price_list(*draft.tariffs), Buyer(organization=buyer))


@pytest.mark.parametrize("page", [PAGE, PAGE.with_suffix(".zh.md")])
def test_both_sets_cost_what_the_pages_say(page: Path) -> None:
    retail, wholesale = sides()
    text = page.read_text()
    for prices, held in ((retail, "230.92"), (wholesale, "192.02")):
        assert str(worst_case(GRANT, 1, prices, START).amount) == held
        assert f" {held} |" in text or f"：{held} |" in text
    billed = [reference_price(GRANT, 3 * 3600, prices, START) for prices in (retail, wholesale)]
    assert billed == [Money(173_30), Money(144_00)]
    for words in ("8 x 3 x 7.20 + 0.50 = 173.30", "8 x 3 x 6.00 = 144.00", str(Money(173_30 - 144_00))):
        assert words in text


def test_a_list_sells_while_one_of_its_tariffs_lasts_for_whomever() -> None:
    once, for_good = tariff("once", 0, 10, job="1"), tariff("for-good", 20, None, job="1")
    assert [[holds(one, at(second)) for second in (-1, 0, 9, 10)] for one in (once, for_good)] == [
        [False, True, True, False],
        [False, False, False, False],
    ]
    assert holds(for_good, at(20)) and holds(for_good, at(10**6))
    some = PriceListDraft(
        tariffs=(once.model_copy(update={"buyers": Buyers(classes=("small",))}), for_good),
    )
    assert [sells(some, at(second)) for second in (-1, 0, 10, 19, 20)] == [False, True, False, False, True]
    assert not sells(None, at(0))
