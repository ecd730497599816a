"""What finance writes on the command line, as far as it needs no platform, and what it is shown."""

import re
from datetime import UTC, datetime, timedelta

import pytest
from typer.testing import CliRunner, Result

from caravan.cli import app, show
from caravan.cli.asking import console
from caravan.contracts.statements import Period, PeriodState

ORGANIZATION, PERIOD, SITE, OTHER = ("org_" + "0" * 32, "per_" + "0" * 32, "sit_" + "1" * 32, "sit_" + "2" * 32)
END = datetime(2026, 4, 1, tzinfo=UTC)


def caravan(*arguments: str) -> Result:
    clean = {"CARAVAN_TOKEN": "x", "CARAVAN_URL": "http://127.0.0.1:1"}
    return CliRunner().invoke(app, ["finance", *arguments], env=clean)


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        (("--amount", "7"), "amount: "),
        (("--organization", "Qinling"), "organization: "),
        (("--reference", "\n"), "reference: "),
        (("--key", "充值"), "--key"),
    ],
)
def test_a_deposit_that_is_none_is_refused_by_the_name_of_what_is_wrong(wrong: tuple[str, ...], named: str) -> None:
    right = ("--organization", ORGANIZATION, "--amount", "7.00", "--reference", "bank 7")
    done = caravan("deposit", *right, *wrong)
    assert done.exit_code == 2
    assert named in done.stderr
    assert caravan("deposit", *right).exit_code == 1


@pytest.mark.parametrize("at", ["today", "2026-06-16T00:00:00", "2026-06-16T00:00:00.5Z", "1780000000"])
def test_a_cut_wants_a_whole_second_with_its_offset(at: str) -> None:
    done = caravan("cut", PERIOD, "--at", at)
    assert done.exit_code == 2
    assert done.stderr.startswith("at: ")


CLOSING = Period(
    id=PERIOD,
    name="2026-03",
    starts_at=END - timedelta(days=31),
    ends_at=END,
    state=PeriodState.CLOSING,
    waiting_for=(SITE, OTHER),
    parked_facts=2,
    version=2,
)


def test_what_a_closing_period_waits_for_is_said_by_name() -> None:
    names = {SITE: "一号站 Hall one"}
    assert show.waits(CLOSING, names, END) == (
        f"2026-03 waits for the usage of 一号站 Hall one ({SITE}), the usage of a site ({OTHER}), "
        "2 facts that can't be applied yet; accounting's log says why"
    )
    assert show.waits(CLOSING, names, END - timedelta(seconds=1)).startswith("2026-03 waits for its end at ")
    assert show.waits(CLOSING.model_copy(update={"waiting_for": (), "parked_facts": 0}), names, END) == ""


def test_a_period_is_shown_with_what_it_waits_for_or_was_closed_without() -> None:
    assert re.search(rf"waits for +{SITE}, {OTHER}", shown(CLOSING)) and re.search("parked facts +2", shown(CLOSING))
    closed = {"state": PeriodState.CLOSED, "waiting_for": (), "parked_facts": 0, "late_sites": (SITE,)}
    text = shown(CLOSING.model_copy(update=closed))
    assert re.search(f"late sites +{SITE}", text) and "waits for" not in text and "parked" not in text


def shown(period: Period) -> str:
    out = console()
    with out.capture() as text:
        out.print(show.period(period))
    return text.get()
