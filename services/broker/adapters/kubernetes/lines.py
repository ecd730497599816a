"""All that waits at Kueue's queues, whoever's it is, in the order in which Kueue looks at it. Pure.

The order is that of Kueue 0.17 (`baseCompareFunc`; its API of pending workloads, which few clusters serve, has the same): a higher
priority first, then who waits longer, then by uid. Who was taken back since its pods weren't ready, or by an admission check, waits since
then; all others, the preempted too, since they were made. What a centre may turn on beside is not looked at: the boost of a priority, and
the order by usage among LocalQueues (AdmissionFairSharing).
"""

from bisect import bisect_left, insort
from collections import defaultdict
from collections.abc import Collection, Mapping
from typing import Any, Final, NamedTuple

BACK_IN_LINE: Final = frozenset({"PodsReadyTimeout", "AdmissionCheck"})
"""Reasons of evictions after which a Workload waits anew."""


class LocalQueue(NamedTuple):
    namespace: str
    name: str


class Turn(NamedTuple):
    """When it's the turn of a Workload: the lowest is next."""

    below: int
    """Its priority, negative."""
    since: str
    """By the API server's writing: RFC 3339 in whole seconds of UTC, which sorts as it is."""
    uid: str


def turn(content: Mapping[str, Any]) -> Turn | None:
    """None: it doesn't wait, or not any more. Raises as `records`."""
    meta, spec, status = content["metadata"], content["spec"], content.get("status") or {}
    conditions = {one["type"]: one for one in status.get("conditions") or () if one["status"] == "True"}
    if spec.get("active") is False or not conditions.keys().isdisjoint({"QuotaReserved", "Finished"}):
        return None
    evicted = conditions.get("Evicted", {})
    again = evicted["lastTransitionTime"] if evicted.get("reason") in BACK_IN_LINE else None
    return Turn(-(spec.get("priority") or 0), again or meta["creationTimestamp"], meta["uid"])


class Lines:
    """Each LocalQueue's, and together each ClusterQueue's: a change or a look costs by the queues that lead to the same one, not by what
    waits there."""

    def __init__(self) -> None:
        self._lines: dict[LocalQueue, list[Turn]] = defaultdict(list)
        self._waiting: dict[str, tuple[LocalQueue, Turn]] = {}
        self.moved = False
        """Something came or went. Whoever looks at that clears it."""

    def take(self, content: Mapping[str, Any], *, gone: bool = False) -> None:
        """A Workload as it is now. Raises as `records`."""
        found = None if gone else turn(content)
        queue = LocalQueue(content["metadata"]["namespace"], content["spec"].get("queueName") or "")
        now = (queue, found) if found is not None else None
        uid = content["metadata"]["uid"]
        if now == self._waiting.get(uid):
            return
        self._leave(uid)
        if now is not None:
            self._waiting[uid] = now
            insort(self._lines[queue], now[1])
            self.moved = True

    def keep(self, uids: Collection[str]) -> None:
        """These are all that there are."""
        for uid in self._waiting.keys() - set(uids):
            self._leave(uid)

    def _leave(self, uid: str) -> None:
        if uid not in self._waiting:
            return
        queue, turn = self._waiting.pop(uid)
        line = self._lines[queue]
        del line[bisect_left(line, turn)]
        if not line:
            del self._lines[queue]
        self.moved = True

    def waits(self, uid: str) -> bool:
        return uid in self._waiting

    def place(self, uid: str, behind: Mapping[LocalQueue, str]) -> int | None:
        """In its ClusterQueue, from 1. `behind`: the ClusterQueue that each LocalQueue leads to. None: it doesn't wait, or nobody knows
        where."""
        if uid not in self._waiting:
            return None
        queue, turn = self._waiting[uid]
        if queue not in behind:
            return None
        beside = (line for one, line in self._lines.items() if behind.get(one) == behind[queue])
        return 1 + sum(bisect_left(line, turn) for line in beside)


def told(place: int) -> int:
    """Rounded down to its first digit: 7, 10 for 10 to 19, 200 for 200 to 299. So what waits at place 2,000 is told some thirty others
    until it's its turn, however fast the queue moves, and the nearer that is the more exactly."""
    step: int = 10 ** (len(str(place)) - 1)
    return place // step * step
