"""What auditors are given of a programme: what was refused, and all vouchers as a table."""

import csv
import io
from typing import Any

from rich.console import Console
from sqlalchemy import update

from caravan.cli import programmes as cli
from caravan.contracts.programme_reports import ProgrammeRefusals
from caravan.contracts.vouchers import VoucherApplication
from caravan.kernel.database import affected
from caravan.kernel.money import Money
from services.accounting.ledger.postings import programme_receivable
from services.accounting.vouchers.models import ReviewRow
from tests.accounting import test_redemptions
from tests.accounting import test_reimbursement_decisions as claims
from tests.accounting.programmes_cases import (
    PASSES,
    applied,
    committed,
    drafted,
    issued,
    key,
    office,
    published,
    reviewed,
)
from tests.accounting.test_affiliation import OWN, know
from tests.accounting.test_redemptions import charged
from tests.accounting.test_reimbursement_dues import reimbursed
from tests.accounting.test_reimbursements import filed, programme_of
from tests.accounting.volume import MONTH, close
from tests.accounting.world import World
from tests.support import Json, ok, refused

FAILS = {"passed": False, "reason": "执照过期", "rule": "evidence", "remedy": "换发后再申请"}


async def exported(world: World, programme: str) -> list[dict[str, str]]:
    answer = await office(world).get(f"/programmes/{programme}/export.csv")
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.content.startswith(b"\xef\xbb\xbf\xe7\xae\x97\xe5\x8a\x9b\xe5\x88\xb8 Voucher,")
    rows = csv.DictReader(io.StringIO(answer.content.decode("utf-8-sig"), newline=""))
    return list(rows)


async def refusals(world: World, programme: Json) -> ProgrammeRefusals:
    return ProgrammeRefusals.model_validate(ok(await office(world).get(f"/programmes/{programme['id']}/refusals")))


async def test_refusals_are_counted_by_rule_with_the_last_of_each(spring: World) -> None:
    programme, other = await published(spring), await published(spring)
    await reviewed(spring, await applied(spring, other), FAILS)
    await reviewed(spring, await applied(spring, programme), PASSES, PASSES)
    assert (await refusals(spring, programme)).items == ()
    by_place: list[Any] = [
        await reviewed(spring, await applied(spring, programme), FAILS | {"rule": "places"}) for _ in range(6)
    ]
    late = await reviewed(spring, await applied(spring, programme), PASSES, FAILS)
    found = (await refusals(spring, programme)).items
    assert [(one.rule, one.count, len(one.last)) for one in found] == [("places", 6, 5), ("evidence", 1, 1)]
    assert [one.application for one in found[0].last] == [one["id"] for one in reversed(by_place[1:])]
    (last,) = found[1].last
    assert (last.application, last.reimbursement) == (late["id"], None)
    assert (last.stage, last.reviewed_by) == (2, "reviewer-2")
    assert (last.reason, last.remedy, last.organization) == ("执照过期", "换发后再申请", spring.organization)
    text = table(await refusals(spring, programme))
    for cell in ("evidence", "5 of 6", "换发后再申请", late["id"]):
        assert cell in text


async def test_a_refusal_of_before_rules_were_named_is_read_as_it_is(spring: World) -> None:
    programme = await published(spring)
    made = await reviewed(spring, await applied(spring, programme), FAILS)
    forget = update(ReviewRow).where(ReviewRow.application == made["id"]).values(rule=None)
    await spring.db.write(lambda tx: affected(tx, forget))
    read = ok(await spring.member.get(f"/voucher-applications/{made['id']}"))
    assert VoucherApplication.model_validate(read).reviews[-1].rule is None
    found = await refusals(spring, programme)
    assert [(one.rule, one.count) for one in found.items] == [(None, 1)]
    assert "none named" in table(found)


async def test_refused_reimbursements_are_counted_with_applications(sold: World) -> None:
    pools = [{"year": year, "amount": "9000.00"} for year in (2026, 2027)]
    voucher = await reimbursed(sold, "1000.00", ends_at="2029-01-01T00:00:00+08:00", pools=pools)
    await charged(sold)
    await close(sold)
    programme = ok(await office(sold).get(f"/programmes/{await programme_of(sold, voucher)}"))
    first = await claims.reviewed(sold, await filed(sold, voucher), FAILS)
    asked = await reviewed(sold, await applied(sold, programme), FAILS)
    second = await claims.attached(sold, await filed(sold, voucher))
    await claims.reviewed(sold, second, PASSES, PASSES, FAILS | {"rule": "amount"})
    found = await refusals(sold, programme)
    assert [(one.rule, one.count) for one in found.items] == [("evidence", 2), ("amount", 1)]
    both, (last,) = (one.last for one in found.items)
    assert {(one.application, one.reimbursement) for one in both} == {(None, first["id"]), (asked["id"], None)}
    assert (last.reimbursement, last.stage, last.organization) == (second["id"], 3, sold.organization)
    text = table(found)
    for cell in (first["id"], asked["id"], second["id"]):
        assert cell in text
    assert (await refusals(sold, await published(sold))).items == ()


def table(found: ProgrammeRefusals) -> str:
    shown = Console(width=300, file=io.StringIO(), record=True)
    shown.print(cli.refusals(found))
    return shown.export_text()


async def test_every_voucher_is_exported_with_who_applied_reviewed_issued_and_revoked_it(spring: World) -> None:
    programme = await published(spring, valid_months=6)
    first = await issued(spring, programme, "1000.00")
    second = await issued(spring, programme, "700.00")
    await issued(spring, await published(spring))
    ok(await office(spring).post(f"/vouchers/{first['id']}/revoke", {"reason": "=已迁出"}))
    await know(spring, organization=OWN)
    rows = await exported(spring, programme["id"])
    assert [row["算力券 Voucher"] for row in rows] == [first["id"], second["id"]]
    assert [*rows[0].values()] == [
        *(first["id"], first["application"], spring.organization, "Qinling Materials", OWN),
        *("1000.00", "2026", "撤销 revoked"),
        *("2026-03-31", "admin", "2026-03-31", "reviewer-1", "2026-03-31", "reviewer-2", "2026-03-31", "office"),
        *("2026-10-01", "2026-03-31", "office", "'=已迁出"),
        *("0.00", "0.00", "1000.00"),
        *("", "0.00", "0.00"),
    ]


async def test_a_voucher_has_a_row_for_each_span_of_its_claims(sold: World) -> None:
    programme = await published(sold, settles="month", caps={"claim": "4.00"})
    voucher = await test_redemptions.issued(sold, "1000.00", programme=programme)
    job, run = await charged(sold, 2000, "100.00")
    await close(sold)
    job.use(run, MONTH * 3600, MONTH * 3600 + 1000)
    await sold.deliver()
    await close(sold, MONTH * 3600)
    rows = [[*row.values()] for row in await exported(sold, programme["id"])]
    assert [(row[0], *row[-3:]) for row in rows] == [
        (voucher, "2026-03-01", "6.00", "4.00"),
        (voucher, "2026-04-01", "3.00", "3.00"),
    ]


async def test_the_columns_of_amounts_sum_to_what_the_ledger_has_and_the_pool_has_committed(sold: World) -> None:
    programme = await published(sold, settles="month")
    voucher = await test_redemptions.issued(sold, "1000.00", programme=programme)
    ended = await test_redemptions.issued(sold, "700.00", programme=programme)
    job, run = await charged(sold, 2700, "100.00")
    await close(sold)
    for month in (1, 2):
        job.use(run, month * MONTH * 3600, month * MONTH * 3600 + 500 * month)
        await sold.deliver()
    await close(sold, MONTH * 3600)
    path = f"/vouchers/{voucher}/claw-back"
    ok(await office(sold).post(path, {"amount": "4.00", "reason": "材料不实"}, key("back")))
    ok(await office(sold).post(f"/vouchers/{ended}/revoke", {"reason": "已迁出"}))
    rows = await exported(sold, programme["id"])
    assert [[row[name] for name in AMOUNTS] for row in rows] == [
        ["1000.00", "3.00", "4.00", "4.00", "8.10"],
        ["", "", "", "", "1.50"],
        ["700.00", "0.00", "0.00", "700.00", "0.00"],
    ]
    await sums_to_the_books(sold, programme, "8.60", "996.00")
    await close(sold, 2 * MONTH * 3600)
    assert [row[AMOUNTS[1]] for row in await exported(sold, programme["id"])] == ["0.00", "", "", "0.00"]
    await sums_to_the_books(sold, programme, "8.60", "996.00")


AMOUNTS = (
    "面额(元) Amount (CNY)",
    "未关账期已兑付(元) Redeemed in open periods (CNY)",
    "追回(元) Clawed back (CNY)",
    "退回资金池(元) Released to the pool (CNY)",
    "已补贴(元) Paid (CNY)",
)


async def sums_to_the_books(world: World, programme: Json, receivable: str, pool: str) -> None:
    rows = await exported(world, programme["id"])
    amount, in_open, back, released, paid = (
        sum(Money.parse(row[name]).fen for row in rows if row[name]) for name in AMOUNTS
    )
    accounts = ok(await world.finance.get("/ledger/trial-balance"))["accounts"]
    (balance,) = (one["balance"] for one in accounts if one["account"] == programme_receivable(programme["id"]))
    assert balance == str(Money(paid + in_open - back)) == receivable
    assert await committed(world, programme) == {2026: str(Money(amount - released))} == {2026: pool}


async def test_the_office_reads_refusals_and_finance_takes_the_export_too(spring: World) -> None:
    programme = await published(spring)
    path = f"/programmes/{programme['id']}"
    assert (await spring.finance.get(f"{path}/export.csv")).status_code == 200
    refused(await spring.finance.get(f"{path}/refusals"), 404, "not_found")
    for stranger in (spring.admin, spring.seller):
        for report in ("refusals", "export.csv"):
            refused(await stranger.get(f"{path}/{report}"), 404, "not_found")
    draft = (await drafted(spring))["id"]
    refused(await spring.finance.get(f"/programmes/{draft}/export.csv"), 404, "not_found")
    refused(await office(spring).get(f"/programmes/prg_{9:032x}/refusals"), 404, "not_found")
