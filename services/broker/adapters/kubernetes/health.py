"""What is wrong at a cluster that can be asked. Pure."""

from collections.abc import Collection, Iterable, Sequence
from typing import Final

from services.broker.adapters.kubernetes.clocks import LAG_SECONDS
from services.broker.adapters.kubernetes.inventory import Node

SLOW_SECONDS: Final = 2.0
SKEW_SECONDS: Final = (5, 60, 3600)
"""It is told by the largest of these that it is over: the same trouble has the same words, and is news once."""
NAMED: Final = 5
"""So many nodes have their name in a line."""


def faults(
    seconds: float,
    ahead_seconds: int,
    nodes: Sequence[Node],
    watches: Iterable[Exception | None],
    silent: Collection[str] = (),
    wrong: Collection[str] = (),
    failing: Iterable[str] = (),
) -> tuple[str, ...]:
    """In words of both languages. `seconds`: how long an answer took; `ahead_seconds`: of our clock, negative where it is behind;
    `silent`: nodes that aren't heard of, with runs on them; `wrong`: those whose clocks must be; `failing`: names of the adapter's own
    loops."""
    return (
        *_slow(seconds),
        *_skew(ahead_seconds),
        *_nodes(nodes),
        *_silent(silent),
        *_wrong(wrong),
        *(_watch(fault) for fault in watches if fault is not None),
        *(_loop(name) for name in failing),
    )


def _slow(seconds: float) -> list[str]:
    if seconds < SLOW_SECONDS:
        return []
    return [
        f"API 服务器响应缓慢（超过 {SLOW_SECONDS:.0f} 秒） the API server takes more than {SLOW_SECONDS:.0f} s to answer"
    ]


def _skew(ahead: int) -> list[str]:
    """Times of runs are by the cluster's clock, and prices by the calendar."""
    told = [seconds for seconds in SKEW_SECONDS if seconds <= abs(ahead)]
    if not told:
        return []
    chinese, english = ("快", "ahead of") if ahead > 0 else ("慢", "behind")
    return [f"集群时钟比平台{chinese} {told[-1]} 秒以上 its clock is {told[-1]} s or more {english} the platform's"]


def _nodes(nodes: Sequence[Node]) -> list[str]:
    if nodes and all(one.out for one in nodes):
        return ["没有节点可以运行作业 none of its nodes takes jobs"]
    return [] if nodes else ["集群没有节点 the cluster has no nodes"]


def _silent(names: Collection[str]) -> list[str]:
    """Nobody but the centre knows that a node won't come back."""
    if not names:
        return []
    told = _some(names)
    return [
        f"节点失联，其上的运行自失联起不再计费，直到恢复或其 Node 对象被删除：{told} "
        f"nodes are silent, and what ran there isn't billed from then on until they speak or their Node objects are deleted: {told}"
    ]


def _wrong(names: Collection[str]) -> list[str]:
    """Of what ran there the times are only known to within what can be."""
    if not names:
        return []
    told = _some(names)
    return [
        f"节点时钟与集群相差超过 {LAG_SECONDS} 秒，其上运行的时间已按集群时钟校正：{told} "
        f"clocks of nodes are more than {LAG_SECONDS} s off the cluster's, and the times of what ran there were put right by that: {told}"
    ]


def _some(names: Collection[str]) -> str:
    told = sorted(names)
    return ", ".join(told[:NAMED]) + (", …" if len(told) > NAMED else "")


def _watch(fault: Exception) -> str:
    return f"无法监视集群 the cluster can't be watched: {fault}"


def _loop(name: str) -> str:
    return f"适配器自身的任务出错，见日志 a task of the adapter itself fails, see its log: {name}"
