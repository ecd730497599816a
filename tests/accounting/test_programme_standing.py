"""How a programme stands, as the office and finance read it."""

import io

from rich.console import Console

from caravan.cli import programmes as cli
from caravan.contracts.programme_reports import ProgrammeStanding
from caravan.kernel import ids
from tests.accounting import test_redemptions
from tests.accounting.programmes_cases import PASSES, applied, drafted, issued, office, published, reviewed
from tests.accounting.volume import MONTH, close
from tests.accounting.world import World
from tests.support import Json, ok, refused


async def standing(world: World, programme: str, **query: str) -> Json:
    return ok(await office(world).get(f"/programmes/{programme}/standing", **query))


async def test_pools_applications_and_vouchers_stand_as_they_were_issued_and_reviewed(spring: World) -> None:
    pools = [{"year": 2026, "amount": "5000.00"}, {"year": 2027, "amount": "9.00"}]
    programme = await published(spring, pools=pools)
    other = await published(spring)
    await issued(spring, other)
    first = await issued(spring, programme, "1000.00")
    await issued(spring, programme, "700.00")
    await applied(spring, programme)
    await reviewed(spring, await applied(spring, programme), PASSES)
    ok(await office(spring).post(f"/vouchers/{first['id']}/revoke", {"reason": "企业已迁出"}))
    found = await standing(spring, programme["id"])
    assert found["pools"] == [
        {"year": 2026, "amount": "5000.00", "committed": "700.00", "redeemed": "0.00"},
        {"year": 2027, "amount": "9.00", "committed": "0.00", "redeemed": "0.00"},
    ]
    assert found["applications"] == {
        "applied": 1,
        "under_review": 1,
        "approved": 0,
        "issued": 2,
        "refused": 0,
        "withdrawn": 0,
    }
    assert found["vouchers"] == {"issued": 1, "redeemed": 0, "expired": 0, "revoked": 1}
    (own,) = found["items"]
    assert (own["organization"], own["organization_name"]) == (spring.organization, "Qinling Materials")
    assert (own["issued"], own["most_issued"]) == ("700.00", None), "what is revoked may be issued again"


async def test_what_an_organization_is_issued_and_paid_stands_against_the_caps_of_the_year(sold: World) -> None:
    caps = {"issued_in_year": "2000.00", "redeemed_in_year": "4.00"}
    voucher = await test_redemptions.issued(sold, "1000.00", caps=caps, settles="month")
    job, run = await test_redemptions.charged(sold, 1000, "100.00")
    programme = ok(await office(sold).get(f"/vouchers/{voucher}"))["programme"]
    before = await standing(sold, programme)
    assert (before["pools"][0]["redeemed"], before["items"][0]["redeemed"]) == ("3.00", "0.00")
    await close(sold)
    job.use(run, MONTH * 3600, MONTH * 3600 + 1000)
    await sold.deliver()
    await close(sold, MONTH * 3600)
    found = await standing(sold, programme)
    assert found["pools"][0]["redeemed"] == "4.00"
    assert found["items"] == [
        {
            "organization": sold.organization,
            "organization_name": "Qinling Materials",
            "year": 2026,
            "issued": "1000.00",
            "most_issued": "2000.00",
            "redeemed": "4.00",
            "most_redeemed": "4.00",
        }
    ]
    shown = Console(width=200, file=io.StringIO(), record=True)
    shown.print(cli.standing(ProgrammeStanding.model_validate(found)))
    text = shown.export_text()
    for cell in ("Qinling Materials", "2000.00", "1 issued", "100000000.00"):
        assert cell in text


async def test_organizations_come_in_pages_and_each_once(sold: World) -> None:
    programme = await published(sold)
    mine = sorted(ids.new("org") for _ in range(3))
    for one in (*mine, mine[1]):
        await test_redemptions.issued(sold, "10.00", one, programme=programme)
    first = await standing(sold, programme["id"], limit="2")
    second = await standing(sold, programme["id"], limit="2", cursor=first["next"])
    found = [(one["organization"], one["issued"]) for page in (first, second) for one in page["items"]]
    assert found == [(mine[0], "10.00"), (mine[1], "20.00"), (mine[2], "10.00")]
    assert second["next"] is None


async def test_the_office_and_finance_alone_read_how_a_programme_stands(spring: World) -> None:
    programme = await published(spring)
    path = f"/programmes/{programme['id']}/standing"
    assert ok(await spring.finance.get(path))["programme"] == programme["id"]
    for other in (spring.admin, spring.seller):
        refused(await other.get(path), 404, "not_found")
    draft = f"/programmes/{(await drafted(spring))['id']}/standing"
    assert ok(await office(spring).get(draft))["items"] == []
    refused(await spring.finance.get(draft), 404, "not_found")
    refused(await office(spring).get(f"/programmes/prg_{9:032x}/standing"), 404, "not_found")
