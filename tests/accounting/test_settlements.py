"""What vouchers pay as periods close: claims with their floors and caps, on lines, over late usage, revocations and two levels."""

import csv
import io
from collections import Counter
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from caravan.cli import show
from caravan.contracts.jobs import Outcome
from caravan.contracts.offerings import Tier
from caravan.contracts.prices import Component
from caravan.contracts.programmes import Settles
from caravan.contracts.statements import Statement, StatementLine
from caravan.contracts.vouchers import ClawbackDraft
from caravan.kernel import clock, ids
from caravan.kernel.bulk import InsertMany
from caravan.kernel.database import table_of
from caravan.kernel.local_days import zone_named
from caravan.kernel.money import Money
from services.accounting.programmes.claims import Holder, Used
from services.accounting.redemptions import closed_lines
from services.accounting.redemptions.claiming import (
    DiscountLine,
    Group,
    Past,
    Settled,
    Span,
    UsageLine,
    Voucher,
    ends_at,
    settled,
    span_of,
)
from services.accounting.redemptions.models import LineShareRow, RedemptionRow, SettlementRow
from services.accounting.redemptions.service import keep_open
from services.accounting.redemptions.verify import verify
from services.accounting.vouchers import ending
from services.accounting.vouchers.models import VoucherRow
from tests.accounting.books import period_at
from tests.accounting.programmes_cases import key, office, programme
from tests.accounting.test_redemptions import ahead, charged, funds, issued, settle, standing
from tests.accounting.volume import LATER, MONTH, close, sound
from tests.accounting.world import T0, Job, World
from tests.support import ok, pointers, refused

SHANGHAI = zone_named("Asia/Shanghai")


async def subsidies(job: Job, **filters: str) -> list[tuple[str, str | None]]:
    """Of each line that costs something its amount and what of it vouchers pay."""
    return [(line["amount"], line["subsidy"]) for line in await job.lines(**filters) if line["amount"] != "0.00"]


async def settlements(world: World, voucher: str) -> list[tuple[str, str, str]]:
    """By period: what was claimed of it, paid on lines, and for earlier ones."""
    query = select(SettlementRow).where(SettlementRow.voucher == voucher).order_by(SettlementRow.period)
    rows = await world.db.read(lambda tx: tx.scalars(query).all())
    return [(str(Money(row.claimed)), str(Money(row.on_lines)), str(Money(row.earlier))) for row in rows]


async def test_what_a_voucher_pays_stands_on_the_lines_of_a_closed_period(sold: World) -> None:
    voucher = await issued(sold, "1000.00")
    job, run = await charged(sold, 999)
    settle(job, run)
    await sold.deliver()
    assert await subsidies(job) == [("9.99", None)]
    before = await funds(sold, "available", "granted")
    await close(sold)
    assert await subsidies(job) == [("9.99", "3.00")]
    assert await funds(sold, "available", "granted") == before == ["4993.01", "3.00"]
    assert await standing(sold, voucher) == ("3.00", "3.00")
    assert await settlements(sold, voucher) == [("3.00", "3.00", "0.00")]


async def test_a_statement_says_what_vouchers_pay_and_what_is_due(sold: World) -> None:
    voucher = await issued(sold, "1000.00", floor="5.00", settles="year", name="训力券")
    await charged(sold, 999)
    await close(sold)
    await charged(sold, 700)
    second = sold.job()
    await second.hold("50.00")
    second.place()
    second.use(ids.new("run"), MONTH * 3600, MONTH * 3600 + 1001)
    await sold.deliver()
    april = await close(sold, MONTH * 3600)
    statements = ok(await sold.finance.get("/statements", limit=200))["items"]
    mine = {one["period"]: one for one in statements if one["party"] == "organization"}
    march = next(one for period, one in mine.items() if period != april)
    assert (march["gross"], march["due"], march["redemptions"][0]["on_lines"]) == ("9.99", "9.99", "0.00")
    found = mine[april]
    (redemption,) = found["redemptions"]
    assert {name: redemption[name] for name in ("voucher", "programme_name", "on_lines", "earlier")} == {
        "voucher": voucher,
        "programme_name": "训力券",
        "on_lines": "5.10",
        "earlier": "3.00",
    }
    assert (found["gross"], found["due"]) == ("17.01", "8.91")
    (sellers,) = (one for one in statements if one["party"] == "provider" and one["period"] == april)
    assert (sellers["gross"], sellers["due"], sellers["redemptions"]) == ("17.01", None, [])
    rows = list(
        csv.DictReader(
            io.StringIO((await sold.finance.get(f"/statements/{found['id']}/csv")).text.removeprefix("\ufeff"))
        )
    )
    assert sorted(
        (row["金额(元) Amount (CNY)"], row["补贴(元) Subsidy (CNY)"], row["自付(元) Own part (CNY)"]) for row in rows
    )[-2:] == [
        ("10.01", "3.00", "7.01"),
        ("7.00", "2.10", "4.90"),
    ]
    shown = Console(width=200, file=io.StringIO(), record=True)
    lines = ok(await sold.finance.get(f"/statements/{found['id']}/lines", limit=200))["items"]
    shown.print(show.statement(Statement.model_validate(found), [StatementLine.model_validate(one) for one in lines]))
    text = shown.export_text()
    assert "训力券 pays" in text and "5.10, and 3.00 for earlier statements" in text and "8.91" in text


async def test_a_claim_below_the_floor_pays_nothing_until_later_months_of_its_span_reach_it(sold: World) -> None:
    voucher = await issued(sold, "1000.00", floor="5.00", settles="year")
    first, run = await charged(sold)
    settle(first, run)
    await sold.deliver()
    assert await funds(sold, "granted") == ["3.00"]
    await close(sold)
    assert (await subsidies(first), await funds(sold, "granted")) == ([("10.00", "0.00")], ["0.00"])
    second = sold.job()
    await second.hold("50.00")
    second.place()
    second.use(ids.new("run"), MONTH * 3600, MONTH * 3600 + 700)
    await sold.deliver()
    await close(sold, MONTH * 3600)
    assert await subsidies(second) == [("7.00", "2.10")]
    assert await settlements(sold, voucher) == [("3.00", "0.00", "0.00"), ("2.10", "2.10", "3.00")]
    assert await standing(sold, voucher) == ("5.10", "5.10")


async def test_where_a_cap_binds_lines_are_filled_as_their_usage_ended(sold: World) -> None:
    voucher = await issued(sold, "1000.00", caps={"claim": "4.00"})
    late, early = sold.job(), sold.job()
    for job, start in ((late, 1000), (early, 0)):
        await job.hold("50.00")
        job.place()
        job.use(ids.new("run"), start, start + 1000)
    await sold.deliver()
    await close(sold)
    assert (await subsidies(early), await subsidies(late)) == ([("10.00", "3.00")], [("10.00", "1.00")])
    assert await standing(sold, voucher) == ("4.00", "4.00")


async def test_what_is_given_back_later_is_given_back_to_the_cap_that_it_came_from(sold: World) -> None:
    voucher = await issued(sold, "4.00", settles="year")
    first, run = await charged(sold)
    second, _ = await charged(sold)
    await close(sold)
    assert await standing(sold, voucher) == ("4.00", "4.00")
    first.end(run, Outcome.SITE)
    await sold.deliver()
    await close(sold, MONTH * 3600)
    borne = await subsidies(first) + await subsidies(second)
    assert sum(Money.parse(subsidy or "0.00").fen for _, subsidy in borne) == 100
    assert await standing(sold, voucher) == ("3.00", "3.00")
    assert await settlements(sold, voucher) == [("6.00", "4.00", "0.00"), ("-3.00", "-3.00", "2.00")]


async def test_what_a_job_has_pledged_as_a_period_closes_is_paid_to_its_claims_once_the_job_lets_it_go(
    sold: World,
) -> None:
    voucher = await issued(sold, "4.00")
    waits = sold.job()
    assert (await waits.hold("10.00", ahead=ahead(sold, "10.00")))["granted"]
    done, run = await charged(sold)
    settle(done, run)
    await sold.deliver()
    await close(sold)
    assert await settlements(sold, voucher) == [("3.00", "1.00", "0.00")]
    await close(sold, MONTH * 3600)
    waits.settle({})
    await sold.deliver()
    assert await standing(sold, voucher) == ("1.00", "1.00")
    assert await sold.db.write(ending.expire, LATER + timedelta(days=1)) == 1
    assert await sold.db.write(ending.release) == 0
    june = await close(sold, 2 * MONTH * 3600)
    assert await settlements(sold, voucher) == [("3.00", "1.00", "0.00"), ("0.00", "0.00", "2.00")]
    assert (await standing(sold, voucher), await funds(sold, "granted", "charged")) == (
        ("3.00", "3.00"),
        ["3.00", "10.00"],
    )
    (found,) = ok(await sold.member.get("/statements", period=june))["items"]
    assert (found["line_count"], found["due"]) == (0, "-2.00")
    assert await sold.db.write(ending.release) == 1


async def test_levels_that_stack_pay_together_as_the_period_closes(sold: World) -> None:
    city = await issued(sold, "1000.00", stacks_to=4000)
    province = await issued(
        sold,
        "1000.00",
        issuer={"name": "省科技厅", "level": "province"},
        rates=[{"rate": 2000}],
        stacks_to=10000,
    )
    job, run = await charged(sold)
    settle(job, run)
    await sold.deliver()
    assert [await standing(sold, one) for one in (city, province)] == [("3.00", "3.00"), ("0.00", "0.00")]
    await close(sold)
    assert await subsidies(job) == [("10.00", "4.00")]
    assert [await standing(sold, one) for one in (city, province)] == [("2.00", "2.00"), ("2.00", "2.00")]


@pytest.mark.parametrize("settles", ["month", "year"])
async def test_a_voucher_that_is_revoked_pays_nothing_more_and_what_it_paid_stays(sold: World, settles: str) -> None:
    voucher = await issued(sold, "1000.00", settles=settles)
    first, run = await charged(sold)
    settle(first, run)
    await sold.deliver()
    await close(sold)
    second = sold.job()
    await second.hold("10.00", ahead=())
    second.place()
    second.use(ids.new("run"), MONTH * 3600, MONTH * 3600 + 1000)
    await sold.deliver()
    await sold.db.write(lambda tx: tx.execute(update(VoucherRow).values(state="revoked", revoked_at=LATER)))
    await close(sold, MONTH * 3600)
    assert (await subsidies(first), await subsidies(second)) == ([("10.00", "3.00")], [("10.00", None)])
    assert await standing(sold, voucher) == ("3.00", "3.00")


async def test_a_revocation_while_a_job_runs_takes_what_was_redeemed_back(sold: World) -> None:
    voucher = await issued(sold, "1000.00")
    job, run = await charged(sold)
    await sold.db.write(lambda tx: tx.execute(update(VoucherRow).values(state="revoked", revoked_at=LATER)))
    settle(job, run)
    await sold.deliver()
    assert await funds(sold, "granted", "available") == ["3.00", "4993.00"]
    await close(sold)
    assert (await subsidies(job), await standing(sold, voucher)) == ([("10.00", None)], ("0.00", "0.00"))
    assert await funds(sold, "granted", "available") == ["0.00", "4990.00"]


async def test_what_is_clawed_back_is_owed_again_and_not_paid_a_second_time(sold: World) -> None:
    voucher = await issued(sold, "1000.00", settles="year")
    job, run = await charged(sold)
    settle(job, run)
    await sold.deliver()
    early = ClawbackDraft(amount=Money(1), reason="材料不实")
    path, own = f"/vouchers/{voucher}/claw-back", office(sold)
    assert pointers(refused(await own.post(path, early, key("early")), 422, "invalid")) == ["/amount"]
    await close(sold)
    some = ClawbackDraft(amount=Money(120), reason="材料不实")
    found = ok(await own.post(path, some, key("a")))
    assert [found[name] for name in ("pledged", "redeemed", "released", "clawed_back")] == [
        "1.80",
        "1.80",
        "1.20",
        "1.20",
    ]
    assert ok(await own.post(path, some, key("a"))) == found
    refused(await sold.admin.post(path, some, key("b")), 404, "not_found")
    most = refused(await own.post(path, ClawbackDraft(amount=Money(181), reason="?"), key("c")), 422, "invalid")
    assert most["errors"][0]["detail"].startswith("Give at most 1.80,")
    assert await funds(sold, "granted", "available") == ["1.80", "4991.80"]
    assert await standing(sold, voucher) == ("1.80", "1.80")
    second = sold.job()
    await second.hold("50.00")
    second.place()
    second.use(ids.new("run"), MONTH * 3600, MONTH * 3600 + 1000)
    await sold.deliver()
    april = await close(sold, MONTH * 3600)
    statements = ok(await sold.finance.get("/statements", limit=200))["items"]
    (mine,) = (one for one in statements if (one["party"], one["period"]) == ("organization", april))
    (redemption,) = mine["redemptions"]
    assert (redemption["on_lines"], redemption["earlier"], mine["due"]) == ("3.00", "-1.20", "8.20")
    assert await standing(sold, voucher) == ("4.80", "4.80")


async def test_what_has_paid_all_that_it_is_for_may_be_clawed_back(sold: World) -> None:
    voucher = await issued(sold, "3.00")
    await charged(sold)
    await close(sold)
    some = ClawbackDraft(amount=Money(300), reason="材料不实")
    found = ok(await office(sold).post(f"/vouchers/{voucher}/claw-back", some, key("a")))
    assert (found["pledged"], found["released"]) == ("0.00", "3.00")


async def test_a_job_that_was_submitted_while_it_was_valid_is_paid_for_though_it_expires(sold: World) -> None:
    voucher = await issued(sold, "1000.00", settles="month")
    job, run = await charged(sold, 1000, "100.00")
    await sold.db.write(lambda tx: tx.execute(update(VoucherRow).values(state="expired")))
    job.use(run, MONTH * 3600, MONTH * 3600 + 500)
    await sold.deliver()
    await close(sold)
    await close(sold, MONTH * 3600)
    assert sorted(await subsidies(job)) == [("10.00", "3.00"), ("5.00", "1.50")]
    assert await settlements(sold, voucher) == [("3.00", "3.00", "0.00"), ("1.50", "1.50", "0.00")]


async def test_a_jobs_usage_has_ended_when_it_held_something_last_though_a_later_hour_was_stated(sold: World) -> None:
    await issued(sold, "10.00")
    first, run = await charged(sold, 3600, "100.00")
    first.use(run, 3600, 3700)
    await sold.deliver()
    first.use(run, 3600, 3600, revision=2)
    second, _ = await charged(sold, 1800, "100.00")
    await close(sold)
    assert (await subsidies(second), await subsidies(first)) == ([("18.00", "5.40")], [("36.00", "4.60")])


async def test_a_volume_discount_takes_its_part_of_what_vouchers_pay(sold: World) -> None:
    voucher = await issued(sold, "1000.00")
    job = sold.job()
    await job.hold("1000.00")
    job.place()
    job.use(ids.new("run"), 0, 3600, cpus=9)
    await sold.deliver()
    await close(sold)
    found = ok(await sold.finance.get("/lines", limit=200))["items"]
    lines = {line["kind"]: line for line in found if line["amount"] != "0.00"}
    assert (lines["usage"]["amount"], lines["usage"]["subsidy"]) == ("324.00", "97.20")
    assert (lines["volume_discount"]["amount"], lines["volume_discount"]["subsidy"]) == ("-28.80", "-8.64")
    assert await standing(sold, voucher) == ("88.56", "88.56")


async def test_a_line_that_shows_another_subsidy_is_found(sold: World) -> None:
    await issued(sold, "1000.00")
    job, _ = await charged(sold)
    await close(sold)

    def spoil(tx: Session) -> list[tuple[str, str]]:
        tx.execute(update(LineShareRow).values(paid=LineShareRow.paid - 1))
        return list(verify(tx))

    found = await sold.db.write(spoil)
    (line,) = (one for one in await job.lines() if one["amount"] != "0.00")
    assert found == [(line["id"], "it shows 300 fen of subsidy, and its vouchers pay 299")]


MARCH, APRIL, JULY = (
    clock.from_seconds(clock.to_seconds(datetime(2026, month, 1, tzinfo=SHANGHAI))) for month in (3, 4, 7)
)


def test_a_period_belongs_to_the_span_in_which_it_begins() -> None:
    starts = {
        settles: [span_of("", settles, period, SHANGHAI).start for period in (MARCH, APRIL, JULY)]
        for settles in Settles
    }
    january, first = (
        clock.to_seconds(datetime(2026, 1, 1, tzinfo=SHANGHAI)),
        [*map(clock.to_seconds, (MARCH, APRIL, JULY))],
    )
    assert starts == {
        Settles.MONTH: first,
        Settles.QUARTER: [january, *first[1:]],
        Settles.YEAR: [january] * 3,
    }


USED = Used(Component.CPU_CORE_HOUR, Tier.HPC, None, "prv")


def made(number: int, period: datetime, amount: int, ends_at: int) -> UsageLine:
    job = f"job_{number:032x}"
    return UsageLine(f"lin_{number:032x}", job, Group(str(period), "prl", "cpu", ""), period, 10, ends_at, USED, amount)


lines = st.lists(
    st.tuples(st.sampled_from([MARCH, APRIL, JULY]), st.integers(-3000, 10_000), st.integers(0, 5)), max_size=8
)


limits = st.fixed_dictionaries(
    {"floor": st.integers(0, 2000).map(lambda fen: str(Money(fen)))},
    optional={
        "caps": st.fixed_dictionaries(
            {},
            optional={
                name: st.integers(0, 4000).map(lambda fen: str(Money(fen))) for name in ("claim", "redeemed_in_year")
            },
        )
    },
)


@given(lines, st.lists(st.integers(0, 8), max_size=3), st.sampled_from(Settles), st.integers(0, 8000), limits)
def test_claims_come_to_the_same_in_however_many_closes_their_lines_came(
    drawn: list[tuple[datetime, int, int]], cuts: list[int], settles: Settles, most: int, rules: dict[str, Any]
) -> None:
    terms = programme(settles=settles, **rules)
    voucher = Voucher("vou_1", "prg", terms, Holder(frozenset(), None, frozenset()), most, 0, 11, None)
    own = [made(number, *one) for number, one in enumerate(drawn)]
    edges = [0, *sorted(cuts), len(own)]
    past, claims = Past(), [settled([voucher], own, [], Past(), SHANGHAI)]
    for start, end in pairwise(edges):
        claims.append(settled([voucher], own[start:end], [], past, SHANGHAI))
        past = _with(past, claims[-1])
    at_once = _with(Past(), claims[0])
    assert _paid(past) == _paid(at_once)
    assert sum(past.paid.values()) <= most
    for claim in (claim for closed in claims for claim in closed.values()):
        assert claim.pays == claim.earlier + sum(stands for _, stands in claim.lines.values())
        assert all(abs(stands) <= abs(share) and stands * share >= 0 for share, stands in claim.lines.values())


def test_a_voucher_that_is_used_up_leaves_later_lines_to_another_and_is_gone_on_with_where_there_is_none() -> None:
    one, two = (
        Voucher(
            f"vou_{n}", "prg", programme(settles="month"), Holder(frozenset(), None, frozenset()), 1000, 0, 11, None
        )
        for n in (1, 2)
    )
    march = Span("vou_1", span_of("vou_1", Settles.MONTH, MARCH, SHANGHAI).start, 2026)
    past = Past({march: 1500}, {march: 1000})
    later = [made(1, APRIL, 2000, 0)]
    assert [span.voucher for span in settled([one, two], later, [], past, SHANGHAI)] == ["vou_2"]
    assert {span.voucher: claim.pays for span, claim in settled([one], later, [], past, SHANGHAI).items()} == {
        "vou_1": 0
    }


@given(lines, st.lists(st.integers(0, 8), max_size=3), st.sampled_from(["city", "province"]), st.integers(0, 10_000))
def test_a_voucher_that_deducts_pays_as_if_there_were_none_that_reimburses_in_however_many_closes(
    drawn: list[tuple[datetime, int, int]], cuts: list[int], level: str, limit: int
) -> None:
    holder, other = Holder(frozenset(), None, frozenset()), {"name": "省科技厅", "level": level}
    deducts = programme(stacks_to=limit)
    reimburses = programme(mode="reimbursed", issuer=other, rates=[{"rate": 5000}], stacks_to=10_000)
    two = [
        Voucher(f"vou_{n}", f"prg_{n}", terms, holder, 10**9, 0, 11, None)
        for n, terms in enumerate((deducts, reimburses))
    ]
    own = [made(number, *one) for number, one in enumerate(drawn)]
    alone = _paid(_with(Past(), settled(two[:1], own, [], Past(), SHANGHAI)))
    past = Past()
    for start, end in pairwise([0, *sorted(cuts), len(own)]):
        past = _with(past, settled(two, own[start:end], [], past, SHANGHAI))
    paid = _paid(past)
    assert {span: fen for span, fen in paid.items() if span.voucher == "vou_0"} == alone
    assert paid == _paid(_with(Past(), settled(two, own, [], Past(), SHANGHAI)))
    if level == "city" or limit <= 3000:
        assert paid == alone


def test_one_that_is_used_up_leaves_lines_to_one_of_the_other_mode() -> None:
    holder = Holder(frozenset(), None, frozenset())
    terms = programme(settles="month"), programme(settles="month", mode="reimbursed")
    two = [Voucher(f"vou_{n}", f"prg_{n}", one, holder, 1000, 0, 11, None) for n, one in enumerate(terms)]
    march = Span("vou_0", span_of("vou_0", Settles.MONTH, MARCH, SHANGHAI).start, 2026)
    later = [made(1, APRIL, 2000, 0)]
    assert [one.voucher for one in settled(two, later, [], Past(), SHANGHAI)] == ["vou_0"]
    found = settled(two, later, [], Past({march: 1500}, {march: 1000}), SHANGHAI)
    assert {span.voucher: one.pays for span, one in found.items()} == {"vou_1": 600}


def test_what_corrects_a_line_is_paid_by_those_and_at_the_rates_that_paid_for_it() -> None:
    holder = Holder(frozenset(), None, frozenset())
    terms = programme(settles="month"), programme(settles="month", rates=[{"rate": 1000}])
    two = [Voucher(f"vou_{n}", f"prg_{n}", one, holder, 1000, 0, 11, None) for n, one in enumerate(terms)]
    march = Span("vou_0", span_of("vou_0", Settles.MONTH, MARCH, SHANGHAI).start, 2026)
    line = made(1, APRIL, 2000, 0)
    first = settled(two, [line], [], Past({march: 1500}, {march: 1000}), SHANGHAI)
    assert {span.voucher: one.rates for span, one in first.items()} == {"vou_1": {line.id: 1000}}
    past = replace(_with(Past({march: 500}, {march: 500}), first), rates={(line.job, line.group): {"vou_1": 1000}})
    for amount, pays in ((-2000, -200), (500, 50)):
        again = settled(two, [line._replace(id="lin_2", amount=amount)], [], past, SHANGHAI)
        assert {span.voucher: one.pays for span, one in again.items() if one.pays} == {"vou_1": pays}
    nobody = replace(past, rates={(line.job, line.group): {}})
    assert settled(two, [line._replace(id="lin_2")], [], nobody, SHANGHAI) == {}


@given(
    st.tuples(st.integers(1, 5000), st.integers(1, 4999)),
    st.lists(st.tuples(st.integers(-3000, 9000), st.integers(0, 100)), min_size=1, max_size=3),
)
def test_a_discount_gives_back_all_that_it_takes_off_of_those_who_pay_it_together(
    parts: tuple[int, int], drawn: list[tuple[int, int]]
) -> None:
    """At all times: over discounts that grow, with what was used since."""
    holder = Holder(frozenset(), None, frozenset())
    issuers = [{"name": level, "level": level} for level in ("national", "province", "city")]
    rates = [*parts, 10_000 - sum(parts)]
    terms = [
        programme(settles="month", issuer=issuer, rates=[{"rate": one}], stacks_to=10_000)
        for issuer, one in zip(issuers, rates, strict=True)
    ]
    three = [Voucher(f"vou_{n}", f"prg_{n}", one, holder, 10**9, 0, 11, None) for n, one in enumerate(terms)]
    past, used, discounted = Past(), Counter[tuple[Group, str]](), Counter[tuple[Group, str]]()
    basis = 0
    for number, (amount, percent) in enumerate(drawn):
        line = made(number, MARCH, amount, 0)._replace(group=made(0, MARCH, 0, 0).group)
        basis += amount
        off = -(basis * percent // 100)
        discount = DiscountLine(f"lin_off{number}", line.group, MARCH, off, basis)
        past = replace(past, used=used, discounted=discounted)
        for span, one in settled(three, [line] if amount else [], [discount], past, SHANGHAI).items():
            used[line.group, span.voucher] += one.lines.get(line.id, (0, 0))[0]
            discounted[line.group, span.voucher] += one.lines.get(discount.id, (0, 0))[0]
        assert sum(used.values()) == basis
        assert sum(discounted.values()) == (off if basis else 0)


def test_a_span_is_over_as_the_next_one_begins() -> None:
    for settles, starts, ends in (
        (Settles.MONTH, (2026, 12), (2027, 1)),
        (Settles.QUARTER, (2026, 10), (2027, 1)),
        (Settles.QUARTER, (2026, 1), (2026, 4)),
        (Settles.YEAR, (2026, 1), (2027, 1)),
    ):
        span = span_of("", settles, datetime(*starts, 1, tzinfo=SHANGHAI), SHANGHAI)
        over = ends_at(span, settles, SHANGHAI)
        assert over == datetime(*ends, 1, tzinfo=SHANGHAI)
        assert span_of("", settles, over, SHANGHAI).start == clock.to_seconds(over)


def _with(past: Past, close: dict[Span, Settled]) -> Past:
    claimed, paid = Counter(past.claimed), Counter(past.paid)
    for span, one in close.items():
        claimed[span] += one.claimed
        paid[span] += one.pays
    return Past(claimed, paid)


def _paid(past: Past) -> dict[Span, int]:
    return {span: fen for span, fen in past.paid.items() if fen}


def test_a_discount_is_spread_by_what_vouchers_pay_of_what_it_is_taken_off() -> None:
    voucher = Voucher("vou_1", "prg", programme(), Holder(frozenset(), None, frozenset()), 10**6, 0, 11, None)
    group = Group(str(MARCH), "prl", "cpu", "")
    own = [made(1, MARCH, 6000, 0), made(2, MARCH, 4000, 0)._replace(submitted_at=11)]
    off = DiscountLine("lin_off", group, MARCH, -1000, 10_000)
    (one,) = settled([voucher], own, [off], Past(), SHANGHAI).values()
    assert one.lines == {own[0].id: (1800, 1800), "lin_off": (-180, -180)}
    past = Past({Span("vou_1", 0, 2026): 0}, {}, {(group, "vou_1"): 1800}, {(group, "vou_1"): -180})
    later = DiscountLine("lin_later", group, MARCH, -1200, 10_000)
    (again,) = [one for one in settled([voucher], [], [later], past, SHANGHAI).values() if one.lines]
    assert again.lines == {"lin_later": (-36, -36)}


async def test_what_a_credit_note_gives_back_of_a_line_is_given_back_to_who_has_paid_it(sold: World) -> None:
    voucher = await issued(sold, "4.00", settles="year")
    job, _ = await charged(sold)
    await charged(sold)
    period = await close(sold)
    (line,) = [one for one in await job.lines() if one["amount"] != "0.00"]
    (statement,) = ok(await sold.member.get("/statements", period=period))["items"]
    before = Money.parse((await funds(sold, "available"))[0])
    paid = Money.parse(line["subsidy"])
    notes = []
    for amount in ("3.33", "6.67"):
        draft = {"statement": statement["id"], "line": line["id"], "amount": amount, "reason": "机房断电"}
        notes.append(ok(await sold.finance.post("/credit-notes", draft, {"Idempotency-Key": ids.new("evt")}), 201))
    assert sum((Money.parse(note["subsidy"]) for note in notes), Money(0)) == paid
    assert ok(await sold.member.get("/credit-notes"))["items"] == notes[::-1]
    after = Money.parse((await funds(sold, "available"))[0])
    assert after - before == Money(1000) - paid
    left = str(Money(400) - paid)
    assert await standing(sold, voucher) == (left, left)
    await charged(sold, 100, ahead=())
    await close(sold, MONTH * 3600)
    assert await standing(sold, voucher) == ("3.30", "3.30")
    await sound(sold)


async def test_a_period_closes_in_which_a_voucher_counts_for_more_jobs_than_a_statement_takes_values(
    sold: World,
) -> None:
    voucher = await issued(sold, "1000.00")
    job, _ = await charged(sold)
    many = [f"job_{number:032x}" for number in range(33_000)]
    period = await sold.db.write(period_at, T0)

    def unit(tx: Session) -> None:
        values = {"organization": sold.organization, "voucher": voucher, "pledged": 0, "redeemed": 0, "settled": True}
        InsertMany(table_of(RedemptionRow)).run(tx, [values | {"job": one} for one in many])
        lines: list[Any] = [SimpleNamespace(corrects="", period=period, job=one) for one in (*many, job.id)]
        ends = closed_lines._ends(tx, lines)
        assert len(ends) == len(lines) and ends[period, job.id] == clock.to_seconds(T0) + 1000
        assert keep_open(tx, {*many, job.id}, period) == {voucher: (300, 300)}

    await sold.db.write(unit)


async def test_what_a_closed_period_has_of_an_attempt_that_goes_on_is_not_pledged_again(sold: World) -> None:
    voucher = await issued(sold, "1000.00")
    job, _ = await charged(sold, 500)
    await close(sold)
    assert await standing(sold, voucher) == ("3.00", "1.50")
    assert (await job.hold("20.00", ahead=ahead(sold, "10.00") * 2))["granted"]
    assert await standing(sold, voucher) == ("6.00", "1.50")


async def test_what_was_clawed_back_is_not_taken_again_with_what_is_given_back_of_its_line(sold: World) -> None:
    voucher = await issued(sold, "1000.00", settles="year")
    first, run = await charged(sold)
    second, _ = await charged(sold)
    period = await close(sold)
    all_ = ClawbackDraft(amount=Money(600), reason="材料不实")
    ok(await office(sold).post(f"/vouchers/{voucher}/claw-back", all_, key("all")))
    assert await funds(sold, "granted", "charged", "available") == ["0.00", "20.00", "4980.00"]
    (line,) = [one for one in await second.lines() if one["amount"] != "0.00"]
    (statement,) = ok(await sold.member.get("/statements", period=period))["items"]
    draft = {"statement": statement["id"], "line": line["id"], "amount": "10.00", "reason": "机房断电"}
    ok(await sold.finance.post("/credit-notes", draft, {"Idempotency-Key": ids.new("evt")}), 201)
    assert await funds(sold, "granted", "charged", "available") == ["0.00", "10.00", "4990.00"]
    first.end(run, Outcome.SITE)
    await sold.deliver()
    april = await close(sold, MONTH * 3600)
    assert await funds(sold, "granted", "charged", "held") == ["0.00", "0.00", "10.00"]
    assert await standing(sold, voucher) == ("0.00", "0.00")
    found = ok(await office(sold).get(f"/vouchers/{voucher}"))
    assert (found["released"], found["clawed_back"]) == ("6.00", "0.00")
    (mine,) = ok(await sold.member.get("/statements", period=april))["items"]
    (redemption,) = mine["redemptions"]
    assert (redemption["on_lines"], redemption["earlier"]) == ("-3.00", "0.00")


def test_a_voucher_that_is_revoked_has_only_what_corrects_periods_that_were_closed_before() -> None:
    terms, holder = programme(settles="year"), Holder(frozenset(), None, frozenset())
    voucher = Voucher("vou_1", "prg", terms, holder, 10**6, 0, 11, revoked_at=APRIL)
    span = span_of("vou_1", Settles.YEAR, MARCH, SHANGHAI)
    past = Past({span: 300}, {span: 300})
    line = made(1, MARCH, -1000, 5)
    for closed_at, pays in ((APRIL, -300), (JULY, 0), (None, 0)):
        found = settled([voucher], [line._replace(closed_at=closed_at)], [], past, SHANGHAI)
        assert (found[span].pays if found else 0) == pays


async def test_the_next_statement_names_what_was_clawed_back_though_months_go_by_without_one(sold: World) -> None:
    voucher = await issued(sold, "1000.00")
    job, run = await charged(sold)
    settle(job, run)
    await sold.deliver()
    await close(sold)
    some = ClawbackDraft(amount=Money(120), reason="材料不实")
    ok(await office(sold).post(f"/vouchers/{voucher}/claw-back", some, key("some")))
    await close(sold, MONTH * 3600)
    second = sold.job()
    await second.hold("50.00")
    second.place()
    second.use(ids.new("run"), 2 * MONTH * 3600, 2 * MONTH * 3600 + 1000)
    await sold.deliver()
    may = await close(sold, 2 * MONTH * 3600)
    (mine,) = ok(await sold.member.get("/statements", period=may))["items"]
    assert sum(Money.parse(one["earlier"]).fen for one in mine["redemptions"]) == -120


async def test_a_voucher_that_expires_is_not_released_before_the_jobs_that_it_covers_are_claimed(sold: World) -> None:
    await issued(sold, "1000.00", stacks_to=4000)
    province: dict[str, Any] = {
        "issuer": {"name": "省科技厅", "level": "province"},
        "rates": [{"rate": 2000}],
        "stacks_to": 10000,
    }
    voucher = await issued(sold, "1000.00", **province)
    job, run = await charged(sold)
    await sold.db.write(lambda tx: tx.execute(update(VoucherRow).values(state="expired")))
    assert await sold.db.write(ending.release, voucher) == 0
    settle(job, run)
    await sold.deliver()
    assert await sold.db.write(ending.release, voucher) == 0
    await close(sold)
    assert await subsidies(job) == [("10.00", "4.00")]
    assert await sold.db.write(ending.release, voucher) == 1
    assert await standing(sold, voucher) == ("2.00", "2.00")
