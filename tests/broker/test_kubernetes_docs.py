"""What the guide for Kubernetes sites shows is what the adapter takes."""

import re
from pathlib import Path

import pytest

from caravan.reconcile import pods, record
from caravan.reconcile.containers import Container
from services.broker.adapters.kubernetes.settings import MODEL_LABELS, Settings, Target

DOCS = Path(__file__).parents[2] / "docs"


def shown(guide: str, what: str, form: str = "json") -> str:
    found = re.search(rf"<!-- {what}: .*?-->\n```{form}\n(.*?)```", (DOCS / guide).read_text(), re.S)
    assert found is not None
    return found[1]


@pytest.mark.parametrize("guide", ["kubernetes.md", "kubernetes.zh.md"])
def test_the_settings_of_the_guide_are_taken(guide: str) -> None:
    site = Settings.model_validate_json(shown(guide, "site"))
    assert site.images and site.slices and site.disk_mib
    assert site.labels == {**MODEL_LABELS, "hygon.com/dcu": "hygon.com/dcu.name"}
    target = Target.model_validate_json(shown(guide, "target"))
    assert target.node_selector and target.tolerations and target.image_pull_secrets
    text = (DOCS / guide).read_text()
    for way in ("server", "kubeconfig", "in-cluster"):
        assert f'"by": "{way}"' in text
    told = {"keep_output_seconds": 7 * 86_400, "keep_output_mib": 64, "keep_jobs_seconds": 86_400}
    for name, value in told.items():
        assert Settings.model_fields[name].default == value and f"`{name}`" in text
    assert Settings.model_validate_json(shown(guide, "site")[:-2] + ', "queue": "caravan"}').queue == "caravan"


@pytest.mark.parametrize("guide", ["kubernetes.md", "kubernetes.zh.md"])
def test_the_record_of_the_guide_can_be_read_and_kubectl_is_asked_as_it_says(guide: str) -> None:
    (one,) = record.containers(shown(guide, "record", "csv").splitlines())
    assert isinstance(one, Container) and one.started is not None and one.ended is not None
    assert (one.nodes, one.cpus, one.memory_mib, one.ended - one.started, one.lost) == (1, 4, 16_384, 760, False)
    text = (DOCS / guide).read_text()
    assert f"`{' '.join(pods.ASK)}`" in text
    for name in ("CARAVAN_SITE", "CARAVAN_SUBMISSION", "CARAVAN_NODES", "CARAVAN_NODE_RANK"):
        assert name in text
    for option in ("--pods FILE", "--containers FILE"):
        assert option in text
