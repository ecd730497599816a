"""The node's own record of its containers, which owes nothing to the apiserver or the kubelet.

containerd's events say when each started and ended; `runc.sh` kept what each was made of.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

NODE_ENDED = "/node/ended"
"""The topic of the line that stands for all ends that containerd couldn't see."""


@dataclass(frozen=True, slots=True)
class Container:
    """A run of a pod's container: each restart is one of its own."""

    pod_uid: str
    pod: str
    namespace: str
    name: str
    argv: tuple[str, ...]
    environment: dict[str, str]
    cpus: float
    memory_mib: float
    """What its control group allows it."""
    started: datetime
    ended: datetime | None = None
    """None while it runs."""
    exit_code: int | None = None
    """128 and the signal's number for one ended by a signal. None too when it ended with its node."""
    out_of_memory: bool = False


def recorded(node: Path) -> list[Container]:
    """What is in the node's folder. A pod's own sandbox is no container here."""
    found: dict[str, Container] = {}
    for at, topic, event in _events(node / "events"):
        if topic == NODE_ENDED:
            found = {key: each if each.ended else replace(each, ended=at) for key, each in found.items()}
            continue
        key = str(event.get("container_id"))
        if topic == "/tasks/start":
            container = _started(node / "containers" / f"{key}.json", at)
            if container:
                found[key] = container
        elif key in found and topic == "/tasks/oom":
            found[key] = replace(found[key], out_of_memory=True)
        elif key in found and topic == "/tasks/exit" and event["id"] == key:  # else it's of a command run in it
            ended = datetime.fromisoformat(event["exited_at"])
            found[key] = replace(found[key], ended=ended, exit_code=event.get("exit_status", 0))
    return list(found.values())


def note_end(node: Path, at: datetime) -> None:
    """Let the record say that the node has ended, and with it whatever ran there."""
    with (node / "events").open("a") as events:
        events.write(f"{at:%Y-%m-%d %H:%M:%S.%f} +0000 UTC - {NODE_ENDED} {{}}\n")


def _events(record: Path) -> Iterator[tuple[datetime, str, dict[str, Any]]]:
    lines = record.read_text().split("\n") if record.exists() else [""]
    for line in lines[:-1]:  # the last one isn't whole yet
        day, time, zone, _, _, topic, event = line.split(" ", 6)
        yield datetime.fromisoformat(f"{day}T{time}{zone}"), topic, json.loads(event)


def _started(made_of: Path, at: datetime) -> Container | None:
    """The container of that bundle's configuration (config.json of the OCI's runtime specification); None for a sandbox."""
    spec = json.loads(made_of.read_text())
    says = {name.removeprefix("io.kubernetes.cri."): value for name, value in spec["annotations"].items()}
    if says["container-type"] != "container":
        return None
    (pod_uid,) = re.findall(r"/pod([^/]+)/", spec["linux"]["cgroupsPath"])
    allowed = spec["linux"]["resources"]
    return Container(
        cpus=allowed.get("cpu", {}).get("quota", 0) / allowed.get("cpu", {}).get("period", 1),
        memory_mib=allowed.get("memory", {}).get("limit", 0) / 2**20,
        pod_uid=pod_uid,
        pod=says["sandbox-name"],
        namespace=says["sandbox-namespace"],
        name=says["container-name"],
        argv=tuple(spec["process"]["args"]),
        environment=dict(variable.split("=", 1) for variable in spec["process"]["env"]),
        started=at,
    )
