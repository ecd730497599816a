"""Why Slurm lets a job wait, in plain words of both languages; Slurm's own name stays behind them, for the centre's people. Pure."""

import re
from functools import lru_cache
from typing import Final

WORDS: Final[dict[str, tuple[str, str]]] = {
    "Priority": ("前面还有优先级更高的作业", "jobs of higher priority are before it"),
    "Resources": ("等待空闲资源", "waiting for free resources"),
    "JobArrayTaskLimit": ("已达到数组的并行上限", "as many tasks of the array run at once as may"),
    "JobHeldUser": ("已提交，尚未放行", "submitted, and not released yet"),
    "JobHeldAdmin": ("被算力中心管理员挂起", "held by the centre's administrator"),
    "BeginTime": ("尚未到开始时间", "its time to begin has not come yet"),
    "Dependency": ("等待所依赖的作业", "waiting for a job that it depends on"),
    "DependencyNeverSatisfied": ("所依赖的作业不会满足条件", "what it depends on will never be so"),
    "ReqNodeNotAvail": ("所需节点目前不可用", "a node that it needs is not available now"),
    "Reservation": ("等待预约的时段", "waiting for its reservation"),
    "ReservationDeleted": ("预约已被删除", "its reservation was deleted"),
    "Reserved": ("节点已预约给其他作业", "the nodes are reserved for others"),
    "Licenses": ("等待软件许可", "waiting for a licence"),
    "Cleaning": ("正在清理上一次运行", "what ran before is being cleaned up"),
    "Prolog": ("节点正在准备", "the node is being prepared"),
    "NodeDown": ("节点停机", "a node is down"),
    "BadConstraints": ("没有节点能满足它的要求", "no node can be as it asks"),
    "PartitionDown": ("分区已停用", "the partition is down"),
    "PartitionInactive": ("分区未启用", "the partition is inactive"),
    "PartitionConfig": ("分区不接受这样的作业", "the partition takes no such job"),
    "PartitionNodeLimit": ("超出分区的节点数限制", "it is over the partition's limit on nodes"),
    "PartitionTimeLimit": ("超出分区的时长限制", "it is over the partition's limit on run time"),
    "AccountNotAllowed": ("该账户不能使用此分区或 QOS", "its account may not use this partition or QOS"),
    "QOSNotAllowed": ("该 QOS 不能用于此账户或分区", "its QOS may not be used by this account or partition"),
    "InvalidAccount": ("Slurm 账户无效", "its Slurm account is not valid"),
    "InvalidQOS": ("QOS 无效", "its QOS is not valid"),
    "AssociationJobLimit": ("已达到账户的作业数上限", "the account's limit on jobs is reached"),
    "AssociationResourceLimit": ("已达到账户的资源上限", "the account's limit on resources is reached"),
    "AssociationTimeLimit": ("已达到账户的时长上限", "the account's limit on run time is reached"),
    "QOSJobLimit": ("已达到 QOS 的作业数上限", "the QOS's limit on jobs is reached"),
    "QOSResourceLimit": ("已达到 QOS 的资源上限", "the QOS's limit on resources is reached"),
    "QOSTimeLimit": ("已达到 QOS 的时长上限", "the QOS's limit on run time is reached"),
    "QOSUsageThreshold": ("用量已超过 QOS 的阈值", "usage is over the QOS's threshold"),
    "JobLaunchFailure": ("作业无法启动", "the job couldn't be launched"),
    "NonZeroExitCode": ("脚本以非零退出码结束", "the script ended with an exit code other than 0"),
    "RaisedSignal": ("脚本因信号结束", "the script was ended by a signal"),
    "TimeLimit": ("已达到时限", "the time limit was reached"),
    "OutOfMemory": ("超出内存", "more memory was used than was asked for"),
    "SystemFailure": ("系统故障", "a failure of the system"),
    "InactiveLimit": ("作业长时间没有活动", "the job was inactive for too long"),
    "MaxRequeue": ("重新排队次数过多", "it was requeued too often"),
}
"""Slurm's name (`squeue`'s job reason codes, 22.05 to 26.05) -> Chinese, English."""
_LIMIT: Final = re.compile(
    r"(?P<whose>Assoc|QOS)(?P<kind>Grp|Max|Min)(?P<unit>[A-Z][A-Za-z]*?)(?P<time>RunMinutes|Minutes)?"
    r"(?:Per(?P<each>Job|User|Account|Node))?(?:Limit|NotSatisfied)?"
)
"""How the names of limits are made: `AssocGrpCpuLimit`, `QOSMaxGRESMinutesPerJob`, `QOSMaxJobsPerUserLimit`."""
_UNITS: Final = {
    "cpu": ("CPU", "CPUs"),
    "gres": ("加速器", "accelerators"),
    "node": ("节点", "nodes"),
    "mem": ("内存", "memory"),
    "memory": ("内存", "memory"),
    "job": ("作业数", "jobs"),
    "jobs": ("作业数", "jobs"),
    "submit": ("已提交作业数", "submitted jobs"),
    "submitjob": ("已提交作业数", "submitted jobs"),
    "submitjobs": ("已提交作业数", "submitted jobs"),
    "wall": ("运行时长", "run time"),
    "wallduration": ("运行时长", "run time"),
    "billing": ("计费量", "billing"),
    "license": ("软件许可", "licences"),
    "energy": ("能耗", "energy"),
    "bb": ("突发缓冲区", "burst buffer"),
}
_EACH: Final = {
    None: ("", ""),
    "Job": ("单个作业", " of one job"),
    "User": ("单个用户", " of one user"),
    "Account": ("单个账户", " of one account"),
    "Node": ("单个节点", " on one node"),
}


@lru_cache(maxsize=1024)
def plain(reason: str) -> str:
    """`等待空闲资源 waiting for free resources (Resources)`. What is new to us stays as Slurm says it; nothing for `None`."""
    if reason in ("", "None"):
        return ""
    # 22.05 writes `ReqNodeNotAvail, UnavailableNodes:n1`
    name = reason.partition(",")[0].strip()
    found = WORDS.get(name) or _limit(name)
    return f"{found[0]} {found[1]} ({reason})" if found else reason


def _limit(name: str) -> tuple[str, str] | None:
    parts = _LIMIT.fullmatch(name)
    unit = _UNITS.get(parts["unit"].lower()) if parts else None
    if parts is None or unit is None:
        return None
    whose = ("账户", "the account's") if parts["whose"] == "Assoc" else ("QOS", "the QOS's")
    each = ("总", " in all") if parts["kind"] == "Grp" else _EACH[parts["each"]]
    what = (f"{unit[0]}机时", f"the time of {unit[1]}") if parts["time"] else unit
    if parts["kind"] == "Min":
        return f"低于{whose[0]}对{each[0]}{what[0]}的下限", f"it is under {whose[1]} least of {what[1]}{each[1]}"
    return f"已达到{whose[0]}对{each[0]}{what[0]}的上限", f"{whose[1]} limit on {what[1]}{each[1]} is reached"
