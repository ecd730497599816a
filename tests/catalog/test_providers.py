from tests.support import Person, Running, ok, refused

APPLICATION = {"name": "国家超级计算中心", "kind": "compute_infrastructure", "region": "陕西"}


async def applied(catalog: Running, subject: str = "applicant") -> tuple[Person, str]:
    applicant = catalog.person(subject)
    provider = ok(await applicant.post("/providers", APPLICATION), 201)
    assert (provider["state"], provider["tax_rate"], provider["version"]) == ("applied", 600, 1)
    return applicant, provider["id"]


async def test_an_application_is_seen_by_its_applicant_its_admin_and_the_platform_only(
    catalog: Running, operator: Person, stranger: Person
) -> None:
    applicant, provider = await applied(catalog)
    admin = catalog.person("admin", f"provider/{provider}:admin")
    for person in (applicant, admin, operator):
        assert ok(await person.get(f"/providers/{provider}"))["state"] == "applied"
        assert [p["id"] for p in ok(await person.get("/providers"))["items"]] == [provider]
    refused(await stranger.get(f"/providers/{provider}"), 404, "not_found")
    assert ok(await stranger.get("/providers"))["items"] == []


async def test_an_approved_provider_is_public_until_it_is_suspended(
    catalog: Running, operator: Person, stranger: Person
) -> None:
    _, provider = await applied(catalog)
    assert ok(await operator.post(f"/providers/{provider}/approve"))["state"] == "approved"
    assert ok(await stranger.get(f"/providers/{provider}"))["version"] == 2
    assert [p["id"] for p in ok(await stranger.get("/providers", state="approved"))["items"]] == [provider]
    assert ok(await operator.post(f"/providers/{provider}/suspend"))["state"] == "suspended"
    refused(await stranger.get(f"/providers/{provider}"), 404, "not_found")
    assert ok(await operator.post(f"/providers/{provider}/approve"))["version"] == 4


WRONG_MOVES: list[tuple[list[str], str, str, list[str]]] = [
    ([], "suspend", "applied", ["approved"]),
    (["approve"], "approve", "approved", ["applied", "suspended"]),
    (["approve", "suspend"], "suspend", "suspended", ["approved"]),
]


async def test_a_move_from_a_wrong_state_changes_nothing(catalog: Running, operator: Person) -> None:
    for before, verb, state, allowed in WRONG_MOVES:
        _, provider = await applied(catalog)
        for step in before:
            ok(await operator.post(f"/providers/{provider}/{step}"))
        problem = refused(await operator.post(f"/providers/{provider}/{verb}"), 409, "wrong_state")
        assert (problem["state"], problem["allowed"]) == (state, allowed)
        assert ok(await operator.get(f"/providers/{provider}"))["version"] == len(before) + 1


async def test_nobody_approves_itself(catalog: Running) -> None:
    applicant, provider = await applied(catalog)
    admin = catalog.person("admin", f"provider/{provider}:admin", "platform:finance")
    for person in (applicant, admin):
        refused(await person.post(f"/providers/{provider}/approve"), 404, "not_found")


async def test_an_unknown_kind_is_refused(stranger: Person) -> None:
    refused(await stranger.post("/providers", APPLICATION | {"kind": "casino"}), 422, "invalid")
