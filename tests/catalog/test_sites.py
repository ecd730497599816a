import json
from collections.abc import Callable
from pathlib import Path

from caravan.contracts.offerings import SiteState
from caravan.kernel.keys import development_key, public_jwk
from caravan.kernel.settings import Settings
from services.catalog.app import create_app
from services.catalog.sites.schema import faults
from tests.catalog.world import DESCRIPTOR, H100, a_centre, a_report, an_offering, announce, report
from tests.support import Json, Person, Running, ok, pointers, refused, running


async def test_a_site_is_registered_and_changed(catalog: Running, operator: Person) -> None:
    centre = await a_centre(catalog, operator)
    site = await centre.site()
    assert (site["version"], site["health"], site["inventory"]) == (1, None, None)
    draft = {k: site[k] for k in ("provider", "name", "region", "adapter", "settings", "accelerators")}

    changed = ok(await centre.admin.put(f"/sites/{site['id']}", draft | {"region": "宝鸡"}, version=1))

    assert changed == site | {"region": "宝鸡", "version": 2}
    refused(await centre.admin.put(f"/sites/{site['id']}", draft, version=1), 412, "stale")


async def test_adapters_are_shown_as_they_were_announced_last(catalog: Running, stranger: Person) -> None:
    await announce(catalog)
    other = DESCRIPTOR.model_copy(update={"name": "a-slurm", "site_settings": {"type": "object", "required": ["url"]}})
    await announce(catalog, other.model_copy(update={"version": "0"}))
    await announce(catalog, other)
    first = ok(await stranger.get("/adapters", limit=1))
    assert first["items"] == [other.model_dump(mode="json")]
    rest = ok(await stranger.get("/adapters", limit=1, cursor=first["next"]))
    assert (rest["items"], rest["next"]) == ([DESCRIPTOR.model_dump(mode="json")], None)


WRONG_SETTINGS: list[tuple[Json, list[str]]] = [
    ({}, ["/settings/folder"]),
    ({"folder": 7}, ["/settings/folder"]),
    ({"folder": "relative"}, ["/settings/folder"]),
    ({"folder": "/a", "cpus": 0}, ["/settings/cpus"]),
    ({"folder": "/a", "passwd": "hunter2"}, ["/settings/passwd"]),
    ({"folder": "/a", "login": {"a/b": "secret"}}, ["/settings/login/a~1b"]),
    ({"cpus": "many", "x~y": 1}, ["/settings/cpus", "/settings/folder", "/settings/x~0y"]),
]


async def test_settings_are_held_against_the_announced_schema(catalog: Running, operator: Person) -> None:
    centre = await a_centre(catalog, operator)
    for settings, where in WRONG_SETTINGS:
        draft = {"provider": centre.id, "name": "S", "region": "西安", "adapter": "toy", "settings": settings}
        answer = await centre.admin.post("/sites", draft)
        assert sorted(pointers(refused(answer, 422, "settings_refused"))) == where, settings
        assert not [word for word in ("hunter2", "secret", "relative", "many") if word in answer.text]


def test_each_missing_setting_is_named_once() -> None:
    schema = {"type": "object", "required": ["url", "user", "folder"]}
    assert [fault.pointer for fault in faults(schema, {"user": "a"}, "/settings")] == [
        "/settings/url",
        "/settings/folder",
    ]


async def test_an_adapter_that_nobody_announced_is_refused_with_the_known_ones(
    catalog: Running, operator: Person
) -> None:
    centre = await a_centre(catalog, operator)
    draft = {"provider": centre.id, "name": "S", "region": "西安", "adapter": "slurm"}
    assert refused(await centre.admin.post("/sites", draft), 422, "adapter_unknown")["known"] == ["toy"]


async def test_only_an_approved_providers_own_admin_registers_sites(catalog: Running, operator: Person) -> None:
    centre, other = await a_centre(catalog, operator), await a_centre(catalog, operator)
    draft = {
        "provider": centre.id,
        "name": "S",
        "region": "西安",
        "adapter": "toy",
        "settings": {"folder": "/a"},
    }
    for provider in (other.id, "prv_" + "0" * 32):
        answer = await centre.admin.post("/sites", draft | {"provider": provider})
        assert pointers(refused(answer, 422, "unknown_reference")) == ["/provider"]
    ok(await operator.post(f"/providers/{centre.id}/suspend"))
    refused(await centre.admin.post("/sites", draft), 409, "provider_not_approved")


async def test_how_a_site_is_reached_is_hidden_from_others(
    catalog: Running, operator: Person, stranger: Person, broker: Person
) -> None:
    centre, rival = await a_centre(catalog, operator), await a_centre(catalog, operator)
    site = await centre.site()
    path = f"/sites/{site['id']}"
    agent = catalog.person("agent", f"site/{site['id']}:agent")
    for person in (centre.admin, operator, broker, agent):
        assert ok(await person.get(path))["settings"] == {"folder": "/srv/toy"}
    for person in (stranger, rival.admin):
        assert ok(await person.get(path)) == site | {"settings": {}}
        assert [s["settings"] for s in ok(await person.get("/sites", provider=centre.id))["items"]] == [{}]
    draft = {k: site[k] for k in ("provider", "name", "region", "adapter", "settings")}
    for person in (stranger, rival.admin, agent, operator):
        refused(await person.put(path, draft, version=1), 404, "not_found")
    ok(await operator.post(f"/providers/{centre.id}/suspend"))
    refused(await stranger.get(path), 404, "not_found")
    assert ok(await stranger.get("/sites"))["items"] == []


async def test_provider_and_adapter_of_a_site_are_fixed(catalog: Running, operator: Person) -> None:
    centre = await a_centre(catalog, operator)
    await announce(catalog, DESCRIPTOR.model_copy(update={"name": "other"}))
    site = await centre.site()
    draft = {k: site[k] for k in ("provider", "name", "region", "settings")} | {"adapter": "other"}
    answer = await centre.admin.put(f"/sites/{site['id']}", draft, version=1)
    assert pointers(refused(answer, 422, "invalid")) == ["/adapter"]


async def test_an_accelerator_must_be_known_and_stays_while_it_is_sold(catalog: Running, operator: Person) -> None:
    centre = await a_centre(catalog, operator)
    site = await centre.site()
    draft = {k: site[k] for k in ("provider", "name", "region", "adapter", "settings")}
    unknown = await centre.admin.post("/sites", draft | {"accelerators": {"acc_vendor-x": "gpu"}})
    assert pointers(refused(unknown, 422, "unknown_reference")) == ["/accelerators/acc_vendor-x"]
    limits = an_offering("")["limits"] | {"accelerators_per_node": 8}
    await centre.offering(site["id"], tier="ai", accelerator=H100, limits=limits)
    dropped = await centre.admin.put(f"/sites/{site['id']}", draft | {"accelerators": {}}, version=1)
    assert pointers(refused(dropped, 422, "invalid")) == ["/accelerators"]


async def test_what_is_wrong_at_a_site_is_for_who_has_part_in_it(
    catalog: Running, operator: Person, stranger: Person
) -> None:
    centre = await a_centre(catalog, operator)
    site = await centre.site()
    await report(catalog, a_report(site["id"], SiteState.UNAVAILABLE, detail="slurmctld at ctl1.centre is away"))
    told = [ok(await who.get(f"/sites/{site['id']}"))["health"]["detail"] for who in (centre.admin, operator, stranger)]
    assert told == ["slurmctld at ctl1.centre is away"] * 2 + [SiteState.UNAVAILABLE.words]
    assert "ctl1" not in str(ok(await stranger.get("/sites", provider=centre.id)))


async def test_a_report_of_something_new_is_a_version_and_still_so_is_not(catalog: Running, operator: Person) -> None:
    centre = await a_centre(catalog, operator)
    site = await centre.site()
    seen = []
    for state in (SiteState.HEALTHY, SiteState.HEALTHY, SiteState.DEGRADED):
        reported = a_report(site["id"], state)
        await report(catalog, reported)
        now = ok(await centre.admin.get(f"/sites/{site['id']}"))
        assert now["health"] == reported.model_dump(mode="json")["health"]
        seen.append(now["version"])
    assert seen == [2, 2, 3]


async def test_an_older_report_changes_nothing(catalog: Running, operator: Person) -> None:
    centre = await a_centre(catalog, operator)
    site = await centre.site()
    old = a_report(site["id"], SiteState.REFUSED)
    await report(catalog, a_report(site["id"], SiteState.HEALTHY))
    await report(catalog, old)
    assert ok(await centre.admin.get(f"/sites/{site['id']}"))["health"]["state"] == "healthy"


async def test_in_production_an_adapter_that_runs_here_needs_the_sites_consent(
    settings: Settings, migrated: Callable[[str], str], tmp_path: Path
) -> None:
    pem = development_key(settings.keys_dir)
    (tmp_path / "jwks.json").write_text(json.dumps({"keys": [public_jwk(pem)]}))
    (tmp_path / "key.pem").write_bytes(pem)
    production = Settings(
        mode="production",
        issuer="city",
        jwks=str(tmp_path / "jwks.json"),
        service_key=tmp_path / "key.pem",
        log_format="console",
        catalog_database_url=migrated("catalog"),
    )
    async with running(create_app(production)) as catalog:
        centre = await a_centre(catalog, catalog.person("operator", "platform:admin"))
        await centre.site()
        await announce(catalog, DESCRIPTOR.model_copy(update={"capabilities": ("needs_consent",)}))
        draft = {"provider": centre.id, "name": "S", "region": "西安", "adapter": "toy"}
        for consent in ({}, {"i_accept_jobs_on_this_machine": False}):
            answer = await centre.admin.post("/sites", draft | {"settings": {"folder": "/a", **consent}})
            refused(answer, 422, "consent_needed")
        await centre.site(settings={"folder": "/a", "i_accept_jobs_on_this_machine": True})
