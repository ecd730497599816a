"""Who sees what of a price list, and as whom: prices that are for an organization by name are between it and the centre."""

from collections.abc import Collection
from datetime import datetime

from sqlalchemy import ColumnElement, or_, true
from sqlalchemy.orm import Session

from caravan.contracts.prices import Buyer, PriceList, Tariff
from caravan.kernel.problems import FieldError, Invalid
from caravan.kernel.tokens import Caller
from caravan.pricing.resale import holds, sells
from services.catalog.parties.models import OrganizationRow
from services.catalog.prices.lists import newest
from services.catalog.prices.models import PROVIDERS, PriceListRow
from services.catalog.reading import sees_all, unknown
from services.catalog.resale.memberships import Membership, memberships


def buyer_of(tx: Session, asked: str | None, caller: Caller, pointer: str, at: datetime) -> Buyer:
    """The organization that was asked for at `pointer`, or the caller's only one; nobody where that is open.

    Raises UnknownReference for one that the caller isn't in, and Invalid where it is open and all of his buy from resellers at `at`:
    none of them is who the providers' own prices are for.
    """
    mine, organization = caller.organizations(), asked
    if organization is None and len(mine) == 1:
        (organization,) = mine
    if organization is None and mine and not sees_all(caller) and mine == _members(tx, mine, at):
        detail = "Your organizations buy from resellers: name the one whose prices you want."
        raise Invalid(errors=[FieldError(pointer=pointer, code="missing", detail=detail)])
    row = tx.get(OrganizationRow, organization) if organization is not None else None
    if asked is not None and (row is None or not (row.id in mine or sees_all(caller))):
        raise unknown(pointer)
    return Buyer(organization=row.id, price_class=row.price_class) if row else Buyer()


def _members(tx: Session, organizations: Collection[str], at: datetime) -> set[str]:
    """Those of them that buy from a reseller."""
    return {one.organization for one in memberships(tx, organizations, at) if holds(one, at)}


def shown_to(tx: Session, caller: Caller, offering: str, provider: str, at: datetime) -> ColumnElement[bool]:
    """Which lists of an offering the caller may see at `at`.

    A reseller's: the platform, the reseller, and who was or is its member, of those made before he ceased to be. The provider's: everybody;
    of those made since all organizations of the caller's buy from resellers, where these sell the offering, the provider and the platform.
    """
    if sees_all(caller):
        return true()
    mine = caller.organizations()
    begun = memberships(tx, mine, at)
    made, reseller = PriceListRow.created_at, PriceListRow.reseller
    shown: list[ColumnElement[bool]] = [reseller.in_(sorted(mine))]
    shown += [(reseller == one.reseller) & (true() if one.ends_at is None else made < one.ends_at) for one in begun]
    resold = {
        one.organization: _since(one, begun)
        for one in begun
        if holds(one, at) and sells(newest(tx, offering, one.reseller), at)
    }
    hidden = mine and resold.keys() == mine and not caller.is_provider_admin(provider)
    shown.append((reseller == PROVIDERS) & (made < max(resold.values()) if hidden else true()))
    return or_(*shown)


def _since(now: Membership, begun: Collection[Membership]) -> datetime:
    """From when on, without a break, the organization has bought from resellers: an agreement may follow on another."""
    ended = {one.ends_at: one.starts_at for one in begun if one.organization == now.organization}
    since = now.starts_at
    while since in ended:
        since = ended[since]
    return since


def seen_by(caller: Caller, price_list: PriceList, provider: str) -> PriceList:
    """All of it for who sells by it and the platform; for others what is for all, for classes, or for organizations of theirs."""
    sells_by_it = (
        caller.is_provider_admin(provider)
        if price_list.reseller is None
        else price_list.reseller in caller.organizations()
    )
    if price_list.for_all or sells_by_it or sees_all(caller):
        return price_list
    mine = caller.organizations()
    seen = (_seen(tariff, mine) for tariff in price_list.tariffs)
    return price_list.model_copy(update={"tariffs": tuple(tariff for tariff in seen if tariff is not None)})


def _seen(tariff: Tariff, mine: Collection[str]) -> Tariff | None:
    """The tariff without the names of others; None: it is for none but those."""
    if tariff.buyers is None:
        return tariff
    organizations = tuple(one for one in tariff.buyers.organizations if one in mine)
    if not organizations and not tariff.buyers.classes:
        return None
    buyers = tariff.buyers.model_copy(update={"organizations": organizations})
    return tariff.model_copy(update={"buyers": buyers})
