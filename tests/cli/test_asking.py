"""What a person sees of a problem."""

from datetime import UTC, datetime

import pytest
import typer

from caravan.cli import asking
from caravan.cli.show import when
from caravan.contracts.problems import NothingDue, WrongState
from caravan.kernel.money import Money
from caravan.kernel.problems import Problem

AT = datetime(2026, 11, 30, 16, tzinfo=UTC)


@pytest.mark.parametrize(
    ("problem", "said"),
    [
        (WrongState(state="paid", allowed=("filed", "under_review")), "  allowed: filed, under_review\n"),
        (NothingDue(amount=Money(0), waits=Money(2400), waits_until=AT), f"  waits until: {when(AT)}\n"),
    ],
)
def test_figures_of_a_problem_are_written_as_in_tables(
    problem: Problem, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(typer.Exit):
        asking.refused(problem, as_json=False)
    assert capsys.readouterr().err.endswith(said)
