from caravan.contracts.offerings import InventoryItem, PartLimits
from tests.catalog.world import ASCEND, H100, a_centre, a_report, an_offering, events_of, report, tariff, with_cards
from tests.support import Json, Person, Running, ok, pointers, refused


def draft_of(offering: Json) -> Json:
    return {k: v for k, v in offering.items() if k not in ("id", "provider", "state", "version", "created_at")}


PARTS = (
    InventoryItem(
        target={"partition": "gpu"},
        name="gpu",
        nodes=4,
        cpus_per_node=128,
        memory_mib_per_node=1048576,
        accelerators_per_node=8,
        accelerator_backend_name="gres/gpu:h100",
    ),
    InventoryItem(
        target={"partition": "normal"},
        name="normal",
        nodes=100,
        cpus_per_node=64,
        memory_mib_per_node=262144,
        limits=PartLimits(nodes=20, cpus_per_node=60, memory_mib_per_node=250_000, walltime_seconds=259_200),
    ),
    InventoryItem(target={"partition": "one"}, name="one", nodes=1, cpus_per_node=8, memory_mib_per_node=16384),
    InventoryItem(
        target={"partition": "odd"},
        name="odd",
        nodes=2,
        cpus_per_node=8,
        memory_mib_per_node=16384,
        accelerators_per_node=2,
        accelerator_backend_name="gres/gpu:unheard",
    ),
)


async def test_offerings_are_drafted_from_the_inventory(catalog: Running, operator: Person) -> None:
    centre = await a_centre(catalog, operator)
    site = await centre.site()
    path = f"/sites/{site['id']}/draft-offerings"
    assert ok(await centre.admin.post(path), 201)["items"] == []
    await report(catalog, a_report(site["id"], inventory=PARTS))

    gpu, normal, one, odd = ok(await centre.admin.post(path), 201)["items"]

    assert (gpu["name"], gpu["tier"], gpu["accelerator"], gpu["state"]) == ("一号集群 gpu", "ai", H100, "draft")
    assert gpu["limits"] == {
        "nodes": 4,
        "cpus_per_node": 128,
        "memory_mib_per_node": 1048576,
        "accelerators_per_node": 8,
        "walltime_seconds": 86400,
        "array_tasks": 1000,
    }
    assert normal["limits"] == {
        "nodes": 20,
        "cpus_per_node": 60,
        "memory_mib_per_node": 250_000,
        "accelerators_per_node": 0,
        "walltime_seconds": 259_200,
        "array_tasks": 1000,
    }
    assert gpu["capacity"] == {"cpus": 512, "memory_mib": 4 * 1048576, "accelerators": 32}
    assert gpu["target"] == {"partition": "gpu"}
    assert (normal["tier"], one["tier"], odd["tier"]) == ("hpc", "cloud", "hpc")
    assert odd["accelerator"] is None
    assert "gres/gpu:unheard" in odd["description"]


async def test_what_is_offered_is_not_drafted_again_until_it_is_archived(catalog: Running, operator: Person) -> None:
    centre, rival = await a_centre(catalog, operator), await a_centre(catalog, operator)
    site = await centre.site()
    path = f"/sites/{site['id']}/draft-offerings"
    await report(catalog, a_report(site["id"], inventory=PARTS[:2]))
    first, _ = ok(await centre.admin.post(path), 201)["items"]
    assert ok(await centre.admin.post(path), 201)["items"] == []
    ok(await centre.admin.post(f"/offerings/{first['id']}/archive"))
    (again,) = ok(await centre.admin.post(path), 201)["items"]
    assert (again["target"], again["id"] != first["id"]) == (first["target"], True)
    refused(await rival.admin.post(path), 404, "not_found")


async def test_an_offering_goes_from_draft_to_archive(catalog: Running, operator: Person, broker: Person) -> None:
    centre = await a_centre(catalog, operator)
    site = await centre.site()
    offering = await centre.offering(site["id"])
    assert (offering["state"], offering["provider"]) == ("draft", centre.id)
    await centre.priced(offering["id"], cpu_core_hour="0.36")
    states = []
    for verb in ("activate", "pause", "activate", "pause", "archive"):
        states.append(ok(await centre.admin.post(f"/offerings/{offering['id']}/{verb}"))["state"])
    assert states == ["active", "paused", "active", "paused", "archived"]
    events = await events_of(broker, offering["id"], 6)
    assert [(e["data"]["state"], e["data"]["version"]) for e in events] == [
        (state, n) for n, state in enumerate(["draft", *states], start=1)
    ]


WRONG_MOVES: list[tuple[list[str], str, str]] = [
    ([], "pause", "draft"),
    (["activate"], "activate", "active"),
    (["activate"], "archive", "active"),
    (["activate", "pause"], "pause", "paused"),
    (["archive"], "activate", "archived"),
    (["archive"], "archive", "archived"),
]


async def test_a_move_from_a_wrong_state_is_refused(catalog: Running, operator: Person) -> None:
    centre = await a_centre(catalog, operator)
    site = await centre.site()
    for before, verb, state in WRONG_MOVES:
        offering = await centre.offering(site["id"])
        await centre.priced(offering["id"], cpu_core_hour="0.36")
        path = f"/offerings/{offering['id']}"
        for step in before:
            ok(await centre.admin.post(f"{path}/{step}"))
        assert refused(await centre.admin.post(f"{path}/{verb}"), 409, "wrong_state")["state"] == state
        assert ok(await centre.admin.get(path))["version"] == len(before) + 1


async def test_activation_names_what_is_missing(catalog: Running, operator: Person) -> None:
    centre = await a_centre(catalog, operator)
    site = await centre.site()
    offering = await centre.offering(site["id"])
    path = f"/offerings/{offering['id']}"

    async def missing() -> list[str]:
        problem = refused(await centre.admin.post(f"{path}/activate"), 409, "not_publishable")
        return [error["code"] for error in problem["errors"]]

    assert await missing() == ["price_list_missing"]
    later, over = tariff("later", start=3600), tariff("over", start=-7200, end=-3600)
    for tariffs in ([later], [over], [over, later]):
        ok(await centre.admin.post(f"{path}/price-lists", {"tariffs": tariffs}), 201)
        assert await missing() == ["price_list_not_covering"]
    await centre.priced(offering["id"], cpu_core_hour="0.36")
    ok(await operator.post(f"/providers/{centre.id}/suspend"))
    assert await missing() == ["provider_not_approved"]
    ok(await operator.post(f"/providers/{centre.id}/approve"))
    ok(await centre.admin.post(f"{path}/activate"))


async def test_an_offerings_references_and_target_are_checked(catalog: Running, operator: Person) -> None:
    centre, rival = await a_centre(catalog, operator), await a_centre(catalog, operator)
    site = (await centre.site(accelerators={H100: "gres/gpu:h100"}))["id"]

    async def wrong(code: str, draft: Json, by: Person = centre.admin) -> list[str]:
        return pointers(refused(await by.post("/offerings", draft), 422, code))

    assert await wrong("unknown_reference", an_offering("sit_" + "0" * 32)) == ["/site"]
    assert await wrong("unknown_reference", an_offering(site), rival.admin) == ["/site"]
    assert await wrong("unknown_reference", an_offering(site, **with_cards(ASCEND))) == ["/accelerator"]
    assert await wrong("settings_refused", an_offering(site, target={"queue": "q"})) == ["/target/queue"]
    assert await wrong("invalid", an_offering(site, accelerator=H100)) == [""]
    assert await wrong("invalid", an_offering(site, tier="quantum")) == ["/tier"]


async def test_what_a_job_may_choose_of_a_target_is_checked_like_the_target(catalog: Running, operator: Person) -> None:
    centre = await a_centre(catalog, operator)
    site = (await centre.site())["id"]
    wrong = {"queue": ["q"], "partition": ["normal"], "qos": ["high", "much too long"]}
    answer = await centre.admin.post("/offerings", an_offering(site, choices=wrong))
    assert pointers(refused(answer, 422, "settings_refused")) == ["/choices/queue/0", "/choices/qos/1"]
    choices = {"partition": ["normal", "long"], "qos": ["high"]}
    offering = ok(await centre.admin.post("/offerings", an_offering(site, choices=choices)), 201)
    assert offering["choices"] == choices
    assert ok(await centre.admin.get(f"/offerings/{offering['id']}"))["choices"] == choices


async def test_an_offering_on_sale_keeps_what_jobs_were_placed_by(catalog: Running, operator: Person) -> None:
    centre = await a_centre(catalog, operator)
    site = await centre.site()
    offering = await centre.on_sale(site["id"])
    path, draft = f"/offerings/{offering['id']}", draft_of(offering)
    for change in ({"tier": "cloud"}, {"target": {"partition": "other"}}, with_cards(H100)):
        answer = await centre.admin.put(path, draft | change, version=2)
        assert "fixed" in {e["code"] for e in refused(answer, 422, "invalid")["errors"]}
    changed = ok(await centre.admin.put(path, draft | {"name": "New", "queue_ahead": 5}, version=2))
    assert changed == offering | {"name": "New", "queue_ahead": 5, "version": 3}
    refused(await centre.admin.put(path, draft, version=2), 412, "stale")


async def test_an_offering_says_who_bears_what_was_preempted(
    catalog: Running, operator: Person, stranger: Person, broker: Person
) -> None:
    centre = await a_centre(catalog, operator)
    offering = await centre.on_sale((await centre.site())["id"])
    path, draft = f"/offerings/{offering['id']}", draft_of(offering)
    assert offering["preempted_borne_by"] == "provider"
    wrong = await centre.admin.put(path, draft | {"preempted_borne_by": "nobody"}, version=2)
    assert pointers(refused(wrong, 422, "invalid")) == ["/preempted_borne_by"]
    changed = ok(await centre.admin.put(path, draft | {"preempted_borne_by": "organization"}, version=2))
    assert changed == offering | {"preempted_borne_by": "organization", "version": 3}
    (hit,) = ok(await stranger.get("/offerings"))["items"]
    assert hit["offering"] == changed
    *_, told = await events_of(broker, offering["id"], 3)
    assert told["data"] == changed


async def test_a_draft_may_change_all_but_its_site_and_an_archived_offering_nothing(
    catalog: Running, operator: Person
) -> None:
    centre = await a_centre(catalog, operator)
    site, other = await centre.site(), await centre.site()
    offering = await centre.offering(site["id"])
    path, draft = f"/offerings/{offering['id']}", draft_of(offering)
    moved = await centre.admin.put(path, draft | {"site": other["id"]}, version=1)
    assert pointers(refused(moved, 422, "invalid")) == ["/site"]
    changed = ok(await centre.admin.put(path, draft | with_cards(H100), version=1))
    assert (changed["accelerator"], changed["version"]) == (H100, 2)
    ok(await centre.admin.post(f"{path}/archive"))
    refused(await centre.admin.put(path, draft, version=3), 409, "wrong_state")


async def test_drafts_are_their_providers_own(
    catalog: Running, operator: Person, stranger: Person, broker: Person
) -> None:
    centre, rival = await a_centre(catalog, operator), await a_centre(catalog, operator)
    site = await centre.site()
    offering = await centre.offering(site["id"])
    path = f"/offerings/{offering['id']}"
    for person in (centre.admin, operator, broker):
        assert ok(await person.get(path)) == offering
    for person in (stranger, rival.admin):
        refused(await person.get(path), 404, "not_found")
        refused(await person.get(f"{path}/price-lists"), 404, "not_found")
    for verb in ("activate", "pause", "archive"):
        for person in (stranger, rival.admin, operator):
            refused(await person.post(f"{path}/{verb}"), 404, "not_found")
    refused(await rival.admin.put(path, draft_of(offering), version=1), 404, "not_found")
