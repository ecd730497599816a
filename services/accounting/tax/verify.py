"""Holding the tax on sealed lines against their amounts, and how their supplies were taxed."""

from collections.abc import Iterator

from sqlalchemy import select
from sqlalchemy.orm import Session

from caravan.contracts.tax import SupplyCategory
from services.accounting.statements.models import StatementRow
from services.accounting.tax.assessing import sections
from services.accounting.tax.models import SupplyTax
from services.accounting.tax.spreading import spread
from services.accounting.tax.supplies import Supply, Tax


def verify(tx: Session) -> Iterator[tuple[str, str]]:
    """(line, what is wrong) of each that doesn't have its part of the tax. Statements without sections were issued without."""
    kept = tx.execute(select(*SupplyTax.__table__.c).filter_by(category=SupplyCategory.COMPUTE_SERVICE.value))
    supplies = {Supply(row.period, row.seller): Tax(row.treatment, row.rate) for row in kept}
    taxed = select(StatementRow.period).where(StatementRow.sections.is_not(None)).distinct()
    for period in tx.scalars(taxed.order_by(StatementRow.period)).all():
        for section, rows in sections(tx, period, supplies):
            parts = spread([row.amount for row in rows], section.tax.rate)
            for row, part in zip(rows, parts, strict=True):
                right = (*section.tax, part)
                if (found := (row.tax_treatment, row.tax_rate, row.tax)) != right:
                    yield row.id, f"its tax is {found}, and should be {right}"
