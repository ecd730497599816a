"""What slurmrestd is asked and answers, as short as it can be: the fields that the adapter reads, in the forms of 22.05 and 24.11."""

from typing import Any

from caravan.contracts.dispatch import Submission
from caravan.contracts.spec import Resources
from caravan.kernel import ids

TAG = "01a210da6c877c0ba6f20b1a0491542a"
SUBMITTED, STARTED, ENDED = 1_795_556_700, 1_795_556_705, 1_795_556_765


def number(value: int | None) -> dict[str, Any]:
    return {"set": value is not None, "infinite": False, "number": value or 0}


def exited(code: int | None, signal: int | None = None) -> dict[str, Any]:
    """v0.0.40 and newer."""
    status = ["SIGNALED"] if signal else ["ERROR"] if code else ["SUCCESS"]
    return {"status": status, "return_code": number(code), "signal": {"id": number(signal), "name": ""}}


def job_2205(state: str, exit_code: int = 0, **other: Any) -> dict[str, Any]:
    return {
        "job_id": 7, "array_job_id": 0, "array_task_id": None, "array_task_string": "", "name": TAG, "comment": "",
        "user_name": "alice", "partition": "batch", "job_state": state, "state_reason": "None", "submit_time": SUBMITTED,
        "start_time": STARTED, "end_time": ENDED, "suspend_time": 0, "pre_sus_time": 0, "exit_code": exit_code, "restart_cnt": 0,
        "tres_alloc_str": "cpu=4,mem=2G,node=2,billing=4,gres/gpu=4,gres/gpu:h100=4",
    } | other  # fmt: skip


def job_2411(state: list[str], exit_code: dict[str, Any] | None = None, **other: Any) -> dict[str, Any]:
    return job_2205("") | {
        "array_job_id": number(0), "array_task_id": number(None), "job_state": state, "submit_time": number(SUBMITTED),
        "start_time": number(STARTED), "end_time": number(ENDED), "suspend_time": number(0), "pre_sus_time": number(0),
        "exit_code": exit_code or exited(0),
    } | other  # fmt: skip


def held() -> dict[str, Any]:
    times = {"start_time": number(0), "end_time": number(0)}
    return job_2411(["PENDING"], **times, state_reason="JobHeldUser", tres_alloc_str="")


def requeued(state: list[str], submitted: int, restarts: int = 1, **other: Any) -> dict[str, Any]:
    """A job that was submitted again at `submitted`; it waits, or runs from five seconds later on."""
    waits = {"start_time": number(0), "end_time": number(0), "tres_alloc_str": ""} if state == ["PENDING"] else {}
    times = {"start_time": number(submitted + 5), "end_time": number(submitted + 65)}
    return job_2411(state) | times | {"submit_time": number(submitted), "restart_cnt": restarts} | waits | other


def in_books(state: Any, exit_code: Any, *, elapsed: int = ENDED - STARTED, **other: Any) -> dict[str, Any]:
    """22.05 writes the state as a word, newer ones as a list."""
    return {
        "job_id": 7, "array": {"job_id": 0, "task_id": None, "task": None}, "name": TAG, "comment": {"job": None}, "user": "alice",
        "partition": "batch", "state": {"current": state, "reason": "None"}, "exit_code": exit_code,
        "time": {"submission": SUBMITTED, "start": STARTED, "end": ENDED, "elapsed": elapsed, "suspended": 0},
        "tres": {"allocated": [
            {"type": "cpu", "name": None, "id": 1, "count": 4}, {"type": "mem", "name": None, "id": 2, "count": 2048},
            {"type": "energy", "name": "", "id": 3, "count": -2}, {"type": "node", "name": "", "id": 4, "count": 2},
            {"type": "billing", "name": "", "id": 5, "count": 4}, {"type": "gres", "name": "gpu", "id": 1001, "count": 4},
            {"type": "gres", "name": "gpu:h100", "id": 1002, "count": 4},
        ]},
    } | other  # fmt: skip


DIAG = {"statistics": {"req_time": number(ENDED + 100)}, "errors": []}
PING = {"pings": [{"hostname": "slurm", "responding": True}], "errors": []}
PARTITIONS: dict[str, Any] = {
    "partitions": [{"name": "batch", "maximums": {"time": number(None)}, "partition": {"state": ["UP"]}}],
    "errors": [],
}
NODES: dict[str, Any] = {
    "nodes": [
        {
            "name": name, "partitions": ["batch"], "cpus": 32, "real_memory": 64000, "gres": "gpu:h100:8(S:0-1)",
            "state": ["MIXED"], "alloc_cpus": 2, "alloc_memory": 4000, "gres_used": "gpu:h100:3(IDX:0-2)",
        }
        for name in ("n1", "n2")
    ],
    "errors": [],
}  # fmt: skip


def submission(**other: Any) -> Submission:
    resources, attempt = Resources(walltime_seconds=60), ids.new("att")
    content: dict[str, Any] = {
        "tag": ids.bare(attempt), "attempt": attempt, "job": ids.new("job"), "tenant": ids.new("ten"),
        "tenant_settings": {"user": "alice"}, "offering": ids.new("off"), "target": {}, "name": "名字", "script": "#!/bin/sh\ntrue\n",
        "environment": {}, "resources": resources, "indices": (0,), "max_parallel": 1,
        "grant": {"nodes": 1, "cpus": 1, "memory_mib": 1024, "max_seconds": 150},
    }  # fmt: skip
    return Submission(**content | other)
