from tests.catalog.world import Centre, a_centre
from tests.support import Json, Person, Running, ok, pointers, refused


async def organization(catalog: Running, operator: Person) -> tuple[str, str]:
    id = ok(await operator.post("/organizations", {"name": "An enterprise"}), 201)["id"]
    admin = catalog.person("org-admin", f"org/{id}:admin")
    return id, ok(await admin.post("/projects", {"organization": id, "name": "P"}), 201)["id"]


def a_tenant(site: Json, org: str, **changes: object) -> Json:
    return {"site": site["id"], "organization": org, "settings": {"user": "ent01"}} | changes


async def test_a_tenant_is_made_once_per_organization_and_project(catalog: Running, operator: Person) -> None:
    centre = await a_centre(catalog, operator)
    site, (org, project) = await centre.site(), await organization(catalog, operator)
    whole = ok(await centre.admin.post("/tenants", a_tenant(site, org)), 201)
    part = ok(await centre.admin.post("/tenants", a_tenant(site, org, project=project)), 201)
    again = await centre.admin.post("/tenants", a_tenant(site, org, settings={"user": "ent02"}))
    assert refused(again, 409, "already_exists")["existing"] == whole["id"]
    refused(await centre.admin.post("/tenants", a_tenant(site, org, project=project)), 409, "already_exists")
    assert ok(await centre.admin.get("/tenants", site=site["id"]))["items"] == [whole, part]


async def test_a_tenants_settings_and_references_are_checked(catalog: Running, operator: Person) -> None:
    centre, rival = await a_centre(catalog, operator), await a_centre(catalog, operator)
    site, (org, _) = await centre.site(), await organization(catalog, operator)
    _, other_project = await organization(catalog, operator)

    async def wrong(code: str, by: Centre = centre, **changes: object) -> list[str]:
        return pointers(refused(await by.admin.post("/tenants", a_tenant(site, org, **changes)), 422, code))

    assert await wrong("settings_refused", settings={"user": 1}) == ["/settings/user"]
    assert await wrong("unknown_reference", organization="org_" + "0" * 32) == ["/organization"]
    assert await wrong("unknown_reference", project=other_project) == ["/project"]
    assert await wrong("unknown_reference", by=rival) == ["/site"]


async def test_a_tenant_is_seen_by_its_organization_and_its_host(
    catalog: Running, operator: Person, stranger: Person
) -> None:
    centre, rival = await a_centre(catalog, operator), await a_centre(catalog, operator)
    site, (org, _) = await centre.site(), await organization(catalog, operator)
    other, _ = await organization(catalog, operator)
    tenant = ok(await centre.admin.post("/tenants", a_tenant(site, org)), 201)
    for person in (centre.admin, operator, catalog.person("member", f"org/{org}:member")):
        assert ok(await person.get(f"/tenants/{tenant['id']}")) == tenant
        assert ok(await person.get("/tenants"))["items"] == [tenant]
    for person in (stranger, rival.admin, catalog.person("other", f"org/{other}:admin")):
        refused(await person.get(f"/tenants/{tenant['id']}"), 404, "not_found")
        assert ok(await person.get("/tenants", organization=org))["items"] == []
