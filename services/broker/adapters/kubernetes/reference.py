"""How a submission at Kubernetes is referred to, and the marks by which its objects are found. Pure."""

import re
from dataclasses import dataclass
from typing import Final

_LABEL = r"[a-z0-9](?:[a-z0-9\-]{0,61}[a-z0-9])?"
_FORM = re.compile(rf"({_LABEL})\.([a-z0-9]{{1,64}}-[0-9a-f]{{8}})\.([0-9a-f\-]{{1,36}})")

SITE: Final = "caravan/site"
"""A label of all our Jobs and pods while somebody asks for them: its value is the site's id. Of pods an annotation, too, which stays."""
TAG: Final = "caravan/tag"
RELEASED: Final = "caravan/released"
"""A label that the Job gets as it is released. Who suspends it later doesn't make it staged again."""
WANTED: Final = "caravan/queue"
"""An annotation of Jobs that are for a queue of Kueue's: its name, which becomes the label QUEUE as the Job is released."""
QUEUE: Final = "kueue.x-k8s.io/queue-name"
"""The label by which Kueue takes a Job: from then on it alone says when the Job is suspended."""
INDICES: Final = "caravan/indices"
"""An annotation of Jobs and pods: the array's indexes, `0-3,7`."""
ENDED: Final = "caravan/ended"
"""An annotation of pods that we had the kubelet end: what they waited for and would never get, or that they were cancelled."""
HELD: Final = "caravan/accelerators"
"""An annotation of pods that have some: how many, and which the catalog's was as they were staged, `2 acc_nvidia-h100`."""
NODES: Final = "caravan/nodes"
"""A label of the pods of a task that has several: how many."""
OWN_INDEX: Final = "caravan/index"
"""An annotation of a pod: its index of the array, written before its gate of the same name is opened."""
KEPT: Final = "caravan/usage"
"""The finalizer on our pods."""
TASK: Final = "task"
"""The container that is the job's own. The cluster may put others beside it: a service mesh does."""
JOB_NAME: Final = "batch.kubernetes.io/job-name"
JOB_UID: Final = "batch.kubernetes.io/controller-uid"
INDEX: Final = "batch.kubernetes.io/job-completion-index"


@dataclass(frozen=True, slots=True)
class Reference:
    """`<namespace>.<Job>.<uid of the Job>`. The Job's name is the tag with a word of each staging's own: a Job of that name that
    somebody makes again, from a backup perhaps, has another uid, and isn't ours."""

    namespace: str
    name: str
    uid: str

    def __str__(self) -> str:
        return f"{self.namespace}.{self.name}.{self.uid}"

    @classmethod
    def parse(cls, text: str) -> "Reference | None":
        """None: it isn't one that this adapter ever gave."""
        found = _FORM.fullmatch(text)
        return cls(*found.groups()) if found else None


def ranges(indices: tuple[int, ...]) -> str:
    """`0-3,7` for 0, 1, 2, 3, 7."""
    parts: list[list[int]] = []
    for index in sorted(indices):
        if parts and parts[-1][1] == index - 1:
            parts[-1][1] = index
        else:
            parts.append([index, index])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in parts)


def spans_of(text: str) -> tuple[range, ...]:
    """The inverse of `ranges`, by its parts. Raises ValueError."""
    ends = [part.partition("-") for part in text.split(",")]
    return tuple(range(int(first), int(last or first) + 1) for first, _, last in ends)


def index_at(completion: int, indices: str) -> int:
    """The array's index that stands at this place: Kubernetes counts the tasks of a Job from 0. Raises ValueError."""
    left = completion
    for part in spans_of(indices):
        if left < len(part):
            return part[left]
        left -= len(part)
    raise ValueError(f"there is no task {completion} in {indices}")
