"""What finance writes on the command line, as far as it needs no platform, and what it is shown."""

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from rich.console import RenderableType
from typer.testing import CliRunner, Result

from caravan.cli import app, corrections, show
from caravan.cli.asking import console
from caravan.cli.terms import hundredths
from caravan.contracts.anomalies import Anomaly, AnomalyReason, AnomalyState
from caravan.contracts.base import Words
from caravan.contracts.contests import Contest, ContestState
from caravan.contracts.corrections import (
    CorrectedDiscounts,
    CorrectionDetail,
    CorrectionPreview,
    CorrectionProgress,
    CorrectionShare,
    CorrectionState,
)
from caravan.contracts.credit_notes import CreditNote
from caravan.contracts.explanations import (
    DiscountExplanation,
    ExplainedBearer,
    ExplainedLine,
    Explanation,
    Factor,
    LineExplanation,
)
from caravan.contracts.fees import FeeAgreement
from caravan.contracts.jobs import Outcome
from caravan.contracts.prices import Buyer, Component, PriceList, Tariff
from caravan.contracts.silences import Silence
from caravan.contracts.statements import BearerKind, Line, LineKind, Period, PeriodState, Statement, UsageLine
from caravan.contracts.usage import Span, UsageRecord
from caravan.kernel.money import Money, percent
from caravan.pricing.explained import explained_span

ORGANIZATION, PERIOD, SITE, OTHER = ("org_" + "0" * 32, "per_" + "0" * 32, "sit_" + "1" * 32, "sit_" + "2" * 32)
SELLER = "org_" + "0" * 31 + "2"
OFFERING = "off_" + "0" * 31 + "3"
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
    untaxed=(SELLER,),
    unknown_offerings=(OFFERING,),
    version=2,
)


def test_what_a_closing_period_waits_for_is_said_by_name() -> None:
    names = {SITE: "一号站 Hall one"}
    assert show.waits(CLOSING, names, END) == (
        f"2026-03 waits for the usage of 一号站 Hall one ({SITE}), the usage of a site ({OTHER}), "
        f"2 facts that can't be applied yet; accounting's log says why, a tax rule of {SELLER}: caravan finance tax-rule, "
        f"the offering {OFFERING}, of which the catalog has not told yet"
    )
    assert show.waits(CLOSING, names, END - timedelta(seconds=1)).startswith("2026-03 waits for its end at ")
    nothing = {"waiting_for": (), "parked_facts": 0, "untaxed": (), "unknown_offerings": ()}
    assert show.waits(CLOSING.model_copy(update=nothing), names, END) == ""


def test_a_period_is_shown_with_what_it_waits_for_or_was_closed_without() -> None:
    text = shown(show.period(CLOSING))
    assert re.search(rf"waits for +{SITE}, {OTHER}", text) and re.search("parked facts +2", text)
    assert re.search(f"without tax rule +{SELLER}", text) and re.search(f"unknown offerings +{OFFERING}", text)
    nothing = {"waiting_for": (), "parked_facts": 0, "untaxed": (), "unknown_offerings": ()}
    closed = {"state": PeriodState.CLOSED, **nothing, "late_sites": (SITE,)}
    text = shown(show.period(CLOSING.model_copy(update=closed)))
    assert (
        re.search(f"late sites +{SITE}", text)
        and "waits for" not in text
        and "parked" not in text
        and "tax" not in text
        and "offerings" not in text
    )
    closed["set_aside"] = {AnomalyReason.TAKEN_BACK: 1, AnomalyReason.CONTRADICTORY: 2}
    text = shown(show.period(CLOSING.model_copy(update=closed)))
    assert re.search("set aside +1 hour taken back, 2 hours contradictory", text)


CORRECTION = CorrectionDetail(
    id="cor_" + "0" * 32,
    provider="prv_" + "0" * 32,
    state=CorrectionState.APPLYING,
    offering="off_" + "0" * 32,
    starts_at=END - timedelta(days=2),
    ends_at=END,
    price_list="prl_" + "0" * 32,
    replaces="all",
    reason="1.00 was published instead of 0.10",
    progress=CorrectionProgress(previewed_jobs=30, applied_jobs=20),
    proposed_by="first",
    proposed_at=END,
    preview=CorrectionPreview(
        jobs=30,
        lines=60,
        before=Money(1000),
        after=Money(100),
        difference=Money(-900),
        paying_more=0,
        more=Money(0),
        paying_less=1,
        less=Money(900),
        organizations=(
            CorrectionShare(
                organization=ORGANIZATION,
                jobs=30,
                lines=60,
                before=Money(1000),
                after=Money(100),
                difference=Money(-900),
            ),
        ),
    ),
)


def test_a_correction_is_shown_with_what_each_organization_pays_more_or_less() -> None:
    of_march = CorrectedDiscounts(
        period="per_" + "0" * 32, period_name="2026-03", whole=False, words=Words(zh="一部分", en="in part")
    )
    found = CORRECTION.model_copy(update={"volume_discounts": (of_march,)})
    text = shown(corrections.detail(found)).replace("│", " ")
    assert re.search(r"volume discounts +一部分\s+in part", text)
    assert re.search(rf"{ORGANIZATION} +30 +60 +10.00 +1.00 +-9.00", text)
    assert re.search(r"sum +30 +60 +10.00 +1.00 +-9.00", text)
    assert re.search("pay less +1, 9.00 in all", text) and re.search("instead of +all", text)
    assert "decided" not in text
    assert corrections.how_far(CORRECTION) == "applying: 20 of 30 jobs"
    assert re.search(f"applying .*{CORRECTION.id}", shown(corrections.listed([CORRECTION])))


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        (("--from", "2026-03-30"), "starts_at: "),
        (("--to", "2026-03-01T00:00:00+08:00"), "ends_at must be after"),
        (("--replaces", "prl_1"), "replaces"),
        (("--reason", ""), "reason: "),
    ],
)
def test_a_correction_that_is_none_is_refused_by_the_name_of_what_is_wrong(wrong: tuple[str, ...], named: str) -> None:
    times = ("--from", "2026-03-30T00:00:00+08:00", "--to", "2026-04-01T00:00:00+08:00")
    right = ("--offering", CORRECTION.offering, *times, "--price-list", CORRECTION.price_list, "--reason", "wrong")
    done = caravan("correction", "propose", *right, *wrong)
    assert done.exit_code == 2
    assert named in done.stderr
    assert caravan("correction", "propose", *right).exit_code == 1


def shown(found: RenderableType) -> str:
    out = console()
    with out.capture() as text:
        out.print(found)
    return text.get()


PROVIDER, STATEMENT = "prv_" + "4" * 32, "stm_" + "5" * 32


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        (("--percent", "6.005"), "percent: "),
        (("--percent", "six"), "percent: "),
        (("--percent", "NaN"), "percent: "),
        (("--percent", "101"), "rate: "),
        (("--seller", "Centre"), "seller: "),
        (("--starts-at", "2027-01-01T00:00:00"), "starts_at: "),
        (("--treatment", "free"), "--treatment"),
    ],
)
def test_a_tax_rule_that_is_none_is_refused_by_the_name_of_what_is_wrong(wrong: tuple[str, ...], named: str) -> None:
    right = ("--seller", PROVIDER, "--percent", "6.5%", "--starts-at", "2027-01-01T00:00:00+08:00")
    done = caravan("tax-rule", *right, *wrong)
    assert done.exit_code == 2
    assert named in done.stderr
    assert caravan("tax-rule", *right).exit_code == 1


def test_a_fee_agreement_that_is_none_is_refused_by_the_name_of_what_is_wrong() -> None:
    right = ("--provider", PROVIDER, "--percent", "5", "--starts-at", "2027-01-01T00:00:00+08:00")
    for wrong, named in ((("--floor", "7"), "floor: "), (("--percent", "5.001"), "percent: ")):
        done = caravan("fee-agreement", *right, *wrong)
        assert (done.exit_code, named in done.stderr) == (2, True)
    assert caravan("fee-agreement", *right, "--when-paid").exit_code == 1


def test_fee_agreements_are_listed_with_when_they_are_due() -> None:
    agreement = {"provider": PROVIDER, "rate": 500, "due": "when_paid", "starts_at": "2027-01-01T00:00:00+08:00"}
    made = {"id": "fee_" + "7" * 32, "made_at": "2026-12-01T00:00:00Z", "made_by": "finance"}
    assert "when paid" in shown(show.fee_agreements([FeeAgreement.model_validate(agreement | made)]))


@pytest.mark.parametrize(("text", "rate"), [("6", 600), ("6.5", 650), ("0.01%", 1), ("100", 10_000), ("0", 0)])
def test_percentages_become_hundredths_and_come_back(text: str, rate: int) -> None:
    assert hundredths(text) == rate
    assert Decimal(percent(rate).removesuffix("%")) == Decimal(text.removesuffix("%"))


def test_a_statement_shows_how_it_is_taxed_and_what_is_paid_out() -> None:
    taxed = {"counterparty": ORGANIZATION, "counterparty_name": "甲企业", "treatment": "taxed", "rate": 600}
    exempt = {"counterparty": "org_" + "6" * 32, "counterparty_name": "乙大学", "treatment": "exempt", "rate": 0}
    fee = {
        "agreement": "fee_" + "7" * 32,
        "rate": 500,
        "floor": "0.00",
        "amount": "10.00",
        "net": "9.43",
        "tax": "0.57",
    }
    found = Statement.model_validate(
        {
            "id": STATEMENT,
            "number": "PRV-2026-000001",
            "party": "provider",
            "party_id": PROVIDER,
            "party_name": "算力中心",
            "period": PERIOD,
            "period_name": "2026-03",
            "lines_sha256": "0",
            "starts_at": END - timedelta(days=31),
            "ends_at": END,
            "issued_at": END,
            "late_sites": (),
            "set_aside": {"identity_taken": 3},
            "gross": "200.00",
            "tax": "5.66",
            "net": "194.34",
            "tax_rates": {PROVIDER: 600},
            "notional": "0.00",
            "line_count": 2,
            "sections": [
                taxed | {"gross": "100.00", "net": "94.34", "tax": "5.66"},
                exempt | {"gross": "100.00", "net": "100.00", "tax": "0.00"},
            ],
            "fee": fee | {"tax_treatment": "taxed", "tax_rate": 600},
            "payout": "190.00",
            "adjustments": "0.00",
            "borne_by_provider": "0.00",
        }
    )
    text = shown(show.statement(found, []))
    assert re.search(r"甲企业.*6\.00%.*100\.00.*94\.34.*5\.66", text)
    assert re.search(r"乙大学.*exempt.*100\.00.*100\.00.*0\.00", text)
    assert re.search("set aside +3 hours identity taken; none of it is billed here", text)
    assert re.search(r"fee +10\.00, tax of 0\.57 in it", text) and re.search(r"payout +190\.00", text)


def one(prefix: str) -> str:
    return f"{prefix}_{'3' * 32}"


def test_a_credit_note_is_shown_with_its_statement_and_reason() -> None:
    note = CreditNote(
        id=one("crn"), number="CN-2026-000001", statement=one("stm"), statement_number="ORG-2026-000007", period=PERIOD,
        line=one("lin"), organization=ORGANIZATION, organization_name="Qinling", provider=one("prv"),
        provider_name="Centre", seller=one("prv"), seller_name="Centre", amount=Money(1234), tax=Money(70), subsidy=Money(370),
        reason="机房断电", issued_at=END, issued_by="finance",
    )  # fmt: skip
    text = shown(show.credit_notes([note]))
    words = ("CN-2026-000001", "ORG-2026-000007", "12.34", "0.70", "3.70", "机房断电", "Qinling")
    assert [word in text for word in words] == [True] * len(words), text


def test_a_contest_is_shown_with_its_reason_and_the_decision() -> None:
    contest = Contest(
        id=one("cts"), run=one("run"), job=one("job"), organization=ORGANIZATION, provider=one("prv"),
        outcome=Outcome.LOST, reason="机房断电", state=ContestState.UPHELD, contested_at=END, contested_by="seller",
        words="日志如此", decided_at=END, decided_by="finance",
    )  # fmt: skip
    text = shown(show.contests([contest]))
    assert [word in text for word in (one("cts"), "lost", "upheld", "机房断电", "日志如此")] == [True] * 5, text


def test_a_credit_note_without_two_places_is_refused_before_it_is_sent() -> None:
    result = caravan("credit-note", "--statement", one("stm"), "--line", one("lin"), "--amount", "7", "--reason", "x")
    assert result.exit_code != 0
    assert "amount: " in result.output


def test_a_discount_is_explained_in_both_languages() -> None:
    line = Line(
        id=one("lin"), kind=LineKind.VOLUME_DISCOUNT, period=PERIOD, organization=ORGANIZATION, provider=one("prv"),
        seller=one("prv"), project=None, job=None, component=Component.NODE_HOUR, accelerator=None, price_list=one("prl"),
        price_list_revision=1, tariff=None, window=None, bearer=BearerKind.ORGANIZATION, unit_price=None,
        quantity=7200, amount=Money(-80), basis=Money(800),
    )  # fmt: skip
    found = DiscountExplanation(
        line=line, quantity=7200, basis=Money(800), tiers=(), discount=Money(80), correction=None,
        words=Words(zh="用量折扣", en="volume discount"),
    )  # fmt: skip
    text = shown(show.line_explanation(found))
    assert "job" not in text
    assert [word in text for word in (line.id, "-0.80", "用量折扣", "volume discount")] == [True] * 4


def a_line() -> UsageLine:
    return UsageLine(
        id=one("lin"), period=PERIOD, organization=ORGANIZATION, provider=one("prv"), seller=one("prv"), project=one("prj"),
        job=one("job"),
        component=Component.NODE_HOUR, accelerator=None, price_list=one("prl"), price_list_revision=1, tariff="2026",
        window="off-peak", bearer=BearerKind.ORGANIZATION, unit_price=Decimal("4"), quantity=7200, amount=Money(800),
    )  # fmt: skip


def test_an_explanation_tells_the_nights_of_a_window_apart() -> None:
    line = a_line()
    nights = [
        Factor(
            run=one("run"),
            line=line.id,
            start=start,
            end=start + timedelta(hours=1),
            seconds=3600,
            units=1,
            quantity=3600,
        )
        for start in (datetime(2026, 3, day, 15, tzinfo=UTC) for day in (10, 11))
    ]
    explained = ExplainedLine(
        line=line, divisor=3600, arithmetic=Words(zh="八", en="7200 x 4.00 / 3600 = 8.00"), factors=tuple(nights)
    )
    found = Explanation(
        job=line.job, organization=ORGANIZATION, project=line.project, charged=Money(800), borne_by_provider=Money(0), notional=Money(0),
        lines=(explained,),
    )  # fmt: skip
    text = shown(show.explanation(found))
    assert all(f"{night.start.astimezone():%m-%d %H:%M:%S}" in text for night in nights), text
    resold = found.model_copy(update={"words": Words(zh="零售", en="retail")})
    assert shown(show.explanation(resold)).split()[:2] == ["零售", "retail"]


def test_a_line_is_explained_in_both_languages_one_after_the_other() -> None:
    start = datetime(2026, 3, 10, 15, tzinfo=UTC)
    held = Span(start=start, end=start + timedelta(hours=2), nodes=1, cpus=0, memory_mib=0)
    tariff = Tariff(name="2026", starts_at=start, prices={Component.NODE_HOUR: Decimal(4)})
    prices = PriceList(id=one("prl"), offering=one("off"), revision=1, created_at=start, tariffs=(tariff,))
    price = next(p for p in explained_span(held, prices, Buyer(), None) if p.component is Component.NODE_HOUR)
    line = a_line().model_copy(update={"window": "all"})
    words = Words(zh="节点时", en="node-hours")
    found = LineExplanation(
        **{name: value for name, value in price if name != "words"},
        line=line,
        restated_in=one("lin"),
        bearer=ExplainedBearer(bearer=line.bearer, reason=None, words=words),
        correction=None,
        words=words,
    )
    text = shown(show.line_explanation(found))
    zh, en = text.index("2026-03-10（星期二），23:00 至 24:00"), text.index("2026-03-10 (Tuesday), 23:00 to 24:00")
    assert zh < text.index("7200 节点秒；7200 x 4.00 / 3600 = 8.00") < en, text
    assert re.search(rf"restated in +{one('lin')}", text) and "节点时" in text and "node-hours" in text


def test_an_anomaly_shows_why_it_is_set_aside_and_how_much_it_is() -> None:
    hour = datetime(2026, 3, 10, 8, tzinfo=UTC)
    span = Span(start=hour, end=hour + timedelta(seconds=75), nodes=1, cpus=2, memory_mib=0)
    usage = UsageRecord(
        hour=hour, revision=1, spans=(span,), run=one("run"), attempt=one("att"), job=one("job"), run_started_at=hour
    )
    found = Anomaly(
        id=one("ano"), reason=AnomalyReason.CONTRADICTORY, state=AnomalyState.OPEN, usage=usage, site=SITE,
        provider=one("prv"), organization=ORGANIZATION, found_at=END, settled_at=None, settled_by=None, words="待查",
    )  # fmt: skip
    text = shown(show.anomalies([found]))
    assert [word in text for word in (one("ano"), "contradictory", "open", "75", one("run")[:12], "待查")] == [True] * 6


def test_a_silence_shows_which_site_and_since_when() -> None:
    silence = Silence(id=one("sil"), site=SITE, provider=one("prv"), since=END, found_at=END, until=None)
    over = silence.model_copy(update={"until": END + timedelta(days=9)})
    text = shown(show.silences([silence]))
    assert [word in text for word in (one("sil"), SITE, one("prv"), show.when(END))] == [True] * 4
    assert [show.when(over.until) in shown(show.silences([each])) for each in (silence, over)] == [False, True]


def test_an_anomaly_is_not_settled_without_words() -> None:
    done = caravan("settle", one("ano"), "accept", "--words", "")
    assert done.exit_code == 2
    assert "words: " in done.stderr
