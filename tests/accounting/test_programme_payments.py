"""What a programme pays by the close of each period: to sellers, for earlier periods, and by which funders."""

import io
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from caravan.cli import programmes as cli
from caravan.contracts.credit_notes import CreditNoteDraft
from caravan.contracts.programme_reports import OtherPayment, ProgrammePayments, SellerPayment
from caravan.contracts.programmes import Funder
from caravan.kernel import ids
from caravan.kernel.money import Money
from services.accounting.credit_notes import service as credit_notes
from services.accounting.ledger.postings import programme_receivable
from services.accounting.programmes.claims import funded
from services.accounting.programmes.funding import Part, divided
from tests.accounting.books import period_at
from tests.accounting.programmes_cases import key, office, published
from tests.accounting.test_redemptions import issued
from tests.accounting.volume import MONTH, close
from tests.accounting.world import T0, World, at
from tests.support import Json, ok, refused

HALVES = [{"name": "省科技厅", "share": 5000}, {"name": "市科技局", "share": 5000}]


async def used(world: World, seconds: int, start: int = 0, provider: str | None = None) -> None:
    """A job of one core, charged: 0.01 a second."""
    job = world.job()
    await job.hold("50.00")
    job.place(provider=provider)
    job.use(ids.new("run"), start, start + seconds)
    await world.deliver()


async def payments(world: World, programme: str, period: str) -> ProgrammePayments:
    found: Json = ok(await office(world).get(f"/programmes/{programme}/payments", period=period))
    return ProgrammePayments.model_validate(found)


def split(found: ProgrammePayments) -> list[tuple[str, ...]]:
    """Each row's amount, and its funders' parts."""
    rows: list[SellerPayment | OtherPayment] = [*found.sellers, *found.other]
    return [(str(row.amount), *(str(part.amount) for part in row.funders)) for row in rows]


async def test_sellers_are_paid_what_stands_on_their_lines_by_each_funder_as_over_all_periods(sold: World) -> None:
    other = ids.new("prv")
    sold.know_provider(other)
    programme = await published(sold, funders=HALVES, settles="month")
    await issued(sold, "1000.00", programme=programme)
    await used(sold, 1003)
    await used(sold, 1103, provider=other)
    march = await close(sold)
    found = await payments(sold, programme["id"], march)
    amounts = {one.seller: str(one.amount) for one in found.sellers}
    assert (amounts, str(found.total)) == ({sold.provider: "3.01", other: "3.31"}, "6.32")
    assert [str(one.amount) for one in found.funders] == ["3.16", "3.16"]
    assert sorted(split(found)) in (
        [("3.01", "1.50", "1.51"), ("3.31", "1.66", "1.65")],
        [("3.01", "1.51", "1.50"), ("3.31", "1.65", "1.66")],
    )
    assert ({str(one.earlier) for one in found.sellers}, found.other) == ({"0.00"}, ())
    await used(sold, 1003, MONTH * 3600)
    april = await payments(sold, programme["id"], await close(sold, MONTH * 3600))
    assert split(april) == [("3.01", "1.51", "1.50")]
    assert await payments(sold, programme["id"], march) == found, "what was reported stays"


async def test_what_is_for_lines_of_earlier_periods_is_for_who_sold_them_and_all_sums_to_the_ledger(
    sold: World,
) -> None:
    other = ids.new("prv")
    sold.know_provider(other)
    city = await published(sold, floor="5.00", settles="year", stacks_to=4000)
    issuer = {"name": "省科技厅", "level": "province"}
    province = await published(sold, issuer=issuer, rates=[{"rate": 2000}], stacks_to=10000)
    await issued(sold, "1000.00", programme=city)
    await issued(sold, "1000.00", programme=province)
    await used(sold, 1000, provider=other)
    march = await close(sold)
    await used(sold, 1700, MONTH * 3600)
    april = await close(sold, MONTH * 3600)
    first, second = await payments(sold, city["id"], march), await payments(sold, city["id"], april)
    assert (split(first), str(first.total)) == ([], "0.00")
    assert {one.seller: (str(one.amount), str(one.earlier)) for one in second.sellers} == {
        sold.provider: ("3.40", "0.00"),
        other: ("2.00", "2.00"),
    }
    assert second.other == ()
    assert split(await payments(sold, province["id"], april)) == [("3.40", "3.40")]
    accounts = ok(await sold.finance.get("/ledger/trial-balance"))["accounts"]
    (balance,) = (one["balance"] for one in accounts if one["account"] == programme_receivable(city["id"]))
    assert balance == str(first.total + second.total) == "5.40"
    shown = Console(width=200, file=io.StringIO(), record=True)
    shown.print(cli.payments(second))
    text = shown.export_text()
    for cell in ("市科技局", "Xi'an Centre", "of that for earlier periods", "2.00", "5.40"):
        assert cell in text


async def test_sellers_have_less_by_what_is_given_back_nobody_by_what_is_clawed_back_and_all_sums_to_the_ledger(
    sold: World,
) -> None:
    city = await published(sold, funders=HALVES, settles="month")
    voucher = await issued(sold, "1000.00", programme=city)
    await used(sold, 1010)
    march = await close(sold)
    (line,) = [one for one in await line_items(sold) if one["subsidy"] == "3.03"]
    (statement,) = ok(await sold.member.get("/statements", period=march))["items"]
    draft = CreditNoteDraft(statement=statement["id"], line=line["id"], amount=Money(500), reason="机房断电")
    await sold.db.write(credit_notes.issue, draft, "finance", at(MONTH * 3600))
    ok(await office(sold).post(f"/vouchers/{voucher}/claw-back", {"amount": "0.30", "reason": "材料不实"}, key("b")))
    await used(sold, 1003, MONTH * 3600)
    april = await close(sold, MONTH * 3600)
    first, second = await payments(sold, city["id"], march), await payments(sold, city["id"], april)
    assert split(first) == [("3.03", "1.52", "1.51")]
    assert split(second) == [("1.51", "0.75", "0.76"), ("-0.30", "-0.15", "-0.15")]
    (seller,), (back,) = second.sellers, second.other
    assert str(seller.earlier) == "-1.50"
    assert (back.voucher, back.organization_name) == (voucher, "Qinling Materials")
    shown = Console(width=200, file=io.StringIO(), record=True)
    shown.print(cli.payments(second))
    text = shown.export_text()
    for cell in ("clawed back, or on no line", "Qinling Materials", "-0.30"):
        assert cell in text
    accounts = ok(await sold.finance.get("/ledger/trial-balance"))["accounts"]
    (balance,) = (one["balance"] for one in accounts if one["account"] == programme_receivable(city["id"]))
    assert balance == str(first.total + second.total) == "4.24"


async def test_a_seller_whose_lines_give_back_what_a_cap_had_cut_is_named_though_it_comes_to_nothing(
    sold: World,
) -> None:
    city = await published(sold, caps={"claim": "4.00"}, settles="month")
    await issued(sold, "1000.00", programme=city)
    job, run = sold.job(), ids.new("run")
    await job.hold("50.00")
    job.place()
    job.use(run, 0, 2000)
    await sold.deliver()
    march = await close(sold)
    job.use(run, 0, 1500, revision=2)
    await sold.deliver()
    april = await close(sold, MONTH * 3600)
    assert split(await payments(sold, city["id"], march)) == [("4.00", "4.00")]
    second = await payments(sold, city["id"], april)
    assert [(str(one.amount), str(one.earlier)) for one in second.sellers] == [("0.00", "1.50")]


async def line_items(world: World) -> list[Json]:
    found: list[Json] = ok(await world.finance.get("/lines", organization=world.organization, limit=200))["items"]
    return found


async def test_only_a_closed_period_has_payments_for_the_office_and_finance(sold: World) -> None:
    programme = await published(sold)
    period = await sold.db.write(period_at, T0)
    path = f"/programmes/{programme['id']}/payments"
    problem = refused(await office(sold).get(path, period=period), 409, "wrong_state")
    assert (problem["state"], problem["allowed"]) == ("open", ["closed"])
    refused(await office(sold).get(path, period=f"per_{9:032x}"), 404, "not_found")
    for stranger in (sold.admin, sold.seller):
        refused(await stranger.get(path, period=period), 404, "not_found")
    assert ok(await sold.finance.get(path, period=await close(sold)))["total"] == "0.00"


parts = st.lists(st.tuples(st.sampled_from("vw"), st.sampled_from("ab"), st.integers(-500, 2000)), max_size=8)
shares = st.lists(st.integers(0, 10_000), max_size=3).map(sorted)


@given(parts, shares, st.integers(0, 1000))
def test_parts_sum_by_seller_to_what_is_paid_and_by_voucher_to_what_funders_pay_in_all(
    drawn: list[tuple[str, str, int]], cuts: list[int], paid: int
) -> None:
    funders = [
        Funder(name=f"f{number}", share=end - start)
        for number, (start, end) in enumerate(zip([0, *cuts], [*cuts, 10_000], strict=True))
    ]
    own = [Part(*one) for one in drawn]
    found = divided(own, {"v": paid}, funders)
    assert [sum(row) for row in found] == [part.fen for part in own]
    for voucher, before in (("v", paid), ("w", 0)):
        rows = [row for part, row in zip(own, found, strict=True) if part.voucher == voucher]
        in_all = before + sum(part.fen for part in own if part.voucher == voucher)
        by_funder = Counter({place: sum(row[place] for row in rows) for place in range(len(funders))})
        starts = funded(before, funders)
        assert [starts[place] + by_funder[place] for place in range(len(funders))] == funded(in_all, funders)
