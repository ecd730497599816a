"""The script's bearers and lines beside going second by second, run by run."""

from collections import defaultdict
from fractions import Fraction
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from bench.city.independent.reading import halves_away
from tests.city.told import Fact, charged, event, final, placed, play, price_list, used

WINDOW: Fact = {
    "name": "peak",
    "times": [{"starts": "12:02", "ends": "12:03"}],
    "prices": {"cpu_core_hour": "70", "job": "0.30"},
}
PRICES = {"cpu_core_hour": "40", "node_hour": "7.5"}
BLAMED = {
    "provider": {"site": "site_fault", "preempted": "preempted"},
    "organization": {"site": "site_fault"},
}
"""By who bears what is preempted."""

runs = st.lists(
    st.tuples(
        st.integers(0, 200),
        st.integers(1, 120),
        st.integers(1, 3),
        st.sampled_from(["succeeded", "user", "site", "preempted"]),
    ),
    min_size=1,
    max_size=4,
)


def _usage(number: int, start: int, length: int, cpus: int) -> list[Fact]:
    minute, second = divmod(start, 60)
    facts = used(f"2026-03-06 12:{minute:02}", length, run=f"run_{number}", cpus=cpus, nodes=1)
    for span in facts[0]["data"]["spans"]:
        for side in ("start", "end"):
            at = int(span[side][14:16]) * 60 + int(span[side][17:19]) + second
            span[side] = f"{span[side][:14]}{at // 60:02}:{at % 60:02}Z"
    return facts


def _price(second: int, component: str) -> Fraction:
    prices = PRICES | WINDOW["prices"] if _window(second) == "peak" else PRICES
    return Fraction(prices.get(component, "0"))


def _window(second: int) -> str:
    return "peak" if 120 <= second < 180 else "flat"


def _amount(key: Any, quantity: int) -> int:
    component, window = key[:2]
    price = _price(150 if window == "peak" else 0, component) * 100
    return halves_away(price.numerator * quantity, price.denominator * (1 if component == "job" else 3600))


def _second_by_second(told: list[Any], limit: int, cpus: int, hold: int, preempted: str) -> dict[Any, int]:
    lines: dict[Any, int] = defaultdict(int)
    blamed = BLAMED[preempted]
    counted = [(start, f"run_{number}") for number, (start, *_, end) in enumerate(told) if end not in blamed]
    first, used_up = min(counted, default=None), False
    for second in range(400):
        for number, (start, length, cores, outcome) in enumerate(told):
            if not start <= second < start + length:
                continue
            name, window, held = f"run_{number}", _window(second), {"cpu_core_hour": cores, "node_hour": 1}
            if (second, name) == first:
                held["job"] = 1
            if outcome in blamed:
                own, rest = {}, {(component, blamed[outcome]): count for component, count in held.items()}
            else:
                granted = {"cpu_core_hour": cpus, "node_hour": 1} if second - start < limit else {}
                granted["job"] = 1
                own = {component: min(count, granted.get(component, 0)) for component, count in held.items()}
                rest = {(component, "overrun"): count - own[component] for component, count in held.items()}
                paid = {key: quantity for key, quantity in lines.items() if key[2] == "organization"}
                for component, count in own.items():
                    key = component, window, "organization", None
                    paid[key] = paid.get(key, 0) + count
                used_up = used_up or sum(_amount(key, quantity) for key, quantity in paid.items()) > hold
                if used_up:
                    own, rest = {}, {(component, "overrun"): count for component, count in held.items()}
            for component, count in own.items():
                lines[component, window, "organization", None] += count
            for (component, reason), count in rest.items():
                lines[component, window, "provider", reason] += count
    return {key: quantity for key, quantity in lines.items() if quantity}


@given(
    told=runs,
    limit=st.integers(1, 150),
    cpus=st.integers(1, 3),
    hold=st.integers(0, 400),
    preempted=st.sampled_from(sorted(BLAMED)),
)
@settings(max_examples=60, deadline=None)
def test_as_second_by_second(told: list[Any], limit: int, cpus: int, hold: int, preempted: str) -> None:
    tariff = {"name": "t", "starts_at": "2025-01-01T00:00:00Z", "prices": PRICES, "windows": [WINDOW]}
    grant = {"nodes": 1, "cpus": cpus, "memory_mib": 0, "accelerators": 0, "accelerator": None, "max_seconds": limit}
    attempt = placed(hold=f"{hold // 100}.{hold % 100:02}", grant=grant, preempted_borne_by=preempted)
    facts = [price_list(tariffs=[tariff]), *attempt]
    for number, (start, length, cores, outcome) in enumerate(told):
        facts += _usage(number, start, length, cores)
        facts.append(final(outcome, f"run_{number}"))
    facts.append(event("attempt.ended", attempt="att_1", job="job_1"))
    expected = _second_by_second(told, limit, cpus, hold, preempted)
    found = charged(play(facts))
    assert {key: quantity for key, (quantity, _) in found.items()} == expected
    assert {key: amount for key, (_, amount) in found.items()} == {key: _amount(key, expected[key]) for key in expected}
