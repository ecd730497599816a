"""What the guide for Slurm sites shows is what the adapter takes."""

import json
import re
from pathlib import Path

import pytest

from services.broker.adapters.slurm.settings import Apptainer, Bundles, Settings, Target

DOCS = Path(__file__).parents[2] / "docs"


def shown(guide: str, what: str) -> str:
    found = re.search(rf"<!-- {what}: .*?-->\n```json\n(.*?)```", (DOCS / guide).read_text(), re.S)
    assert found is not None
    return found[1]


@pytest.mark.parametrize("guide", ["slurm.md", "slurm.zh.md"])
def test_the_settings_of_the_guide_are_taken(guide: str) -> None:
    site = Settings.model_validate_json(shown(guide, "site"))
    assert set(site.partitions) == {"gpu", "whole"}
    assert Apptainer.model_validate_json(shown(guide, "containers")).accelerator_options.keys() == {
        partition.accelerator for partition in site.partitions.values() if partition.accelerator
    }
    assert Bundles.model_validate_json(shown(guide, "bundles")).images == ("/shared/bundles",)
    offering = json.loads(shown(guide, "target"))
    for field, values in offering["choices"].items():
        for value in values:
            Target.model_validate(offering["target"] | {field: value})
