"""Why a job can't run on an offering, or can't now: each check gives every reason that it finds, in Chinese and English. Pure."""

from collections.abc import Sequence
from typing import Final

from caravan.contracts.base import prose
from caravan.contracts.offerings import OfferingState, SiteState
from caravan.contracts.prices import PriceList
from caravan.contracts.quotes import Reason, Refusal
from caravan.contracts.spec import Container, JobSpec
from caravan.kernel import clock
from caravan.pricing import covered
from services.broker.placement.copies import CatalogView, Sold, approved
from services.broker.placement.question import AdapterHere, Question, SiteNow

PASSING: Final = frozenset(
    {"paused", "provider_not_approved", "no_price", "adapter_version", "site_not_seen", "site_refused"}
)
"""Reasons that may pass by themselves: a job that was accepted waits for them instead of failing."""


def lasting(refused: Sequence[Refusal]) -> bool:
    """Whether waiting can't help: each offering has a reason against it that does not pass by itself."""
    return all(any(reason.code not in PASSING for reason in refusal.reasons) for refusal in refused)


def asked_for(refusal: Refusal) -> bool:
    """Whether the offering is among what the job says that it may run on."""
    return not any(reason.code.startswith("where_") for reason in refusal.reasons)


def reason(
    code: str, *words: str, field: str | None = None, asked: str | None = None, limit: str | None = None
) -> Reason:
    """`words`: the same in Chinese and in English, or what somebody else said."""
    return Reason(code=code, detail=prose(" ".join(words)), field=field, asked=asked, limit=limit)


def unwanted(question: Question, sold: Sold) -> list[Reason]:
    where, offering = question.spec.where, sold.offering
    checks = (
        ("tiers", where.tiers, offering.tier, "层级不在所选之列", "Its tier is not among those asked for"),
        ("offerings", where.offerings, offering.id, "不在所选产品之列", "It is not among the offerings asked for"),
        (
            "providers",
            where.providers,
            sold.provider.id,
            "提供者不在所选之列",
            "Its provider is not among those asked for",
        ),
        ("regions", where.regions, sold.site.region, "地区不在所选之列", "Its region is not among those asked for"),
    )
    reasons = [
        reason(f"where_{field}", *words, field=f"/where/{field}", asked=", ".join(wanted), limit=str(actual))
        for field, wanted, actual, *words in checks
        if wanted and actual not in wanted
    ]
    if offering.id in question.excluded:
        reasons.append(reason("failed_there", question.excluded[offering.id]))
    return reasons


def over_limits(spec: JobSpec, sold: Sold, view: CatalogView) -> list[Reason]:
    asked, limits = spec.resources, sold.offering.limits
    checks = (
        ("nodes", "节点数", asked.nodes, limits.nodes, "/resources/nodes"),
        ("cpus_per_node", "每节点核数", asked.cpus_per_node, limits.cpus_per_node, "/resources/tasks_per_node"),
        (
            "memory_mib_per_node",
            "每节点内存 MiB ",
            asked.memory_mib_per_node,
            limits.memory_mib_per_node,
            "/resources/memory_mib_per_node",
        ),
        (
            "accelerators_per_node",
            "每节点加速卡数",
            asked.accelerators_per_node,
            limits.accelerators_per_node,
            "/resources/accelerators_per_node",
        ),
        (
            "walltime_seconds",
            "时长秒数",
            asked.walltime_seconds,
            limits.walltime_seconds,
            "/resources/walltime_seconds",
        ),
        ("array_tasks", "数组任务数", len(spec.indices), limits.array_tasks, "/array/indices"),
    )
    reasons = [
        reason(
            f"limit_{name}",
            f"{chinese}最多 {limit:,}，作业要求 {value:,}",
            f"It allows at most {limit:,} {name.replace('_', ' ')}, the job asks for {value:,}",
            field=field,
            asked=str(value),
            limit=str(limit),
        )
        for name, chinese, value, limit, field in checks
        if value > limit
    ]
    wanted = asked.accelerator
    if wanted is not None and wanted != sold.offering.accelerator:
        has = view.accelerators.get(sold.offering.accelerator or "")
        reasons.append(
            reason(
                "accelerator",
                "加速卡型号不同" if has else "没有加速卡",
                "It has another kind of accelerator" if has else "It has no accelerators",
                field="/resources/accelerator",
                asked=wanted,
                limit=sold.offering.accelerator,
            )
        )
    return reasons


def not_to_choose(spec: JobSpec, sold: Sold) -> list[Reason]:
    """Of the job's options, what the centre doesn't leave to jobs there."""
    choices = sold.offering.choices
    return [
        reason(
            "option",
            f"{name} 可选 {', '.join(choices[name])}" if name in choices else f"作业不能选择 {name}",
            f"Its {name} can be one of {', '.join(choices[name])}"
            if name in choices
            else f"A job can't choose its {name}",
            field=f"/options/{name}",
            asked=value,
            limit=", ".join(choices.get(name, ())) or None,
        )
        for name, value in spec.options.items()
        if value not in choices.get(name, ())
    ]


def image_not_run(container: Container, adapter: AdapterHere, sold: Sold) -> list[Reason]:
    images = adapter.images(sold.site.settings) if adapter.images is not None else None
    if images is None:
        words = "站点不运行容器，请改用脚本", "Its site runs no containers; give a script"
        return [reason("container", *words, field="/container")]
    if container.among(images):
        return []
    words = "算力中心只运行其选定的镜像", "Its centre runs only images of its own choice"
    return [reason("container_image", *words, field="/container/image", asked=container.image, limit=", ".join(images))]


def array_not_run(spec: JobSpec, adapter: AdapterHere) -> list[Reason]:
    if spec.resources.nodes == 1 or len(spec.indices) == 1 or "arrays_of_nodes" in adapter.capabilities:
        return []
    words = (
        "其后端给数组的每个任务一个节点，多节点任务请各自提交为作业",
        "Its backend gives each task of an array one node; submit tasks of several nodes as jobs of their own",
    )
    return [reason("array_of_nodes", *words, field="/array/indices", asked=str(spec.resources.nodes), limit="1")]


def priced_through(prices: PriceList, question: Question) -> bool:
    start = clock.to_seconds(question.now)
    return covered(prices, start, start + question.spec.resources.walltime_seconds)


def inoperable(sold: Sold, adapter: AdapterHere | None, site: SiteNow | None) -> list[Reason]:
    reasons = []
    if sold.offering.state is not OfferingState.ACTIVE:
        reasons.append(reason("paused", "算力中心已暂停出售", "The centre has paused its sale"))
    if not approved(sold.provider):
        reasons.append(reason("provider_not_approved", "提供者目前未获批准", "Its provider is not approved at present"))
    if adapter is None:
        name = sold.site.adapter
        words = f"平台未安装适配器 {name}", f"The platform has no adapter {name} installed"
        reasons.append(reason("adapter_missing", *words))
    seen = site is not None and site.adapter == sold.site.adapter
    if site is None or not seen:
        reasons.append(reason("site_not_seen", "站点代理尚未上报", "The site's agent has not reported yet"))
    elif adapter is not None and site.adapter_version != adapter.version:
        reasons.append(
            reason(
                "adapter_version",
                "中心与平台的适配器版本不同，无法得知实际分配",
                "The centre's adapter and the platform's differ in version, so what it would allocate is not known",
                asked=adapter.version,
                limit=site.adapter_version,
            )
        )
    if site is not None and site.state is SiteState.REFUSED:
        reasons.append(reason("site_refused", site.state.words))
    return reasons
