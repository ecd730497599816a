"""Everything has its turn in time, and no pass has much more than its share."""

from math import ceil

from hypothesis import given
from hypothesis import strategies as st

from services.broker.agent.rota import Rota

SECONDS = 10.0


def names(count: int, first: int = 0) -> dict[str, None]:
    return {str(number): None for number in range(first, first + count)}


@given(st.integers(1, 200), st.lists(st.floats(0.01, 3), min_size=1, max_size=60))
def test_everything_has_a_turn_in_time_and_no_pass_more_than_its_share(count: int, pauses: list[float]) -> None:
    rota, at, had = Rota(SECONDS), 100.0, dict[str, float]()
    assert rota.turns(names(count), at) == list(names(count)), "what is new comes at once"
    had = dict.fromkeys(names(count), at)
    for pause in pauses:
        at += pause
        given = rota.turns(names(count), at)
        assert len(given) <= ceil(count * pause / SECONDS) + 1
        had |= dict.fromkeys(given, at)
        assert max(at - last for last in had.values()) <= SECONDS + pause + SECONDS / count
    assert len(set(given)) == len(given)


def test_after_a_long_pause_all_have_a_turn_and_none_has_two() -> None:
    rota = Rota(SECONDS)
    rota.turns(names(5), 100)
    assert rota.turns(names(5), 1000) == list(names(5))


def test_what_is_new_is_looked_at_first_and_what_has_gone_no_more() -> None:
    rota = Rota(SECONDS)
    rota.turns(names(4), 100)
    assert rota.turns(names(4, first=2), 105) == ["4", "5"]
    assert rota.turns(names(4, first=2), 110) == ["2", "3"]
    assert rota.turns(names(1), 110) == ["0"], "it has come again"
