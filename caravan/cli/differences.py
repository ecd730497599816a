"""How a reconciliation looks in a terminal: what the site's books and Caravan say, side by side."""

from collections.abc import Sequence
from typing import Final

from rich.console import Group, RenderableType
from rich.text import Text

from caravan.cli import show
from caravan.reconcile.comparing import Figures, Found, Kind, Reconciliation

DIFFERENCE: Final = {
    Kind.NOT_BILLED: "未计费 not billed",
    Kind.NOT_IN_BOOKS: "站点账目中没有 not in the site's books",
    Kind.NOT_FINAL: "未结清 ended at the site, not final here",
    Kind.STILL_RUNS: "站点上仍在运行 final here, runs at the site",
    Kind.BEARER: "应由算力中心承担 ended with its node, billed to the job",
    Kind.SECONDS: "秒数不同 other seconds",
    Kind.CORES: "核数不同 other cores",
    Kind.NODES: "节点数不同 other nodes",
    Kind.ACCELERATORS: "加速卡数不同 other accelerators",
    Kind.LINES: "计费与计量不符 not billed as metered",
    Kind.AMOUNTS: "金额与单价不符 other amount than price by quantity",
}


def reconciliation(found: Reconciliation) -> RenderableType:
    rows = [
        (DIFFERENCE[one.kind], one.identity or "", one.job or "", *_sides(one, one.kind)) for one in found.differences
    ]
    rows += [("(open 未结束)", one.identity or "", one.job or "", *_sides(one)) for one in found.open]
    sums: list[tuple[str, show.Cell]] = [
        ("from", show.when(found.start)),
        ("to", show.when(found.end)),
        ("usage complete until", show.when(found.complete_through)),
        ("runs", f"{found.compared:,}"),
        ("charged", str(found.charged)),
        ("borne by the provider", str(found.borne_by_provider)),
        *show.notional(found),
        ("open", f"{len(found.open):,}"),
        ("newer than the books", f"{found.newer:,}"),
        ("gone from the books", f"{found.not_kept:,}"),
        ("clocks put right", f"{found.righted:,}"),
        ("unreadable lines", f"{found.unreadable:,}"),
        ("differences 差异", Text(f"{len(found.differences):,}", style="bold")),
    ]
    parts: list[RenderableType] = [show.pairs(sums)]
    if rows:
        parts.insert(0, show.table(("difference", "!at the site", "!job", "site 站点", "Caravan"), rows))
    return Group(*parts)


def figures(found: Figures | None) -> str:
    """`3,600 s, 4 cores, 1 nodes, 2 gpu:h100`."""
    if found is None:
        return ""
    held = f"{found.seconds:,} s, {_counts(found.cores)} cores, {_counts(found.nodes)} nodes"
    return held + (f", {_accelerators(found)}" if found.kinds else "")


def _sides(one: Found, kind: Kind | None = None) -> tuple[str, str]:
    """What the books and Caravan say of what differs; without a kind, of all."""
    if one.billed is not None:
        line, unit = one.billed, show.UNIT[one.billed.component]
        return (
            f"{line.priced:,} {unit} at {line.unit_price} ({line.tariff}) = {line.due}",
            f"{line.quantity:,} {unit}, {line.amount}",
        )
    return _side(kind, one.books), _side(kind, one.caravan)


def _side(kind: Kind | None, found: Figures | None) -> str:
    if found is None:
        return ""
    of = {
        Kind.SECONDS: f"{found.seconds:,} s",
        Kind.CORES: _counts(found.cores),
        Kind.NODES: _counts(found.nodes),
        Kind.ACCELERATORS: _accelerators(found),
    }
    return (kind and of.get(kind)) or figures(found)


def _counts(counts: Sequence[int]) -> str:
    return " or ".join(str(count) for count in counts)


def _accelerators(found: Figures) -> str:
    return f"{_counts(found.accelerators or ())} {', '.join(found.kinds)}".strip()
