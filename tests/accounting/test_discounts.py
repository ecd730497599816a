"""Volume discounts: what a period's total takes off as it closes, and what late usage makes of that."""

import csv
import io
import itertools
from collections import Counter
from datetime import timedelta
from decimal import Decimal
from typing import Final

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import given as drawn
from hypothesis import strategies as st
from sqlalchemy import insert, text
from sqlalchemy.orm import Session

from caravan.contracts.jobs import Outcome
from caravan.contracts.prices import PriceList, VolumeTier
from caravan.kernel import ids
from caravan.kernel.database import Database
from caravan.kernel.money import Money
from caravan.pricing import volume_discount
from services.accounting.discounts import service as discounts
from services.accounting.ledger.verify import verify
from services.accounting.periods import closing
from services.accounting.usage import copies
from services.accounting.usage.models import OrganizationCopy
from tests.accounting.books import AT, identifier, line, party_copies, period_at, proof
from tests.accounting.examples import examples
from tests.accounting.test_histories import Undone
from tests.accounting.volume import CORE, LATER, MONTH, close, given, tiers, use
from tests.accounting.world import T0, World, at, tariff
from tests.pricing.test_volume import rising
from tests.support import ok, refused


async def test_what_lies_above_a_threshold_is_cheaper_on_a_line_of_its_own(sold: World) -> None:
    for hour, core_hours in enumerate((4, 2, 3)):
        await use(sold, core_hours, hour)
    before = await sold.funds()
    period = await close(sold)
    (discount,) = await given(sold)
    assert {name: discount[name] for name in ("period", "quantity", "basis", "amount", "corrects")} == {
        "period": period,
        "quantity": 9 * 3600,
        "basis": "324.00",
        "amount": "-28.80",  # 3 hours at 3.60, one at 18.00
        "corrects": None,
    }
    assert (discount["component"], discount["price_list_revision"], discount["bearer"]) == (CORE, 2, "organization")
    assert [discount[name] for name in ("job", "project", "tariff", "window", "unit_price")] == [None] * 5
    after = await sold.funds()
    assert (before["charged"], after["charged"]) == ("324.00", "295.20")
    assert Decimal(after["available"]) - Decimal(before["available"]) == Decimal("28.80")
    (entry,) = ok(await sold.finance.get("/ledger/entries", kind="discount"))["items"]
    assert (entry["reference"], {p["account"].partition(":")[0]: p["amount"] for p in entry["postings"]}) == (
        period,
        {"prepaid": "-28.80", "payable": "28.80"},
    )


async def test_statements_and_their_papers_have_the_discount(sold: World) -> None:
    await use(sold, 9)
    await close(sold)
    for statement in ok(await sold.finance.get("/statements"))["items"]:
        assert (statement["gross"], statement["adjustments"]) == ("295.20", "0.00")
        path = f"/statements/{statement['id']}"
        listed = ok(await sold.finance.get(f"{path}/lines"))["items"]
        assert [item["line"]["kind"] for item in listed][:2] == ["volume_discount", "usage"]
        content = (await sold.finance.get(f"{path}/csv")).content.decode("utf-8-sig")
        first, *_ = csv.DictReader(io.StringIO(content, newline=""))
        assert first["作业名称 Job name"] == "用量折扣,基数 324.00 Volume discount on 324.00"
        assert (first["数量 Quantity"], first["金额(元) Amount (CNY)"]) == ("32400", "-28.80")
        assert (first["作业 Job"], first["项目 Project"], first["单价(元) Unit price (CNY)"]) == ("", "", "")


async def test_lines_come_in_pages_past_a_discount(sold: World) -> None:
    await use(sold, 9)
    await close(sold)
    statement = ok(await sold.finance.get("/statements"))["items"][0]
    path, cursor, seen = f"/statements/{statement['id']}/lines", None, []
    while True:
        page = ok(await sold.finance.get(path, limit=1, **({"cursor": cursor} if cursor else {})))
        seen += [item["line"]["id"] for item in page["items"]]
        if (cursor := page["next"]) is None:
            break
    assert len(seen) == len({*seen}) == statement["line_count"]


async def test_what_reaches_no_threshold_has_no_line(sold: World) -> None:
    await use(sold, 5)
    await close(sold)
    assert await given(sold) == []


async def test_what_the_provider_bears_counts_for_nothing(sold: World) -> None:
    await use(sold, 9, outcome=Outcome.SITE)
    await use(sold, 6, 1)
    await close(sold)
    assert [(one["quantity"], one["amount"]) for one in await given(sold)] == [(6 * 3600, "-3.60")]


async def test_each_organization_has_its_own_total(sold: World) -> None:
    other, project = ids.new("org"), ids.new("prj")
    sold.know_organization(other, project)
    await sold.deliver()
    await sold.deposit("1000.00", other)
    for organization, whose, cores in ((sold.organization, sold.project, 6), (other, project, 7)):
        job, run = sold.job(organization, whose), ids.new("run")
        await job.hold("500.00")
        job.place()
        job.use(run, 0, 3600, cpus=cores)
        job.end(run)
    await sold.deliver()
    await close(sold)
    assert {one["organization"]: one["amount"] for one in await given(sold)} == {
        sold.organization: "-3.60",
        other: "-7.20",
    }


@pytest.mark.parametrize(("ends", "off"), [(timedelta(0), "-3.60"), (timedelta(microseconds=1), "-1.80")])
async def test_the_newest_list_made_before_the_periods_end_holds_for_all_of_it(
    sold: World, ends: timedelta, off: str
) -> None:
    await use(sold, 6)
    april = T0.replace(month=3, day=31, hour=16)
    one = tariff("day", None, None, cpu_core_hour="40.00")
    sold.know_prices(ids.new("prl"), 3, one, created_at=april - ends, volume={CORE: tiers((5, "5"))})
    await sold.deliver()
    await close(sold)
    assert [line["amount"] for line in await given(sold)] == [off]


async def test_a_newer_list_without_discounts_ends_them(sold: World) -> None:
    await use(sold, 9)
    sold.know_prices(ids.new("prl"), 3, tariff("day", None, None, cpu_core_hour="36.00"), created_at=at(60))
    await sold.deliver()
    await close(sold)
    assert await given(sold) == []


async def test_late_usage_is_discounted_by_the_difference_when_its_adjustments_period_closes(sold: World) -> None:
    await use(sold, 4)
    march = await close(sold)
    await use(sold, 3, 1)
    assert await given(sold) == []
    april = await close(sold, MONTH * 3600)
    (first,) = await given(sold)
    assert (first["period"], first["corrects"]) == (april, march)
    assert (first["quantity"], first["basis"], first["amount"]) == (7 * 3600, "252.00", "-7.20")
    job, run = await use(sold, 2, 2)
    may = await close(sold, 2 * MONTH * 3600)
    _, second = await given(sold)
    assert (second["period"], second["corrects"]) == (may, march)
    assert (second["quantity"], second["basis"], second["amount"]) == (2 * 3600, "72.00", "-21.60")
    job.use(run, 7200, 7200, revision=2)
    await sold.deliver()
    await close(sold, 3 * MONTH * 3600)
    *_, third = await given(sold)
    assert (third["quantity"], third["basis"], third["amount"]) == (-2 * 3600, "-72.00", "21.60")
    statement = ok(await sold.finance.get("/statements", period=third["period"]))["items"][0]
    assert statement["gross"] == statement["adjustments"] == "-50.40"


async def test_late_usage_of_one_period_and_the_usage_of_another_are_discounted_apart(sold: World) -> None:
    await use(sold, 4)
    march = await close(sold)
    await use(sold, 2, 1)
    await use(sold, 6, MONTH)
    april = await close(sold, MONTH * 3600)
    found = {(one["period"], one["corrects"]): one["amount"] for one in await given(sold)}
    assert found == {(april, march): "-3.60", (april, None): "-3.60"}
    (entry,) = ok(await sold.finance.get("/ledger/entries", kind="discount"))["items"]
    assert {posting["amount"] for posting in entry["postings"]} == {"7.20", "-7.20"}


async def test_adjustments_that_stand_in_an_open_period_are_discounted_as_that_closes(sold: World) -> None:
    await use(sold, 4)
    march = await close(sold)
    await use(sold, 2, 1)
    april = await sold.db.write(period_at, at(MONTH * 3600))
    ok(await sold.finance.post(f"/periods/{april}/close"))
    await use(sold, 2, 2)
    await close(sold, MONTH * 3600)
    may = await close(sold, 2 * MONTH * 3600)
    found = [(one["period"], one["corrects"], one["quantity"], one["amount"]) for one in await given(sold)]
    assert found == [(april, march, 6 * 3600, "-3.60"), (may, march, 2 * 3600, "-7.20")]


async def test_usage_that_comes_between_the_discounts_and_the_seal_is_in_both(sold: World) -> None:
    await use(sold, 6)
    period = await sold.db.write(period_at, T0)
    ok(await sold.finance.post(f"/periods/{period}/close"))
    assert await sold.db.read(discounts.organizations, period) == [sold.organization]
    for _ in range(2):
        await sold.db.write(discounts.bring_up, period, LATER, sold.organization)
        assert [one["amount"] for one in await given(sold)] == ["-3.60"]
    await sold.consistent()
    await use(sold, 3, 1)
    await close(sold)
    assert [(one["quantity"], one["amount"]) for one in await given(sold)] == [(9 * 3600, "-28.80")]


async def test_a_discount_goes_when_the_usage_goes_before_the_seal(sold: World) -> None:
    job, run = await use(sold, 6)
    period = await sold.db.write(period_at, T0)
    ok(await sold.finance.post(f"/periods/{period}/close"))
    await sold.db.write(discounts.bring_up, period, LATER)
    job.use(run, 0, 3600, cpus=5, revision=2)
    await sold.deliver()
    await close(sold)
    assert await given(sold) == []
    assert (await sold.funds())["charged"] == "180.00"


async def test_a_period_that_is_not_closing_is_left_alone(sold: World) -> None:
    await use(sold, 9)
    period = await sold.db.write(period_at, T0)
    await sold.db.write(discounts.bring_up, period, LATER)
    assert await given(sold) == []
    await close(sold)
    (discount,) = await given(sold)
    await use(sold, 9, 1)
    await sold.db.write(discounts.bring_up, period, LATER)
    assert await given(sold) == [discount]


async def test_a_jobs_explanation_has_no_discount_and_an_export_has_all_price_lists_that_may_hold(sold: World) -> None:
    job, _ = await use(sold, 9)
    period = await close(sold)
    assert ok(await sold.finance.get(f"/jobs/{job.id}/explanation"))["charged"] == "324.00"
    export = ok(await sold.finance.get("/exports/usage", period=period))
    assert [one["record"]["job"] for one in export["usage"]] == [job.id]
    assert {one["revision"]: len(one["volume_discounts"]) for one in export["price_lists"]} == {1: 0, 2: 1}


async def test_a_discount_is_explained_by_its_tiers_and_an_adjustment_by_the_difference(sold: World) -> None:
    await use(sold, 7)
    march = await close(sold)
    await use(sold, 2, 1)
    await close(sold, MONTH * 3600)
    first, second = await given(sold)
    path = "/lines/{}/explanation"
    assert ok(await sold.member.get(path.format(first["id"]))) == {
        "line": first,
        "quantity": 25_200,
        "basis": "252.00",
        "tiers": [{"above": 5, "percent_off": "10", "quantity": 7200}],
        "discount": "7.20",
        "correction": None,
        "words": {
            "zh": "用量折扣：共 25200 核秒，计 252.00 元；超过 5 核时的 7200 减免 10%；252.00 x (10 x 7200) / (100 x 25200) = 7.20",
            "en": "volume discount: 25200 core-seconds came to 252.00; 7200 above 5 core-hours at 10% off;"
            " 252.00 x (10 x 7200) / (100 x 25200) = 7.20",
        },
    }
    late = ok(await sold.seller.get(path.format(second["id"])))
    assert [tier["quantity"] for tier in late["tiers"]] == [10_800, 3600]
    assert (late["quantity"], late["basis"], late["discount"]) == (32_400, "324.00", "28.80")
    assert late["correction"] | {"words": None} == {
        "period": march,
        "period_name": "2026-03",
        "billed_before": "-7.20",
        "now": "-28.80",
        "difference": "-21.60",
        "words": None,
    }
    other = sold.service.person("other", f"org/{ids.new('org')}:member")
    refused(await other.get(path.format(first["id"])), 404, "not_found")


async def test_a_discount_that_is_not_what_it_should_be_is_found(sold: World) -> None:
    await use(sold, 9)
    await close(sold)
    other = tariff("day", None, None, cpu_core_hour="36.00")
    sold.know_prices(ids.new("prl"), 3, other, created_at=at(60), volume={CORE: tiers((5, "25"))})
    await sold.deliver()
    found = await sold.db.read(lambda tx: list(verify(tx)))
    assert [(one.check, one.subject) for one in found] == [("discount", sold.organization)]
    assert found[0].detail.endswith(": 28.80 is taken off, and should be 36.00")


PIECES: Final = (3, 4, 2, -1)
"""Core-hours that are used, or taken back, of one period."""


async def test_in_whichever_periods_usage_comes_the_discounts_sum_to_that_of_its_total(db: Database) -> None:
    """An organization for each way in which four pieces can come before the close, or late in one of two later periods."""
    ways = dict(enumerate(itertools.product(range(3), repeat=len(PIECES)), start=10))
    document = PriceList(
        id=identifier("prl", 1),
        offering=identifier("off", 1),
        revision=1,
        created_at=T0,
        tariffs=(tariff("base", None, None, cpu_core_hour="0.35"),),
        volume_discounts={CORE: tiers((2, "12.34"), (5, "33.33"))},
    )

    def write(tx: Session) -> list[str]:
        party_copies(tx)
        copies.price_list(tx, {"data": document.model_dump(mode="json")})
        for number in ways:
            org = identifier("org", number)
            tx.execute(insert(OrganizationCopy).values(id=org, name="企业", version=1))
        return [period_at(tx, AT + timedelta(days=31 * month)) for month in range(3)]

    def bill(tx: Session, month: int, of: str, period: str) -> None:
        for number, way in ways.items():
            for piece, (hours, comes) in enumerate(zip(PIECES, way, strict=True)):
                if comes == month:
                    line(
                        tx,
                        number * 10 + piece,
                        period,
                        hours * 3600,
                        organization=identifier("org", number),
                        corrects=of if month else "",
                    )

    def close_at(tx: Session, period: str) -> None:
        closing._start(tx, period, LATER + timedelta(days=1000), timedelta())
        assert closing.finish(tx, period, LATER + timedelta(days=1000))

    periods = await db.write(write)
    for month, period in enumerate(periods):
        await db.write(bill, month, periods[0], period)
        await db.write(close_at, period)

    def sums(tx: Session) -> dict[str, tuple[int, int, int]]:
        rows = tx.execute(
            text("SELECT organization, quantity, basis, amount FROM lines WHERE kind = 'volume_discount'")
        )
        found: dict[str, tuple[int, int, int]] = {}
        for organization, *totals in rows:
            quantity, basis, amount = found.get(organization, (0, 0, 0))
            found[organization] = (quantity + totals[0], basis + totals[1], amount + totals[2])
        return found

    quantity, basis = 8 * 3600, 280
    off = volume_discount(CORE, document.volume_discounts[CORE], quantity, basis)
    assert Money(off) == Money(48)
    assert await db.read(sums) == {identifier("org", number): (quantity, basis, -off) for number in ways}
    found = await db.read(lambda tx: [one for one in proof(tx) if one.check != "funds"])
    assert found == []


ORDERS: Final = st.lists(st.tuples(st.integers(-9000, 40_000).filter(bool), st.integers(0, 2)), min_size=1, max_size=6)
"""Core-seconds that are used, or taken back, of one period; before it closes, or late in one of two later ones."""


@settings(examples(10, 1000), suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@drawn(orders=st.lists(ORDERS, min_size=1, max_size=3), steps=rising())
async def test_in_whichever_order_usage_comes_discounts_are_those_of_the_totals(
    db: Database, orders: list[list[tuple[int, int]]], steps: tuple[VolumeTier, ...]
) -> None:
    """Each order is of an organization of its own. Tiers begin within a few core-hours."""
    near = tuple(tier.model_copy(update={"above": tier.above % 3 + 3 * place}) for place, tier in enumerate(steps))
    document = PriceList(
        id=identifier("prl", 1),
        offering=identifier("off", 1),
        revision=1,
        created_at=T0,
        tariffs=(tariff("base", None, None, cpu_core_hour="0.35"),),
        volume_discounts={CORE: near},
    )

    def unit(tx: Session) -> None:
        party_copies(tx)
        copies.price_list(tx, {"data": document.model_dump(mode="json")})
        names = [identifier("org", number) for number in range(10, 10 + len(orders))]
        for name in names:
            tx.execute(insert(OrganizationCopy).values(id=name, name="企业", version=1))
        months = [period_at(tx, AT + timedelta(days=31 * month)) for month in range(3)]
        basis: Counter[str] = Counter()
        for month, period in enumerate(months):
            for number, (name, order) in enumerate(zip(names, orders, strict=True)):
                for piece, (quantity, comes) in enumerate(order):
                    if comes == month:
                        corrects = months[0] if month else ""
                        billed = line(tx, number * 10 + piece, period, quantity, organization=name, corrects=corrects)
                        basis[name] += billed["amount"]
            closing._start(tx, period, LATER + timedelta(days=1000), timedelta())
            assert closing.finish(tx, period, LATER + timedelta(days=1000))
        rows = tx.execute(text("SELECT organization, amount FROM lines WHERE kind = 'volume_discount'"))
        off: Counter[str] = Counter()
        for name, amount in rows:
            off[name] -= amount
        for name, order in zip(names, orders, strict=True):
            total = sum(quantity for quantity, _ in order)
            assert off[name] == volume_discount(CORE, near, total, basis[name])
        assert [one for one in proof(tx) if one.check != "funds"] == []
        raise Undone

    with pytest.raises(Undone):
        await db.write(unit)
