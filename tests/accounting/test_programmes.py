"""Programmes through HTTP: drafted and published by the office, seen by all, and their pools."""

from sqlalchemy import update

from caravan.contracts.programmes import ProgrammeDraft
from caravan.kernel import ids
from services.accounting.programmes.models import ProgrammeRow
from tests.accounting.programmes_cases import FIRST, drafted, office, programme, published
from tests.accounting.world import World
from tests.support import ok, pointers, refused


async def test_what_is_published_everybody_sees_and_drafts_only_the_office(world: World) -> None:
    draft, shown = await drafted(world), await published(world, name="惠企算力券")
    assert (draft["state"], draft["published_at"], shown["state"]) == ("draft", None, "published")
    nobody = world.service.person("nobody")
    for person in (nobody, world.member, world.finance, world.seller):
        assert ok(await person.get("/programmes"))["items"] == [shown]
        assert ok(await person.get(f"/programmes/{shown['id']}")) == shown
        refused(await person.get(f"/programmes/{draft['id']}"), 404, "not_found")
    assert ok(await office(world).get("/programmes"))["items"] == [shown, draft]
    assert ok(await office(world).get(f"/programmes/{draft['id']}")) == draft


async def test_a_programme_reads_back_as_it_was_drafted(world: World) -> None:
    terms = programme(
        eligibility={"places": ["610100"], "suppliers": [world.provider], "oldest_months": 60, "clear_credit": True},
        components=["accelerator_hour"],
        origins=["domestic"],
        rates=[{"kind": "awarded_project", "rate": 5000}, {"rate": 3000}],
        floor="100.00",
        caps={"claim": "500000.00", "contract": 3000},
        stacks_to=5000,
        funders=[{"name": "省", "share": 5000}, {"name": "市", "share": 5000}],
        mode="reimbursed",
        settles="month",
        valid_months=6,
    )
    shown = ok(await office(world).post("/programmes", terms), 201)
    pools = [{"year": pool["year"], "amount": pool["amount"]} for pool in shown["pools"]]
    assert (
        ProgrammeDraft.model_validate(
            {name: shown[name] for name in shown.keys() & terms.model_fields_set} | {"pools": pools}
        )
        == terms
    )
    assert shown["pools"] == [{"year": 2026, "amount": "100000000.00", "committed": "0.00"}]


async def test_what_no_draft_may_say_any_more_is_still_read(world: World) -> None:
    shown = await published(world)
    funders = [{"name": "市财政局", "share": 5000}] * 2
    terms = programme(valid_months=9999, funders=funders).model_dump(mode="json", exclude={"pools"})
    await world.db.write(lambda tx: tx.execute(update(ProgrammeRow).values(terms=terms)))
    assert ok(await world.member.get(f"/programmes/{shown['id']}")) == shown | {
        "valid_months": 9999,
        "funders": funders,
    }


async def test_a_draft_changes_until_it_is_published_and_its_terms_never_after(world: World) -> None:
    draft, path = await drafted(world), "/programmes/"
    path += draft["id"]
    better = programme(name="算力券（修订）", pools=[{"year": 2027, "amount": "5.00"}])
    refused(await office(world).put(path, better), 428, "version_needed")
    changed = ok(await office(world).put(path, better, 1))
    assert (changed["name"], changed["version"], changed["pools"]) == (
        "算力券（修订）", 2, [{"year": 2027, "amount": "5.00", "committed": "0.00"}],
    )  # fmt: skip
    refused(await office(world).put(path, better, 1), 412, "stale")
    refused(await office(world).post(f"{path}/publish", headers={"If-Match": '"1"'}), 412, "stale")
    answer = await office(world).post(f"{path}/publish", headers={"If-Match": '"2"'})
    final = ok(answer)
    assert (final["state"], answer.headers["ETag"]) == ("published", '"3"')
    refused(await office(world).put(path, programme(), 3), 409, "wrong_state")
    again = refused(await office(world).post(f"{path}/publish", headers={"If-Match": '"3"'}), 409, "wrong_state")
    assert again["state"] == "published"
    assert ok(await world.member.get(path)) == final
    auditor = world.service.person("auditor", "platform:admin")
    audited = ok(await auditor.get("/audit", entity=draft["id"]))["items"]
    assert [one["action"] for one in audited] == ["publish_programme", "update_programme", "create_programme"]


async def test_pools_change_after_publishing_too(world: World) -> None:
    path = f"/programmes/{(await published(world))['id']}/pools"
    pools = {"pools": [{"year": 2026, "amount": "10.00"}, {"year": 2027, "amount": "20.00"}]}
    changed = ok(await office(world).put(path, pools, 2))
    assert [(pool["year"], pool["amount"]) for pool in changed["pools"]] == [(2026, "10.00"), (2027, "20.00")]
    refused(await office(world).put(path, pools, 2), 412, "stale")
    assert ok(await office(world).put(path, {"pools": [{"year": 2027, "amount": "0.00"}]}, 3))["version"] == 4
    auditor = world.service.person("auditor", "platform:admin")
    audited = ok(await auditor.get("/audit", entity=changed["id"]))["items"]
    assert [one["action"] for one in audited][:2] == ["set_programme_pools", "set_programme_pools"]


async def test_only_the_office_makes_programmes(world: World) -> None:
    draft = await drafted(world)
    others = (world.admin, world.finance, world.seller, world.service.person("admin", "platform:admin"))
    for person in others:
        refused(await person.post("/programmes", programme()), 404, "not_found")
        refused(await person.put(f"/programmes/{draft['id']}", programme(), 1), 404, "not_found")
        refused(await person.post(f"/programmes/{draft['id']}/publish", headers=FIRST), 404, "not_found")
        refused(await person.put(f"/programmes/{draft['id']}/pools", {"pools": draft["pools"]}, 1), 404, "not_found")
    unknown = ids.new("prg")
    refused(await office(world).post(f"/programmes/{unknown}/publish", headers=FIRST), 404, "not_found")


async def test_what_is_wrong_in_a_draft_is_named(world: World) -> None:
    stranger = {"eligibility": {"suppliers": [world.provider, ids.new("prv")]}}
    problem = refused(await office(world).post("/programmes", programme(**stranger)), 422, "unknown_reference")
    assert pointers(problem) == ["/eligibility/suppliers/1"]
    terms = programme().model_dump(mode="json")
    for changes, pointer in (
        ({"pools": [{"year": 2026, "amount": "-0.01"}]}, "/pools/0/amount"),
        ({"valid_months": 1201}, "/valid_months"),
        ({"eligibility": {"oldest_months": 1201}}, "/eligibility/oldest_months"),
        ({"eligibility": {"youngest_months": 1201}}, "/eligibility/youngest_months"),
        ({"funders": [{"name": "市财政局", "share": 5000}] * 2}, "/funders/1/name"),
        ({"pools": [{"year": 2026, "amount": "1.00"}, {"year": 2026, "amount": "2.00"}]}, "/pools"),
        ({"floor": "-0.01"}, "/floor"),
        ({"caps": {"voucher": "0.00"}}, "/caps/voucher"),
        ({"rates": [{"rate": 10001}]}, "/rates/0/rate"),
        ({"funders": [{"name": "市", "share": 9999}]}, ""),
        ({"ends_at": terms["starts_at"]}, ""),
    ):
        problem = refused(await office(world).post("/programmes", terms | changes), 422, "invalid")
        assert pointers(problem) == [pointer]
