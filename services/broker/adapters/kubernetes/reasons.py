"""Why Kubernetes lets a job wait, in plain words of both languages; the cluster's own words stay behind them. Pure."""

from typing import Final

MADE: Final = "Made"
"""A container that a node had made, and not started yet, when it failed: it has no word of Kubernetes' own, and waits for ever."""
CANCELLED: Final = "cancelled"
"""Our note on a pod that we had the kubelet end since its Job was gone and couldn't be deleted."""
WORDS: Final[dict[str, tuple[str, str]]] = {
    "Unschedulable": ("等待空闲资源", "waiting for free resources"),
    "Quota": ("已达到命名空间的资源配额", "the namespace's quota is reached"),
    "FailedCreate": ("集群暂不接受该作业的容器组", "the cluster takes no pods of this job for now"),
    "Suspended": ("被算力中心暂停", "suspended by the centre"),
    "Queued": ("在站点队列中等待配额", "waiting in the site's queue for quota"),
    "AdmissionChecks": ("等待站点队列的准入检查", "waiting for the admission checks of the site's queue"),
    "Preempted": ("被其他作业抢占，已重新排队", "preempted by another job, and in the site's queue again"),
    "Requeued": ("被站点队列收回，已重新排队", "taken back by the site's queue, and in it again"),
    "Deactivated": ("被站点队列搁置", "put aside by the site's queue"),
    "Starting": ("正在启动", "starting"),
    "ErrImagePull": ("无法拉取镜像", "its image can't be pulled"),
    "ImagePullBackOff": ("无法拉取镜像", "its image can't be pulled"),
    "ErrImageNeverPull": ("节点上没有该镜像", "its image isn't on the node, and must not be pulled"),
    "InvalidImageName": ("镜像名称无效", "the name of its image is not valid"),
    "CreateContainerConfigError": ("容器配置有误", "its container is configured wrongly"),
    "CreateContainerError": ("无法创建容器", "its container can't be made"),
    MADE: ("容器未能启动", "its container was made, and isn't started"),
}
"""A word of Kubernetes', or ours for a case without one -> Chinese, English."""
BROKEN: Final = frozenset({
    "ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName", "CreateContainerConfigError", "CreateContainerError",
    MADE,
})  # fmt: skip
"""Why a container that waits may do so for ever."""


def plain(word: str, said: str = "", place: int | None = None) -> str:
    """`等待空闲资源 waiting for free resources (0/1 nodes are available…)`. `place`: in a queue, as `lines.told` has it."""
    chinese, english = WORDS[word]
    if place is not None:
        chinese, english = f"{chinese}，{_place(place)[0]}", f"{english}, {_place(place)[1]}"
    return f"{chinese} {english} ({said})" if said else f"{chinese} {english}"


def _place(place: int) -> tuple[str, str]:
    if place < 10:
        return f"排在第 {place} 位", f"position {place}"
    return f"排在第 {place} 位或更后", f"position {place} or later"


def given_up(word: str, said: str) -> str:
    """What a pod waited for in vain; nothing where that is its node's fault. What a registry says may be long, an annotation may not."""
    if word == MADE:
        return ""
    return f"{WORDS[word][1]}: {said[:1000]}"


def refused(said: str) -> str:
    """Why the Job controller can't make pods."""
    return plain("Quota" if "exceeded quota" in said else "FailedCreate", said)
