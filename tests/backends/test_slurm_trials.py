"""Claims about Slurm where it can't be set up."""

from collections.abc import Mapping
from typing import Any

import pytest

from bench import slurm_trials
from bench.case import Verdict, trial
from tests.backends.slurm import Cluster, LeftOut, Release


@pytest.mark.parametrize(
    ("ci", "long", "passed"), [("", False, True), ("true", False, False), ("", True, False)], ids=["", "ci", "long"]
)
def test_only_a_short_form_passes_without_slurm_and_not_in_ci(
    monkeypatch: pytest.MonkeyPatch, ci: str, long: bool, passed: bool
) -> None:
    def running(release: Release, changes: Mapping[str, str] | None = None) -> Any:
        raise LeftOut(f"Slurm {release.name}: no mirror")

    async def claim(one: Any, cluster: Cluster, stage: Any) -> Verdict:
        raise AssertionError("there is no cluster")

    monkeypatch.setattr(slurm_trials, "running", running)
    monkeypatch.setenv("CI", ci)
    with trial("slurm", long=long, seed=1, quiet=True) as one:
        verdict = slurm_trials.on_releases(one, claim)
    assert verdict.passed is passed
    assert "left out: Slurm 24.11: no mirror" in verdict.figure
