"""A statement's lines as CSV. Pure.

UTF-8 with a byte order mark (Excel needs it for Chinese), CRLF, one header row, Chinese first, one row for each line. These bytes are
what `lines_sha256` is taken over, so `sha256sum` of the downloaded file shows that it is the sealed one. In each row
`数量 Quantity / 除数 Divisor x 单价 Unit price = 金额 Amount`, rounded half away from zero; a volume discount has neither job nor unit
price, and says in the place of the job's name what it is taken off. What the organization owes is the sum of
`金额 Amount` where `承担方 Bearer` is `organization`; in these rows `不含税金额 Net + 税额 Tax = 金额 Amount`. Where it is `nobody`, the
time was not billed. Statements that were issued before tax stood on lines have no columns of it: they are not `taxed`; those that were
issued before providers' time was sold on name no seller: they are not `sold`. Where vouchers pay a part, they are `subsidized`, and
`补贴 Subsidy + 自付 Own part = 金额 Amount`.
"""

import csv
import io
from collections.abc import Mapping
from itertools import chain
from typing import Any, Final, NamedTuple

from sqlalchemy import Row

from caravan.contracts.prices import Component
from caravan.contracts.statements import BearerKind, LineKind
from caravan.contracts.tax import TaxTreatment
from caravan.kernel.money import Money, percent
from caravan.pricing import DIVISOR
from services.accounting.charging.reading import seller_of

BOM: Final = b"\xef\xbb\xbf"
UNITS: Final[Mapping[str, str]] = {
    Component.CPU_CORE_HOUR: "核秒 core-seconds",
    Component.ACCELERATOR_HOUR: "卡秒 accelerator-seconds",
    Component.MEMORY_GIB_HOUR: "MiB秒 MiB-seconds",
    Component.NODE_HOUR: "节点秒 node-seconds",
    Component.JOB: "作业 jobs",
    Component.MINIMUM_CHARGE: "分 fen",
}
PER: Final[Mapping[str, str]] = {
    Component.CPU_CORE_HOUR: "核时 core-hour",
    Component.ACCELERATOR_HOUR: "卡时 accelerator-hour",
    Component.MEMORY_GIB_HOUR: "GiB时 GiB-hour",
    Component.NODE_HOUR: "节点时 node-hour",
    Component.JOB: "作业 job",
    Component.MINIMUM_CHARGE: "分 fen",
}
TREATMENTS: Final[Mapping[str, str]] = {
    TaxTreatment.TAXED: "征税 taxed",
    TaxTreatment.EXEMPT: "免税 exempt",
    TaxTreatment.NOT_TAXABLE: "不征税 not taxable",
}
HEADERS: Final = (
    "作业 Job",
    "作业名称 Job name",
    "企业 Organization",
    "企业名称 Organization name",
    "项目 Project",
    "项目名称 Project name",
    "算力中心 Provider",
    "算力中心名称 Provider name",
    "计费项 Component",
    "加速器 Accelerator",
    "价目表 Price list",
    "价目表版本 Revision",
    "费率 Tariff",
    "时段 Window",
    "承担方 Bearer",
    "承担原因 Reason",
    "单价(元) Unit price (CNY)",
    "计价单位 Price per",
    "数量 Quantity",
    "数量单位 Quantity unit",
    "除数 Divisor",
    "金额(元) Amount (CNY)",
    "更正账期 Corrects period",
    "行号 Line",
)
TAX_HEADERS: Final = ("税务处理 Tax treatment", "税率 Tax rate", "税额(元) Tax (CNY)", "不含税金额(元) Net (CNY)")
SELLER_HEADERS: Final = ("销售方 Seller", "销售方名称 Seller name")
SUBSIDY_HEADERS: Final = ("补贴(元) Subsidy (CNY)", "自付(元) Own part (CNY)")


class Columns(NamedTuple):
    """Which columns a statement's CSV has besides those that all have."""

    taxed: bool
    sold: bool
    subsidized: bool


def columns_of(statement: Row[Any]) -> Columns:
    return Columns(statement.sections is not None, statement.sold, bool(statement.redemptions))


def header(columns: Columns) -> bytes:
    """The first bytes of the file."""
    more = TAX_HEADERS, SELLER_HEADERS, SUBSIDY_HEADERS
    chosen = (names for names, there in zip(more, columns, strict=True) if there)
    return BOM + encode((*HEADERS, *chain(*chosen)))


def line(row: Row[Any], names: Mapping[str, str], columns: Columns) -> bytes:
    """A line (a row of `lines` with `job_name`). `names` has those of its parties, project and corrected period."""
    return encode(
        (
            row.job,
            typed(row.job_name or "") if row.kind == LineKind.USAGE else _discount(Money(row.basis)),
            row.organization,
            typed(names[row.organization]),
            row.project,
            typed(names[row.project]) if row.project else "",
            row.provider,
            typed(names[row.provider]),
            row.component,
            row.accelerator,
            row.price_list,
            str(row.price_list_revision),
            typed(row.tariff),
            typed(row.pricing_window),
            row.bearer,
            row.reason,
            row.unit_price,
            PER[row.component],
            str(row.quantity),
            UNITS[row.component],
            str(DIVISOR[row.component]),
            str(Money(row.amount)),
            names[row.corrects] if row.corrects else "",
            row.id,
            *(_tax(row) if columns.taxed else ()),
            *((seller_of(row), typed(names[seller_of(row)])) if columns.sold else ()),
            *(_subsidy(row) if columns.subsidized else ()),
        )
    )


def _subsidy(row: Row[Any]) -> tuple[str, str]:
    if row.bearer != BearerKind.ORGANIZATION:
        return "", ""
    pays = row.subsidy or 0
    return str(Money(pays)), str(Money(row.amount - pays))


def _tax(row: Row[Any]) -> tuple[str, ...]:
    if row.tax is None:
        return ("",) * len(TAX_HEADERS)
    return TREATMENTS[row.tax_treatment], percent(row.tax_rate), str(Money(row.tax)), str(Money(row.amount - row.tax))


def _discount(basis: Money) -> str:
    return f"用量折扣,基数 {basis} Volume discount on {basis}"


def typed(text: str) -> str:
    """What a person typed, so that no spreadsheet takes it for a formula: an apostrophe before the signs that start one.

    A Chinese or Japanese Excel reads their full-width forms like them.
    """
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "＝", "＋", "－", "＠", "\t", "\r")) else text


def encode(cells: tuple[str, ...]) -> bytes:
    """A row."""
    out = io.StringIO(newline="")
    csv.writer(out, lineterminator="\r\n").writerow(cells)
    return out.getvalue().encode()
