"""Reading lines: as the contract has them, listed, and a job's explained."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

from sqlalchemy import Row, or_, select
from sqlalchemy.orm import Session

from caravan import pricing
from caravan.contracts.prices import Component
from caravan.contracts.statements import (
    BearerKind,
    BearerReason,
    ExplainedLine,
    Explanation,
    Factor,
    Line,
)
from caravan.kernel.clock import from_seconds
from caravan.kernel.money import Money
from caravan.kernel.pages import Listing, Page
from caravan.kernel.problems import NotFound
from caravan.kernel.runtime import Runtime
from services.accounting.charging.book import key_of
from services.accounting.charging.explanation import Stretch, arithmetic, correction, stretches
from services.accounting.charging.lines import Key, Portion, assigned
from services.accounting.charging.models import LineRow
from services.accounting.charging.service import Calendar
from services.accounting.funds import holds
from services.accounting.usage import records


def shown(row: Row[Any]) -> Line:
    """A row of `lines` as the contract has it."""
    return Line(
        id=row.id,
        period=row.period,
        organization=row.organization,
        provider=row.provider,
        project=row.project,
        job=row.job,
        component=Component(row.component),
        accelerator=row.accelerator or None,
        price_list=row.price_list,
        price_list_revision=row.price_list_revision,
        tariff=row.tariff,
        window=row.pricing_window,
        bearer=BearerKind(row.bearer),
        reason=BearerReason(row.reason) if row.reason else None,
        unit_price=Decimal(row.unit_price),
        quantity=row.quantity,
        amount=Money(row.amount),
        corrects=row.corrects or None,
    )


class LineService:
    """Shows lines to those whose they are: the organization that bears them, the provider that sold."""

    def __init__(self, runtime: Runtime) -> None:
        self._db = runtime.db

    async def list_lines(
        self, listing: Listing, parties: tuple[frozenset[str], frozenset[str]] | None, **equal: str | None
    ) -> Page[Line]:
        """Lines of these organizations or providers (None: of all), of which the columns `equal` have these values; oldest first."""
        rows = await self._db.read(_lines, listing, parties, equal)
        return listing.page([shown(row) for row in rows], key=lambda line: (line.id,))

    async def explain(
        self, job: str, sees_organization: Callable[[str], bool], sees_provider: Callable[[str], bool]
    ) -> Explanation:
        """A job's lines down to the second; to a seller its own lines only. NotFound for who may see none."""
        return await self._db.read(_explain, job, sees_organization, sees_provider)


def _lines(
    tx: Session,
    listing: Listing,
    parties: tuple[frozenset[str], frozenset[str]] | None,
    equal: dict[str, str | None],
) -> Sequence[Row[Any]]:
    columns = LineRow.__table__.c
    query = select(LineRow.__table__).order_by(LineRow.id).limit(listing.fetch)
    if parties is not None:
        query = query.where(or_(LineRow.organization.in_(parties[0]), LineRow.provider.in_(parties[1])))
    for name, value in equal.items():
        if value is not None:
            query = query.where(columns[name] == value)
    if listing.after:
        query = query.where(LineRow.id > listing.after[0])
    return tx.execute(query).all()


def _explain(
    tx: Session, job: str, sees_organization: Callable[[str], bool], sees_provider: Callable[[str], bool]
) -> Explanation:
    hold = holds.find(tx, job)
    if hold is None:
        raise NotFound
    rows = tx.execute(select(LineRow.__table__).where(LineRow.job == job).order_by(LineRow.id)).all()
    if not sees_organization(hold.organization):
        rows = [row for row in rows if sees_provider(row.provider)]
        if not rows:
            raise NotFound
    portions: dict[Key, list[Portion]] = defaultdict(list)
    facts = records.of_job(tx, job)
    for portion in assigned(Calendar(tx, facts).portions(facts), hold.amount):
        portions[portion.key].append(portion)
    by_key: dict[Key, list[Row[Any]]] = defaultdict(list)
    for row in rows:
        by_key[key_of(row)].append(row)
    explained = [line for key, lines in by_key.items() for line in _explained(key, lines, portions[key])]
    return Explanation(
        job=job,
        organization=hold.organization,
        project=hold.project,
        charged=_sum(line for line in explained if line.line.bearer is BearerKind.ORGANIZATION),
        borne_by_provider=_sum(line for line in explained if line.line.bearer is BearerKind.PROVIDER),
        lines=tuple(explained),
    )


def _sum(lines: Any) -> Money:
    return Money(sum(line.line.amount.fen for line in lines))


def _explained(key: Key, rows: Sequence[Row[Any]], portions: Sequence[Portion]) -> list[ExplainedLine]:
    """The lines of one key: what its seconds make now stands with the newest of them, the others with what was billed then."""
    factors = stretches(portions)
    in_order = sorted(rows, key=lambda row: (row.corrects != "", row.id))
    out, before = [], 0
    for row in in_order:
        total = before + row.quantity
        newest = row is in_order[-1]
        if row.corrects:
            words = correction(key.component, key.unit_price, total, before, row.amount)
        else:
            words = arithmetic(key.component, key.unit_price, factors if newest else (), total)
        out.append(
            ExplainedLine(
                line=shown(row),
                divisor=pricing.DIVISOR[key.component],
                arithmetic=words,
                factors=tuple(_factor(row.id, factor) for factor in factors) if newest else (),
            )
        )
        before = total
    return out


def _factor(line: str, factor: Stretch) -> Factor:
    return Factor(
        run=factor.run,
        line=line,
        start=from_seconds(factor.start),
        end=from_seconds(factor.end),
        seconds=factor.end - factor.start,
        units=factor.units,
        quantity=factor.quantity,
    )
