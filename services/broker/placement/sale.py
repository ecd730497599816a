"""By which prices an offering is sold to an organization, and to its reseller, where that sells it on. Pure."""

from dataclasses import dataclass

from caravan.contracts.dispatch import Grant
from caravan.contracts.prices import Buyer, PriceList
from caravan.contracts.quotes import Reason
from caravan.contracts.usage import Resale
from caravan.kernel import clock
from caravan.pricing import WorstCase, options_of, prices_for, worst_case
from services.broker.placement import refusals
from services.broker.placement.copies import CatalogView, Sold
from services.broker.placement.question import Question, Reseller


@dataclass(frozen=True)
class Bought:
    """Prices as they are for `buyer`, from now to the end of the job's walltime."""

    buyer: Buyer
    prices: PriceList


@dataclass(frozen=True)
class Supply(Bought):
    """How a reseller buys what it sells on."""

    reseller: Reseller

    @property
    def resale(self) -> Resale:
        return Resale(
            reseller=self.reseller.organization,
            project=self.reseller.project,
            price_list=self.prices.id,
            price_class=self.buyer.price_class,
            options=self.buyer.options,
        )


@dataclass(frozen=True)
class Wholesale:
    """What a reseller buys, and what that may cost it at most."""

    resale: Resale
    worst: WorstCase


@dataclass(frozen=True)
class Sale:
    """By what the organization buys; `supply`: by what its reseller does, if that sells to it."""

    retail: Bought
    supply: Supply | None

    def wholesale(self, grant: Grant, question: Question) -> Wholesale | None:
        supply, now = self.supply, clock.to_seconds(question.now)
        if supply is None:
            return None
        return Wholesale(supply.resale, worst_case(grant, question.tasks, supply.prices, now))


def sale_of(question: Question, sold: Sold, view: CatalogView) -> Sale | list[Reason]:
    """Who sells what at which prices, or why there are none for all of the job's time."""
    reseller, reasons = question.reseller, []
    resold = view.resold_by(reseller, sold.offering.id, question.now)
    retail = _bought(question.organization, resold or sold.prices, question, sold, view)
    if retail is None:
        reasons.append(
            refusals.reason(
                "no_price",
                "价目表中适用于贵单位的价格未覆盖从现在到作业时长结束的时间",
                "The prices that its price list has for your organization do not cover the time from now to the job's walltime",
            )
        )
    supply = None
    if resold is not None and reseller is not None:
        bought = _bought(reseller.organization, sold.prices, question, sold, view)
        if bought is None:
            reasons.append(
                refusals.reason(
                    "no_price",
                    "转售方向算力中心购买的价格未覆盖从现在到作业时长结束的时间",
                    "The prices at which its reseller buys it do not cover the time from now to the job's walltime",
                )
            )
        else:
            supply = Supply(bought.buyer, bought.prices, reseller)
    return reasons if reasons or retail is None else Sale(retail, supply)


def _bought(
    organization: str, price_list: PriceList | None, question: Question, sold: Sold, view: CatalogView
) -> Bought | None:
    """None where the list doesn't price all of the time for the organization."""
    if price_list is None:
        return None
    buyer = Buyer(organization=organization, price_class=view.classes.get(organization))
    if not price_list.for_all:
        options = options_of(price_list, sold.offering.target_with(question.spec.options))
        buyer = buyer.model_copy(update={"options": options})
    prices = prices_for(price_list, buyer)
    return Bought(buyer, prices) if refusals.priced_through(prices, question) else None
