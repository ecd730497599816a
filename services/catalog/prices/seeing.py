"""Who sees what of a price list: prices that are for an organization by name are between it and the centre."""

from collections.abc import Collection

from caravan.contracts.prices import PriceList, Tariff
from caravan.kernel.tokens import Caller
from services.catalog.reading import sees_all


def seen_by(caller: Caller, price_list: PriceList, provider: str) -> PriceList:
    """All of it for the provider and the platform; for others what is for all, for classes, or for organizations of theirs."""
    if price_list.for_all or caller.is_provider_admin(provider) or sees_all(caller):
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
