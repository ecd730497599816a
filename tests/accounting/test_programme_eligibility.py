"""Whether an enterprise may have a voucher; each refusal says what would meet the rule. Pure."""

from datetime import date
from typing import Any

import pytest

from caravan.contracts.programmes import EligibilityRule, Enterprise
from services.accounting.programmes.eligibility import months_after, unmet
from tests.accounting.programmes_cases import programme

ON = date(2026, 3, 31)
SUPPLIER = f"prv_{1:032x}"


def enterprise(**changes: Any) -> Enterprise:
    plain = {
        "place": "610113",
        "industry": "I6513",
        "size": "small",
        "registered_on": "2024-02-29",
        "clear_credit": True,
    }
    return Enterprise.model_validate(plain | changes)


@pytest.mark.parametrize(
    ("rules", "changes", "met"),
    [
        ({"places": ["610100"]}, {}, True),
        ({"places": ["610000"]}, {}, True),
        ({"places": ["610113"]}, {}, True),
        ({"places": ["610112", "620000"]}, {}, False),
        ({"industries": ["I65"]}, {}, True),
        ({"industries": ["I651", "C"]}, {"industry": "I65"}, False),
        ({"sizes": ["small", "micro"]}, {}, True),
        ({"sizes": ["large"]}, {}, False),
        ({"oldest_months": 25}, {}, False),
        ({"oldest_months": 25}, {"registered_on": "2024-03-01"}, True),
        ({"oldest_months": 25}, {"registered_on": "2024-02-28"}, False),
        ({"youngest_months": 25}, {}, True),
        ({"youngest_months": 25}, {"registered_on": "2024-03-01"}, False),
        ({"clear_credit": True}, {}, True),
        ({"clear_credit": True}, {"clear_credit": False}, False),
        ({"clear_credit": False}, {"clear_credit": False}, True),
        ({"suppliers": [SUPPLIER], "unaffiliated": True}, {"affiliates": [SUPPLIER]}, False),
        ({"suppliers": [SUPPLIER], "unaffiliated": True}, {}, True),
        ({"suppliers": [SUPPLIER]}, {"affiliates": [SUPPLIER]}, True),
    ],
)
def test_a_rule_is_met_or_named(rules: dict[str, Any], changes: dict[str, Any], met: bool) -> None:
    named = [one.rule for one in unmet(programme(eligibility=rules), enterprise(**changes), None, ON)]
    assert named == ([] if met else [next(iter(rules))])


def test_each_refusal_says_what_is_so_and_what_would_do() -> None:
    rules = {"places": ["610100"], "sizes": ["micro"], "youngest_months": 26, "uses": ["训练", "推理"]}
    told = unmet(programme(eligibility=rules), enterprise(place="110105"), "其他", ON)
    assert [(one.rule, one.words.zh, one.words.en) for one in told] == [
        (
            EligibilityRule.PLACES,
            "注册地须在行政区划 610100（GB/T 2260）内，现为 110105",
            "It must be registered in 610100 (GB/T 2260), and is registered in 110105",
        ),
        (EligibilityRule.SIZES, "企业规模须为微型，现为小型", "Its size must be micro, and is small"),
        (
            EligibilityRule.YOUNGEST,
            "注册须满 26 个月，可自 2026-04-29 起申请",
            "It must have been registered for 26 months: apply from 2026-04-29 on",
        ),
        (EligibilityRule.USES, "用途须为以下之一：训练, 推理", "Give one of these as its use: 训练, 推理"),
    ]


def test_months_are_counted_to_the_same_day_or_the_months_last() -> None:
    assert months_after(date(2026, 1, 31), 1) == date(2026, 2, 28)
    assert months_after(date(2024, 2, 29), 12) == date(2025, 2, 28)
    assert months_after(date(2026, 12, 5), 1) == date(2027, 1, 5)
