"""What a case is: a claim, the goal it is held to, and a function that tries it and returns the figure.

    @case("one-answer-per-key", claim="One Idempotency-Key, 20 clients at once: one job, one answer", goal="1 job, 1 answer")
    def one_answer_per_key(trial: Trial) -> Verdict:
        ...
        return Verdict(passed=jobs == 1 and len(answers) == 1, figure=f"{jobs} job, {len(answers)} answer")

A case runs in a short form in the test suite (`trial.long` is false) and in its long form in `make prove`. It draws all chance from
`trial.random`, prints progress by `trial.say`, and leaves nothing running.
"""

import random
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from caravan.kernel import clock


@dataclass(frozen=True)
class Verdict:
    """What a trial found. `details` go into the result file: tables, ratios, profiles."""

    passed: bool
    figure: str
    details: dict[str, Any] = field(default_factory=dict)


@dataclass
class Trial:
    """One run of a case: its seed, its folder (removed afterwards), and whether it is the long form."""

    name: str
    long: bool
    seed: int
    folder: Path
    quiet: bool = False
    began: float = field(default_factory=clock.monotonic)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)

    def say(self, text: str) -> None:
        """Progress, on stderr."""
        if not self.quiet:
            print(f"  {clock.monotonic() - self.began:6.1f} s  {text}", file=sys.stderr, flush=True)


@dataclass(frozen=True)
class Case:
    """A claim that can be tried."""

    name: str
    claim: str
    goal: str
    run: Callable[[Trial], Verdict]


CASES: dict[str, Case] = {}


def case(name: str, *, claim: str, goal: str) -> Callable[[Callable[[Trial], Verdict]], Callable[[Trial], Verdict]]:
    """Register a function as a case."""

    def register(function: Callable[[Trial], Verdict]) -> Callable[[Trial], Verdict]:
        if name in CASES:
            raise ValueError(f"two cases are named {name}")
        CASES[name] = Case(name, claim, goal, function)
        return function

    return register


@contextmanager
def trial(name: str, *, long: bool, seed: int, quiet: bool = False) -> Iterator[Trial]:
    """A trial with a folder of its own."""
    with tempfile.TemporaryDirectory(prefix=f"caravan-{name}-") as folder:
        yield Trial(name, long, seed, Path(folder), quiet)
