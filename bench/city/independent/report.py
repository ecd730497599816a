"""What was compared, and each difference."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from bench.city.independent.reading import Fact, yuan


@dataclass(frozen=True, slots=True)
class Difference:
    """One claim that isn't what was computed. None: there is no such thing on that side."""

    kind: str
    key: str
    claimed: Any
    computed: Any


@dataclass(slots=True)
class Report:
    """What was compared of each kind, and what differs."""

    compared: Counter[str] = field(default_factory=Counter)
    differences: list[Difference] = field(default_factory=list)

    def hold(self, kind: str, key: object, claimed: Any, computed: Any) -> None:
        """Compare one thing; of two objects, field by field."""
        self.compared[kind] += 1
        if claimed == computed:
            return
        if isinstance(claimed, dict) and isinstance(computed, dict):
            for name in claimed.keys() | computed.keys():
                if claimed.get(name) != computed.get(name):
                    self._differ(kind, f"{key}: {name}", claimed.get(name), computed.get(name))
        else:
            self._differ(kind, str(key), claimed, computed)

    def hold_some(self, kind: str, key: str, claim: Fact | None, computed: dict[str, Any]) -> None:
        """Compare those fields of a claim that were computed."""
        self.hold(kind, key, claim and {name: claim.get(name) for name in computed}, computed)

    def _differ(self, kind: str, key: str, claimed: Any, computed: Any) -> None:
        self.differences.append(Difference(kind, key, claimed, computed))


def name(number: int) -> str:
    """2026-03 of a month."""
    return f"{number // 12}-{number % 12 + 1:02}"


def money(amount: int | None) -> str | None:
    """An amount in CNY with two places, where there is one."""
    return None if amount is None else yuan(amount)
