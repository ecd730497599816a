from tests.support import Person, Running, ok, pointers, refused


async def organization(operator: Person, name: str = "An enterprise") -> str:
    made: str = ok(await operator.post("/organizations", {"name": name}), 201)["id"]
    return made


async def test_an_organizations_admin_opens_and_renames_projects(catalog: Running, operator: Person) -> None:
    mine = await organization(operator)
    admin = catalog.person("admin", f"org/{mine}:admin")
    project = ok(await admin.post("/projects", {"organization": mine, "name": "Wind"}), 201)
    path = f"/projects/{project['id']}"

    renamed = ok(await admin.put(path, {"organization": mine, "name": "Solar"}, version=1))

    assert renamed == project | {"name": "Solar", "version": 2}
    refused(await admin.put(path, {"organization": mine, "name": "Rain"}, version=1), 412, "stale")


async def test_a_project_stays_with_its_organization(catalog: Running, operator: Person) -> None:
    first, second = await organization(operator), await organization(operator)
    admin = catalog.person("admin", f"org/{first}:admin", f"org/{second}:admin")
    project = ok(await admin.post("/projects", {"organization": first, "name": "Wind"}), 201)
    moved = await admin.put(f"/projects/{project['id']}", {"organization": second, "name": "Wind"}, version=1)
    assert pointers(refused(moved, 422, "invalid")) == ["/organization"]


async def test_a_project_in_anothers_organization_looks_like_one_in_none(catalog: Running, operator: Person) -> None:
    mine, other = await organization(operator), await organization(operator)
    admin = catalog.person("admin", f"org/{mine}:admin")
    for target in (other, "org_" + "0" * 32):
        answer = await admin.post("/projects", {"organization": target, "name": "Mole"})
        assert pointers(refused(answer, 422, "unknown_reference")) == ["/organization"]


async def test_members_read_their_projects_and_change_none(catalog: Running, operator: Person) -> None:
    mine, other = await organization(operator), await organization(operator)
    admins = {o: catalog.person("admin", f"org/{o}:admin") for o in (mine, other)}
    made = {o: ok(await a.post("/projects", {"organization": o, "name": "P"}), 201) for o, a in admins.items()}
    member = catalog.person("member", f"org/{mine}:member")

    assert ok(await member.get("/projects"))["items"] == [made[mine]]
    assert ok(await member.get("/projects", organization=other))["items"] == []
    refused(await member.get(f"/projects/{made[other]['id']}"), 404, "not_found")
    refused(await member.post("/projects", {"organization": mine, "name": "Q"}), 404, "not_found")
    refused(await member.put(f"/projects/{made[mine]['id']}", made[mine], version=1), 404, "not_found")
    foreign = await admins[other].put(
        f"/projects/{made[mine]['id']}", {"organization": mine, "name": "Theirs"}, version=1
    )
    refused(foreign, 404, "not_found")
    assert [p["id"] for p in ok(await operator.get("/projects"))["items"]] == [made[mine]["id"], made[other]["id"]]
