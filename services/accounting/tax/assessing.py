"""Taxing the lines of a period: within the transaction that closes it, when they are all there and before statements are issued.

Tax is taken once from what one seller supplied to one organization at one rate, and stands on the lines that the organization bears:
both statements have it from there. One organization's amounts are in memory at a time.
"""

from collections.abc import Iterator, Mapping
from itertools import groupby
from typing import Any, Final, NamedTuple

from sqlalchemy import Row, update
from sqlalchemy.orm import Session

from caravan.kernel.bulk import ChangeMany
from caravan.kernel.database import table_of
from services.accounting.charging.models import LineRow
from services.accounting.charging.reading import seller_of
from services.accounting.statements import lines
from services.accounting.tax.spreading import spread
from services.accounting.tax.supplies import Supply, Tax, of_lines

LINES = table_of(LineRow)
_TAX: Final = ChangeMany(
    {
        "line": LINES.c.id.type,
        "fen": LINES.c.tax.type,
        "treatment": LINES.c.tax_treatment.type,
        "hundredths": LINES.c.tax_rate.type,
    },
    lambda given: (
        update(LINES)
        .where(LINES.c.id == given.line)
        .values(tax=given.fen, tax_treatment=given.treatment, tax_rate=given.hundredths)
    ),
)


class Section(NamedTuple):
    """What one seller supplied to one organization at one rate."""

    organization: str
    seller: str
    tax: Tax


def assess(tx: Session, period: Row[Any]) -> None:
    """Put its tax on each line of `period` that an organization bears. Raises LookupError while a seller's tax is not known."""
    for section, rows in sections(tx, period.id, of_lines(tx, period)):
        parts = zip(rows, spread([row.amount for row in rows], section.tax.rate), strict=True)
        common = {"treatment": section.tax.treatment, "hundredths": section.tax.rate}
        values = [{"line": row.id, "fen": fen, **common} for row, fen in parts]
        for start in range(0, len(values), lines.BATCH):
            _TAX.run(tx, values[start : start + lines.BATCH])


def sections(tx: Session, period: str, supplies: Mapping[Supply, Tax]) -> Iterator[tuple[Section, list[Row[Any]]]]:
    """The lines that organizations bear, section by section, in the order of what they are of. A line that corrects a period goes by the
    tax of that one."""
    for organization, rows in groupby(lines.billed(tx, period), key=lambda row: row.organization):
        found: dict[Section, list[Row[Any]]] = {}
        for row in rows:
            tax = supplies[Supply(row.corrects or period, seller_of(row))]
            found.setdefault(Section(organization, seller_of(row), tax), []).append(row)
        yield from ((section, sorted(of_section, key=_what)) for section, of_section in sorted(found.items()))


def _what(row: Row[Any]) -> tuple[Any, ...]:
    """What a line is of, without what is chance: where all is billed again, in another order, the same lines come first."""
    of = (
        row.job,
        row.kind,
        row.component,
        row.accelerator,
        row.price_list,
        row.tariff,
        row.pricing_window,
        row.attempt,
    )
    return *of, row.corrects_from is not None, row.corrects_from or 0
