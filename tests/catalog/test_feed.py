from tests.catalog.world import events_of
from tests.support import Person, Running, ok, refused


async def test_each_change_stands_in_the_feed_with_the_whole_entity(operator: Person, broker: Person) -> None:
    first = ok(await operator.post("/organizations", {"name": "A"}), 201)
    second = ok(await operator.put(f"/organizations/{first['id']}", {"name": "B"}, version=1))

    mine = await events_of(broker, first["id"], 2)

    assert [(e["type"], e["source"], e["data"]) for e in mine] == [
        ("organization.changed", "catalog", first),
        ("organization.changed", "catalog", second),
    ]


async def test_a_snapshot_has_the_newest_state_and_leads_into_the_feed(operator: Person, broker: Person) -> None:
    first = ok(await operator.post("/organizations", {"name": "A"}), 201)
    second = ok(await operator.put(f"/organizations/{first['id']}", {"name": "B"}, version=1))
    snapshot = ok(await broker.get("/snapshot"))
    assert [e["data"] for e in snapshot["events"] if e["subject"] == first["id"]] == [second]
    page = ok(await broker.get("/feed", after=snapshot["cursor"]))
    assert page["next"].partition(":")[0] == snapshot["cursor"].partition(":")[0]


async def test_the_feed_is_for_services_and_the_platforms_admin(
    catalog: Running, operator: Person, stranger: Person
) -> None:
    for path in ("/feed", "/snapshot"):
        ok(await operator.get(path))
        for person in (stranger, catalog.person("finance", "platform:finance")):
            refused(await person.get(path), 404, "not_found")


async def test_cursors_of_another_generation_and_made_up_ones(broker: Person) -> None:
    refused(await broker.get("/feed", after="0123:1"), 410, "cursor_gone")
    refused(await broker.get("/feed", after="nonsense"), 422, "invalid")
    refused(await broker.get("/feed", wait=1e9), 422, "invalid")
