"""The short form of every claim that `make prove` holds in its long form."""

import pytest

from bench.case import trial
from bench.prove import load

CASES = load()


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(CASES))
def test_the_short_form_of_a_claim_passes(name: str) -> None:
    with trial(name, long=False, seed=1, quiet=True) as one:
        verdict = CASES[name].run(one)
    assert verdict.passed, f"{CASES[name].claim}: {verdict.figure} (goal: {CASES[name].goal})"
