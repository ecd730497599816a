"""What the Slurm adapter reads of a whole cluster: what there is, what is free of it, and what is wrong."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from caravan.contracts.offerings import Capacity, PartLimits
from caravan.kernel import clock
from services.broker.adapters.port import Unavailable
from services.broker.adapters.slurm import health
from services.broker.adapters.slurm.errors import Answer
from services.broker.adapters.slurm.inventory import first_gres, item, parts, why_not
from services.broker.adapters.slurm.rest import Rest
from services.broker.adapters.slurm.settings import Settings
from services.broker.adapters.slurm.site_clock import SiteClock
from tests.broker.slurm_answers import NODES, PARTITIONS, number, submission
from tests.broker.slurm_double import SlurmDouble
from tests.broker.test_slurm_sick import opened


def test_what_slurm_would_let_wait_for_ever_is_refused() -> None:
    have = parts(PARTITIONS["partitions"], NODES["nodes"])
    assert [(part.nodes, part.cpus, part.gres, part.accelerators, part.limit_minutes) for part in have] == [
        (2, 32, "gpu:h100", 8, None)
    ]
    fits = submission().grant
    assert why_not(fits, 1, None, "batch", have) is None
    assert why_not(fits, 1, "gpu:h100", "batch", have) is None
    assert "partition" in (why_not(fits, 1, None, "other", have) or "")
    assert "33 CPUs" in (why_not(fits.model_copy(update={"cpus": 33}), 1, None, "batch", have) or "")
    assert "3 nodes" in (why_not(fits.model_copy(update={"nodes": 3, "cpus": 3}), 1, None, "batch", have) or "")
    assert why_not(fits, 1, "npu", "batch", have) is not None
    small = [replace(part, limits=PartLimits(nodes=1, cpus_per_node=8, memory_mib_per_node=60_000)) for part in have]
    assert why_not(fits, 1, None, "batch", small) is None
    assert "limit of 1 nodes" in (
        why_not(fits.model_copy(update={"nodes": 2, "cpus": 2}), 1, None, "batch", small) or ""
    )
    assert "9 CPUs" in (why_not(fits.model_copy(update={"cpus": 9}), 1, None, "batch", small) or "")
    assert "60001 MiB" in (why_not(fits.model_copy(update={"memory_mib": 60_001}), 1, None, "batch", small) or "")
    large = [replace(part, limits=PartLimits(cpus_per_node=64, memory_mib_per_node=1_000_000)) for part in have]
    assert "33 CPUs" in (why_not(fits.model_copy(update={"cpus": 33}), 1, None, "batch", large) or "")
    assert "900000 MiB" in (why_not(fits.model_copy(update={"memory_mib": 900_000}), 1, None, "batch", large) or "")
    two = fits.model_copy(update={"nodes": 2, "cpus": 2})
    assert why_not(two, 1, None, None, [*small, replace(have[0], partition="wide")]) is None
    assert [first_gres(text) for text in ("gpu:8", "npu", "")] == [("gpu", 8), ("npu", 1), ("", 0)]


OLD_PARTITION = {
    "name": "batch", "max_time_limit": 4320, "maximum_nodes_per_job": 2, "maximum_cpus_per_node": -1,
    "maximum_memory_per_node": None, "state": "UP",
}  # fmt: skip
NEW_PARTITION = {
    "name": "batch", "partition": {"state": ["UP"]},
    "maximums": {
        "time": number(4320), "nodes": number(2), "cpus_per_node": {"set": False, "infinite": True, "number": 0},
        "partition_memory_per_node": number(0),
    },
}  # fmt: skip


@pytest.mark.parametrize(
    ("partition", "drained"),
    [(OLD_PARTITION, {"state": "idle", "state_flags": ["DRAIN"]}), (NEW_PARTITION, {"state": ["IDLE", "DRAIN"]})],
)
def test_what_is_free_drained_and_allowed_is_read(partition: dict[str, Any], drained: dict[str, Any]) -> None:
    busy, out = NODES["nodes"][0], NODES["nodes"][1] | drained
    (found,) = map(item, parts([partition], [busy, out]))
    assert (found.nodes, found.nodes_out) == (2, 1)
    assert found.free == Capacity(cpus=30, memory_mib=60_000, accelerators=5)
    assert found.limits == PartLimits(nodes=2, walltime_seconds=259_200)
    closed = partition | {"state": "DOWN", "partition": {"state": ["DOWN"]}}
    (found,) = map(item, parts([closed], [busy, out]))
    assert (found.nodes_out, found.free) == (2, Capacity(cpus=0, memory_mib=0))


@pytest.mark.parametrize("version", ["v0.0.38", "v0.0.42"])
async def test_a_probe_names_what_is_wrong(version: str, tmp_path: Path) -> None:
    double = SlurmDouble(version)
    async with double.listening(), opened(double.url, tmp_path) as backend:
        assert await backend.probe() == ()
        double.ahead = -9
        (said,) = await backend.probe()
        assert "behind" in said
        assert "慢" in said
        double.ahead, double.clusters = 0, ["other"]
        (said,) = await backend.probe()
        assert "caravan" in said
        assert "other" in said
        double.clusters = None
        (said,) = await backend.probe()
        assert "slurmdbd can't be asked" in said
        double.controller = False
        with pytest.raises(Unavailable, match="slurmctld"):
            await backend.probe()


@pytest.mark.parametrize(
    ("second", "told"),
    [
        (1000, ""),
        (1030, ""),
        (1034, ""),
        (1035, "5 s or more ahead of"),
        (1089, "5 s or more ahead of"),
        (1090, "60 s or more ahead of"),
        (996, ""),
        (995, "5 s or more behind"),
        (941, "5 s or more behind"),
        (-9000, "3600 s or more behind"),
    ],
)
async def test_only_what_no_late_answer_explains_is_a_wrong_clock(
    second: int, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is asked at the platform's second 1000 and has answered at 1030."""

    class Late:
        async def ask(self) -> int:
            monkeypatch.setattr(clock, "now", lambda: clock.from_seconds(1030))
            return second

    class Well:
        async def read(self, path: str, *, books: bool = False) -> Answer:
            return Answer(200, {"clusters": [{"name": "caravan"}]}, ())

    settings = SimpleNamespace(cluster="caravan")
    monkeypatch.setattr(clock, "now", lambda: clock.from_seconds(1000))
    found = await health.faults(cast(Rest, Well()), cast(SiteClock, Late()), cast(Settings, settings))
    assert [told in one for one in found] == ([True] if told else [])
