"""Nodes that are nowhere: kwok answers for them, and lets their pods pass through the phases of real ones.

A pod there runs for its annotation RUN (milliseconds, a second without it) and ends with its annotation EXIT (0 without it). One that
is deleted goes at once, one that restarts always never ends, and nothing has a log.
"""

import json
from typing import Any

from tests.backends.kubernetes.configuration import FAKE, GPU, GPU_MODEL

RUN = "caravan.test/run-ms"
EXIT = "caravan.test/exit"
TAINT = {"key": FAKE, "effect": "NoSchedule"}
"""What a pod must tolerate to be put there."""

NODE_READY = """\
conditions:
- {type: Ready, status: "True", reason: KubeletReady, lastHeartbeatTime: {{ Now | Quote }}, lastTransitionTime: {{ Now | Quote }}}
"""

POD_RUNS = """\
phase: Running
startTime: {{ Now | Quote }}
conditions:
{{ range list "Initialized" "ContainersReady" "Ready" }}
- {type: {{ . }}, status: "True", lastTransitionTime: {{ Now | Quote }}}
{{ end }}
containerStatuses:
{{ range .spec.containers }}
- name: {{ .name | Quote }}
  image: {{ .image | Quote }}
  imageID: ""
  ready: true
  started: true
  restartCount: 0
  state: {running: {startedAt: {{ Now | Quote }}}}
{{ end }}
"""

POD_ENDS = """\
{{ $code := or (index (or .metadata.annotations dict) "EXIT") "0" }}
{{ $began := .status.startTime }}
phase: {{ if eq $code "0" }}Succeeded{{ else }}Failed{{ end }}
conditions:
{{ range list "ContainersReady" "Ready" }}
- {type: {{ . }}, status: "False", reason: PodCompleted, lastTransitionTime: {{ Now | Quote }}}
{{ end }}
containerStatuses:
{{ range .spec.containers }}
- name: {{ .name | Quote }}
  image: {{ .image | Quote }}
  imageID: ""
  ready: false
  started: false
  restartCount: 0
  state:
    terminated:
      exitCode: {{ $code }}
      reason: {{ if eq $code "0" }}Completed{{ else }}Error{{ end }}
      startedAt: {{ $began | Quote }}
      finishedAt: {{ Now | Quote }}
{{ end }}
""".replace("EXIT", EXIT)


def stages() -> str:
    """How kwok leads nodes and pods on."""
    ready = '.status.conditions.[] | select(.type == "Ready") | .status'
    run = f'.metadata.annotations["{RUN}"] | if . then . + "ms" else null end'
    there, deleted = ({"key": ".metadata.deletionTimestamp", "operator": o} for o in ("DoesNotExist", "Exists"))
    stages = [
        _stage("node-ready", "Node", [_one_of(ready, "True", operator="NotIn")], {"statusTemplate": NODE_READY}),
        _stage("pod-runs", "Pod", [there, _one_of(".status.phase", "Pending")], {"statusTemplate": POD_RUNS}),
        _stage(
            "pod-ends",
            "Pod",
            [there, _one_of(".status.phase", "Running"), _one_of(".spec.restartPolicy", "Never", "OnFailure")],
            {"statusTemplate": POD_ENDS},
            delay={"durationMilliseconds": 1000, "durationFrom": {"expressionFrom": run}},
        ),
        _stage("pod-goes", "Pod", [deleted], {"finalizers": {"empty": True}, "delete": True}),
    ]
    return "\n---\n".join(map(json.dumps, stages))


def node(name: str, gpus: int, model: str) -> dict[str, Any]:
    """A node of 192 cores and 2 TiB."""
    resources = {"cpu": "192", "memory": "2Ti", "pods": "250", GPU: str(gpus)}
    return {
        "metadata": {"name": name, "labels": {FAKE: "", "kubernetes.io/hostname": name, GPU_MODEL: model}},
        "spec": {"taints": [TAINT]},
        "status": {"capacity": resources, "allocatable": resources},
    }


def _one_of(key: str, *values: str, operator: str = "In") -> dict[str, Any]:
    return {"key": key, "operator": operator, "values": values}


def _stage(name: str, kind: str, selects: list[Any], then: dict[str, Any], **how: Any) -> dict[str, Any]:
    return {
        "apiVersion": "kwok.x-k8s.io/v1alpha1",
        "kind": "Stage",
        "metadata": {"name": name},
        "spec": {
            "resourceRef": {"apiGroup": "v1", "kind": kind},
            "selector": {"matchExpressions": selects},
            "next": then,
            **how,
        },
    }
