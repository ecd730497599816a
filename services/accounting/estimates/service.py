"""Estimates for the office.

A preview has one organization in memory at a time, each in a transaction of its own: what it reads never changes.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Row, select
from sqlalchemy.orm import Session

from caravan.contracts.estimates import (
    Cuts,
    Forecast,
    Preview,
    PreviewedClaim,
    PreviewedOrganization,
    PreviewedPool,
    PreviewedProvider,
    PreviewQuestion,
)
from caravan.contracts.programmes import Programme
from caravan.contracts.statements import BearerKind, PeriodState
from caravan.kernel import clock
from caravan.kernel.money import Money
from caravan.kernel.problems import FieldError, Invalid
from caravan.kernel.runtime import Runtime
from services.accounting.estimates import standing
from services.accounting.estimates.previewing import Estimate, beside_pools, estimated, merged
from services.accounting.funds.service import unknown
from services.accounting.periods import service as periods
from services.accounting.periods.models import PeriodRow
from services.accounting.programmes.claims import Holder
from services.accounting.programmes.names import check_names
from services.accounting.programmes.service import find
from services.accounting.redemptions import closed_lines
from services.accounting.redemptions.claiming import DiscountLine, UsageLine
from services.accounting.redemptions.closed_lines import LINES
from services.accounting.usage.models import OrganizationCopy, ProviderCopy
from services.accounting.vouchers.affiliation import affiliates
from services.accounting.vouchers.limits import limits, tightest


class EstimateService:
    """What the office asks before it publishes a programme, and while one runs."""

    def __init__(self, runtime: Runtime) -> None:
        self._db = runtime.db
        self._now = runtime.now

    async def preview(self, programme: str, question: PreviewQuestion) -> Preview:
        """Raises NotFound; UnknownReference for a period or organization that isn't known here; Invalid for a period that isn't closed, or
        a kind or use that the programme doesn't name."""
        found, closed, organizations, zone = await self._db.read(_scope, programme, question)
        most = _most(found)
        holder = Holder(frozenset(question.assume.kinds), question.assume.use, frozenset())
        estimates = {
            organization: await self._db.read(_estimate, organization, closed, found, holder, most, zone)
            for organization in organizations
        }
        providers = {provider for one in estimates.values() for provider in one.providers}
        names = await self._db.read(_names, providers)
        years = {period.starts_at.astimezone(zone).year for period in closed}
        return _preview(
            found, organizations, names, estimates, most, beside_pools(found.pools, years, estimates.values(), zone)
        )

    async def forecast(self, programme: str) -> Forecast:
        """Raises NotFound."""
        return await self._db.read(standing.forecast, programme, self._now())


def _scope(
    tx: Session, programme: str, question: PreviewQuestion
) -> tuple[Programme, Sequence[Row[Any]], Mapping[str, str], ZoneInfo]:
    """The programme, rows of the periods in their order, and organizations with their names."""
    found, assume = find(tx, programme), question.assume
    check_names(found, assume.kinds, assume.use, kinds_at="/assume/kinds", use_at="/assume/use")
    rows = {row.id: row for row in tx.execute(select(PeriodRow.__table__).where(PeriodRow.id.in_(question.periods)))}
    for place, period in enumerate(question.periods):
        if period not in rows:
            raise unknown(f"/periods/{place}")
        if rows[period].state != PeriodState.CLOSED:
            detail = f"{rows[period].name} isn't closed: its lines may change. Leave it out, or close it first"
            raise Invalid(errors=[FieldError(pointer=f"/periods/{place}", code="not_closed", detail=detail)])
    closed = sorted(rows.values(), key=lambda row: row.starts_at)
    return found, closed, _organizations(tx, question), periods.zone(tx)


def _organizations(tx: Session, question: PreviewQuestion) -> Mapping[str, str]:
    columns = select(OrganizationCopy.id, OrganizationCopy.name)
    if question.organizations is None:
        borne = (LINES.c.bearer == BearerKind.ORGANIZATION.value) & LINES.c.period.in_(question.periods)
        columns = columns.where(OrganizationCopy.id.in_(select(LINES.c.organization).where(borne)))
    else:
        columns = columns.where(OrganizationCopy.id.in_(question.organizations))
    names = {row.id: row.name for row in tx.execute(columns.order_by(OrganizationCopy.id))}
    for place, organization in enumerate(question.organizations or ()):
        if organization not in names:
            raise unknown(f"/organizations/{place}")
    return names


def _estimate(
    tx: Session,
    organization: str,
    closed: Sequence[Row[Any]],
    programme: Programme,
    holder: Holder,
    most: int | None,
    zone: ZoneInfo,
) -> Estimate:
    own = {"", *(period.id for period in closed)}
    used: list[UsageLine] = []
    discounts: list[DiscountLine] = []
    providers: dict[str, str] = {}
    for period in closed:
        rows = [row for row in closed_lines.read(tx, period.id, organization) if row.corrects in own]
        used += closed_lines.used(tx, period, rows)
        discounts += [
            DiscountLine(row.id, closed_lines.group(row), row.starts_at or period.starts_at, row.amount, row.basis)
            for row in closed_lines.discounts(rows)
        ]
        providers |= {row.id: row.provider for row in rows}
    holder = holder._replace(affiliates=affiliates(tx, organization, ()))
    return estimated(programme, holder, most, used, merged(discounts), providers, zone)


def _names(tx: Session, providers: set[str]) -> Mapping[str, str]:
    found = select(ProviderCopy.id, ProviderCopy.name).where(ProviderCopy.id.in_(providers))
    return {row.id: row.name for row in tx.execute(found)}


def _most(programme: Programme) -> int | None:
    """What an enterprise's first voucher in a year may be issued for."""
    limit = tightest(limits(programme, first=True, issued=0, contract=None))
    return None if limit is None else limit.most.fen


def _preview(
    programme: Programme,
    organizations: Mapping[str, str],
    providers: Mapping[str, str],
    estimates: Mapping[str, Estimate],
    most: int | None,
    pools: tuple[PreviewedPool, ...],
) -> Preview:
    of_providers: Counter[str] = Counter()
    sold: Counter[str] = Counter()
    claims: dict[int, tuple[int, int]] = {}
    for one in estimates.values():
        for provider, (amount, pays) in one.providers.items():
            sold[provider] += amount
            of_providers[provider] += pays
        for start, (claimed, pays) in one.claims.items():
            before = claims.get(start, (0, 0))
            claims[start] = before[0] + claimed, before[1] + pays
    return Preview(
        programme=programme.id,
        programme_name=programme.name,
        mode=programme.mode,
        organizations=tuple(
            PreviewedOrganization(
                organization=organization,
                name=organizations[organization],
                voucher=None if most is None else Money(most),
                claims=_claims(one.claims),
                **_sums([one]),
            )
            for organization, one in sorted(estimates.items(), key=lambda item: (-item[1].pays, item[0]))
        ),
        providers=tuple(
            PreviewedProvider(
                provider=provider,
                name=providers[provider],
                used=Money(sold[provider]),
                pays=Money(of_providers[provider]),
            )
            for provider in sorted(sold, key=lambda one: (-of_providers[one], one))
        ),
        claims=_claims(claims),
        pools=pools,
        **_sums([*estimates.values()]),
    )


def _claims(claims: Mapping[int, tuple[int, int]]) -> tuple[PreviewedClaim, ...]:
    return tuple(
        PreviewedClaim(starts_at=clock.from_seconds(start), claimed=Money(claimed), pays=Money(pays))
        for start, (claimed, pays) in sorted(claims.items())
    )


def _sums(estimates: Sequence[Estimate]) -> dict[str, Any]:
    sums = {
        name: Money(sum(getattr(one, name) for one in estimates)) for name in ("used", "supported", "claimed", "pays")
    }
    cuts = {name: Money(sum(getattr(one.cut, name) for one in estimates)) for name in Cuts.model_fields}
    return sums | {"cut": Cuts(**cuts)}
