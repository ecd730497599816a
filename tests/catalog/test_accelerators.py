from sqlalchemy import func, select
from sqlalchemy.orm import Session

from caravan.contracts.offerings import Accelerator
from caravan.kernel.runtime import Runtime
from caravan.kernel.tables import outbox
from services.catalog.sites.accelerators import AcceleratorService, seeded
from tests.support import Json, Person, Running, ok, refused

MINE = {
    "id": "acc_tianhe-matrix-64g",
    "vendor": "Tianhe",
    "model": "Matrix 3000",
    "memory_mib": 65536,
    "unit": "card",
    "domestic": True,
    "aliases": ["天河"],
}


async def listed(person: Person) -> list[Json]:
    found: list[Json] = []
    cursor: dict[str, str] = {}
    while True:
        page = ok(await person.get("/accelerators", limit=40, **cursor))
        found += page["items"]
        if page["next"] is None:
            return found
        cursor = {"cursor": page["next"]}


def test_the_seeded_kinds_are_told_apart() -> None:
    kinds = seeded()
    assert len({kind.id for kind in kinds}) == len({(k.vendor, k.model) for k in kinds}) == len(kinds)
    vendors = {kind.vendor for kind in kinds if kind.domestic}
    assert len(vendors) >= 9
    assert all(k.id.endswith(f"-{k.memory_mib // 1024}g") for k in kinds)


async def test_every_installation_starts_with_the_kinds_that_centres_run(stranger: Person, broker: Person) -> None:
    assert {Accelerator.model_validate(one) for one in await listed(stranger)} == set(seeded())
    snapshot = ok(await broker.get("/snapshot"))
    assert {e["subject"] for e in snapshot["events"] if e["type"] == "accelerator.changed"} == {k.id for k in seeded()}


async def test_a_centre_adds_its_own_kind_once(catalog: Running, operator: Person, stranger: Person) -> None:
    centre = catalog.person("centre", "provider/prv_" + "1" * 32 + ":admin")
    for person in (centre, operator):
        assert ok(await person.post("/accelerators", MINE), 201) == MINE
    assert len(await listed(stranger)) == len(seeded()) + 1
    other = MINE | {"memory_mib": 1024}
    assert refused(await centre.post("/accelerators", other), 409, "already_exists")["existing"] == MINE["id"]
    refused(await stranger.post("/accelerators", MINE), 404, "not_found")


async def test_a_restart_seeds_nothing_twice(catalog: Running) -> None:
    db = catalog.app.provided[Runtime].db

    def published(tx: Session) -> int:
        return tx.execute(select(func.count()).select_from(outbox)).scalar_one()

    before = await db.read(published)
    await catalog.app.provided[AcceleratorService].seed()
    assert await db.read(published) == before == len(seeded())
