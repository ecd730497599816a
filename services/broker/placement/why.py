"""Why a job was placed as it was, in a sentence for people: what was chosen and against what, or that it waits. Pure."""

from collections.abc import Sequence

from caravan.contracts.quotes import Candidate
from services.broker.placement.decide import Decision, Option


def why(decision: Decision, chosen: Option | None) -> str:
    """In Chinese, then in English. `chosen`: one of the decision's options; None: none of them could take the job now."""
    ranked = [option.candidate for option in decision.options]
    chinese, english = _waits(len(ranked)) if chosen is None else _chosen(ranked, decision.options.index(chosen))
    if others := len(decision.refused):
        chinese, english = f"{chinese}；另有 {others} 个不能运行它", f"{english}; {others} more can't run it"
    name = "" if chosen is None else f"{chosen.candidate.offering_name}: "
    return f"{name}{chinese} {english}"


def _waits(count: int) -> tuple[str, str]:
    return (
        f"能运行它的 {count} 个产品此刻都不接新作业，等待其中任何一个",
        f"none of the {count} that can run it takes a job now: it waits for any of them",
    )


def _chosen(ranked: Sequence[Candidate], place: int) -> tuple[str, str]:
    worst, count = ranked[place].worst_case, len(ranked)
    if count == 1:
        return f"只有它能运行，最多 {worst}", f"it alone can run it, for at most {worst}"
    if place:
        first = f"{ranked[0].offering_name} ({ranked[0].worst_case})"
        return (
            f"能运行它的 {count} 个产品中排第 {place + 1}，最多 {worst}；{first} 等排在前面的此刻不接新作业",
            f"number {place + 1} of {count} that can run it, at most {worst}; those before it, {first} first, take no job now",
        )
    other = ranked[1]
    if other.worst_case == worst:
        return (
            f"能运行它的 {count} 个产品中最便宜，最多 {worst}，同价的 {other.offering_name} 上架较晚",
            f"the cheapest of {count} that can run it, at most {worst}, as {other.offering_name}, which is newer",
        )
    return (
        f"能运行它的 {count} 个产品中最便宜，最多 {worst}，其次 {other.worst_case}",
        f"the cheapest of {count} that can run it, at most {worst}, the next {other.worst_case}",
    )
