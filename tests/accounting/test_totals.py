"""What a statement says of its lines: pure arithmetic, and the two sides of the same lines."""

from dataclasses import dataclass
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


@dataclass(frozen=True)
class Line:
    """What a tally reads of a line."""

    organization: str
    provider: str
    amount: int
    bearer: str
    corrects: str
    tax_treatment: str
    tax_rate: int
    tax: int


LINES = st.lists(
    st.builds(
        Line,
        st.sampled_from([ORG, OTHER_ORG]),
        st.sampled_from([PRV, OTHER_PRV]),
        st.integers(-(10**7), 10**7),
        st.sampled_from(["organization", "provider", "nobody"]),
        st.sampled_from(["", "per_0"]),
        st.sampled_from(["taxed", "exempt"]),
        st.sampled_from([0, 300, 600]),
        st.integers(-(10**6), 10**6),
    ),
    max_size=20,
)


@given(LINES)
def test_organizations_and_providers_come_to_the_same_sections(lines: list[Line]) -> None:
    tallies: dict[str, Tally] = {}
    for line in lines:
        tallies.setdefault(line.organization, Tally()).add(line.provider, line)
        tallies.setdefault(line.provider, Tally()).add(line.organization, line)
    totals = {party: tally.totals() for party, tally in tallies.items()}
    for name in ("gross", "tax", "adjustments", "borne_by_provider", "notional", "line_count"):
        of_organizations = sum(getattr(total, name) for party, total in totals.items() if party.startswith("org"))
        of_providers = sum(getattr(total, name) for party, total in totals.items() if party.startswith("prv"))
        assert of_organizations == of_providers
    sides: dict[str, set[object]] = {"org": set(), "prv": set()}
    for party, total in totals.items():
        mine = [line for line in lines if party in (line.organization, line.provider) and line.bearer == "organization"]
        assert (total.gross, total.tax) == (sum(line.amount for line in mine), sum(line.tax for line in mine))
        nobodys = [line for line in lines if party in (line.organization, line.provider) and line.bearer == "nobody"]
        assert total.notional == sum(line.amount for line in nobodys)
        assert total.gross == sum(section.gross for section in total.sections)
        assert total.tax == sum(section.tax for section in total.sections)
        for section in total.sections:
            pair = frozenset({party, section.key.counterparty})
            sides[party[:3]].add((pair, section.key.treatment, section.key.rate, section.gross, section.tax))
    assert sides["org"] == sides["prv"]
