"""What docs/finance.md says of its examples, in both languages."""

import json
import re
from decimal import Decimal
from pathlib import Path

import pytest

from caravan.contracts.fees import FeeAgreementDraft
from caravan.contracts.tax import TaxRuleDraft
from caravan.kernel.money import Money
from services.accounting.fees.arithmetic import Share, due_of, fee_of
from services.accounting.tax.service import _check
from services.accounting.tax.spreading import spread, tax_of

DOCS = Path(__file__).parents[2] / "docs"
PAGE = DOCS / "finance.md"


def block(name: str) -> str:
    (found,) = re.findall(rf"<!-- {name}: [^>]*-->\n```json\n(.*?)```", PAGE.read_text(), re.DOTALL)
    return json.dumps(json.loads(found))


@pytest.mark.parametrize("page", ["finance.md", "finance.zh.md"])
def test_the_example_comes_to_what_the_page_says(page: str) -> None:
    rule = TaxRuleDraft.model_validate_json(block("rule"))
    _check(rule)
    assert rule.rate == 600
    words = (DOCS / page).read_text()
    rows = [line.strip("| ").split(" | ") for line in words.splitlines() if re.match(r"\| -?\d", line)]
    *lines, total = [
        (Money.parse(amount), exact, Money.parse(tax), Money.parse(net)) for amount, exact, tax, net in rows
    ]
    amounts = [row[0].fen for row in lines]
    assert [row[2].fen for row in lines] == spread(amounts, 600)
    assert total[0].fen == sum(amounts) and total[2].fen == tax_of(total[0].fen, 600)
    for amount, exact, tax, net in (*lines, total):
        assert str((Decimal(amount.fen) * 6 / 106 / 100).quantize(Decimal("0.0001"))) == exact
        assert amount == net + tax
    agreement = FeeAgreementDraft.model_validate_json(block("agreement"))
    fee = Money(fee_of(total[0].fen, agreement.rate, agreement.floor.fen))
    part = Money(tax_of(fee.fen, 600))
    said = re.findall(r"\d+\.\d{2}(?!\d)", words[words.rindex(str(total[0])) :].splitlines()[0])
    assert said == [str(one) for one in (total[0], fee, fee - part, part, total[0] - fee)]


@pytest.mark.parametrize("page", ["finance.md", "finance.zh.md"])
def test_what_is_due_of_a_fee_in_the_example_is_what_the_page_says(page: str) -> None:
    words = (DOCS / page).read_text()
    (example,) = (part for part in words.split("\n\n") if "when_paid" in part and "8.75" in part)
    said = [Money.parse(one).fen for one in re.findall(r"\d+\.\d{2}", example)]
    fee, weight, gross, paid, due = said
    assert due_of(fee, [Share(weight, paid, gross)]) == due
