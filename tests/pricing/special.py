"""Strategies for price lists with tariffs for some buyers and options, and for those who buy."""

from hypothesis import strategies as st
from pydantic import ValidationError

from caravan.contracts.prices import Buyer, Buyers, PriceList, PriceListDraft, Tariff
from caravan.pricing import prices_for
from tests.pricing.cases import COMPONENTS, at, price_list, price_windows, prices

ACME, BETA, OTHER = (f"org_{digit * 32}" for digit in "abc")
buyers = st.builds(
    Buyer,
    organization=st.sampled_from([ACME, ACME, BETA, OTHER]),
    price_class=st.sampled_from(["高校", "高校", "small", None]),
    options=st.sampled_from(
        [{"qos": "high"}, {"qos": "low"}, {"qos": "high", "priority": "high"}, {"qos": "other", "nodes": "1"}, {}]
    ),
)
_some = st.sampled_from(
    [
        None,
        Buyers(organizations=(ACME,)),
        Buyers(classes=("高校",)),
        Buyers(organizations=(ACME, BETA)),
        Buyers(organizations=(BETA,), classes=("高校", "small")),
    ]
)
_high, _low = ("high",), ("low",)
_options: st.SearchStrategy[dict[str, tuple[str, ...]]] = st.sampled_from(
    [
        {},
        {"qos": _high},
        {"qos": _low},
        {"qos": (*_high, *_low)},
        {"priority": _high},
        {"qos": _high, "priority": _high},
        {"qos": _low, "priority": _high},
    ]
)


@st.composite
def tariffs(draw: st.DrawFn, name: str) -> Tariff:
    start = draw(st.integers(-20, 40))
    ends = draw(st.none() | st.integers(start + 1, 80))
    return Tariff(
        name=name,
        starts_at=at(start),
        ends_at=None if ends is None else at(ends),
        prices=draw(st.dictionaries(st.sampled_from(COMPONENTS), prices, min_size=1)),
        buyers=draw(_some),
        options=draw(_options),
        windows=draw(st.just(()) | price_windows()),
    )


@st.composite
def special_lists(draw: st.DrawFn) -> PriceList:
    """Up to six tariffs, of which those that the contract refuses beside the ones before them are left out."""
    kept: list[Tariff] = []
    for number in range(draw(st.integers(1, 6))):
        drawn = draw(tariffs(f"t{number}"))
        try:
            PriceListDraft(tariffs=(*kept, drawn))
        except ValidationError:
            continue
        kept.append(drawn)
    return price_list(*kept)


def lists_for_somebody() -> st.SearchStrategy[PriceList]:
    """What such lists are for one buyer."""
    return st.builds(prices_for, special_lists(), buyers)
