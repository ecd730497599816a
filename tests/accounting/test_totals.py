"""What a statement says of its lines: pure arithmetic, and the two sides of the same lines."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.accounting.statements.totals import Tally, net_of
from tests.accounting.books import ORG, OTHER_ORG, OTHER_PRV, PRV


def half_away(value: Fraction) -> int:
    whole = abs(value) + Fraction(1, 2)
    return int(whole) if value >= 0 else -int(whole)


@given(st.integers(-(10**12), 10**12), st.integers(0, 10_000))
def test_net_is_gross_without_tax_rounded_once(gross: int, rate: int) -> None:
    assert net_of(gross, rate) == half_away(Fraction(gross) / (1 + Fraction(rate, 10_000)))


@pytest.mark.parametrize(("gross", "rate", "net"), [(106, 600, 100), (3, 10_000, 2), (-3, 10_000, -2), (1, 600, 1)])
def test_halves_of_a_fen_go_away_from_zero(gross: int, rate: int, net: int) -> None:
    assert net_of(gross, rate) == net


FACTS = st.lists(
    st.tuples(
        st.sampled_from([ORG, OTHER_ORG]),
        st.sampled_from([PRV, OTHER_PRV]),
        st.integers(-(10**7), 10**7),
        st.sampled_from(["organization", "provider", "nobody"]),
        st.booleans(),
    ),
    max_size=20,
)
RATES = {PRV: 600, OTHER_PRV: 900}


@given(FACTS)
def test_organizations_and_providers_come_to_the_same_gross(facts: list[tuple[str, str, int, str, bool]]) -> None:
    tallies: dict[str, Tally] = {}
    for organization, provider, amount, bearer, adjustment in facts:
        for party in (organization, provider):
            tallies.setdefault(party, Tally()).add(provider, amount, bearer, adjustment=adjustment)
    totals = {party: tally.totals(RATES) for party, tally in tallies.items()}
    for name in ("gross", "adjustments", "borne_by_provider", "notional", "line_count"):
        of_organizations = sum(getattr(total, name) for party, total in totals.items() if party.startswith("org"))
        of_providers = sum(getattr(total, name) for party, total in totals.items() if party.startswith("prv"))
        assert of_organizations == of_providers
    for party, total in totals.items():
        mine = [fact for fact in facts if party in fact[:2] and fact[3] == "organization"]
        assert total.gross == sum(fact[2] for fact in mine)
        assert total.notional == sum(fact[2] for fact in facts if party in fact[:2] and fact[3] == "nobody")
        nets = sum(net_of(sum(f[2] for f in mine if f[1] == seller), rate) for seller, rate in RATES.items())
        assert total.tax == total.gross - nets
