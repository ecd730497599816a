"""Programmes to try rules on, and enterprises that apply for their vouchers."""

from datetime import UTC, datetime
from typing import Any

from caravan.contracts.programmes import ProgrammeDraft
from caravan.kernel import ids
from tests.accounting.world import World
from tests.support import Json, Person, ok

YEAR = {"starts_at": "2026-01-01T00:00:00+08:00", "ends_at": "2027-01-01T00:00:00+08:00"}
ENTERPRISE = {
    "place": "610113",
    "industry": "I6513",
    "size": "small",
    "registered_on": "2024-02-29",
    "clear_credit": True,
}
FIRST = {"If-Match": '"1"'}


class Hands:
    """A clock that stands until it is set: at noon of 31 March 2026 in Shanghai."""

    def __init__(self) -> None:
        self.at = datetime(2026, 3, 31, 4, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.at


def programme(**changes: Any) -> ProgrammeDraft:
    """Pays 30 % of everything from a pool of 100 million yuan, where nothing else is said."""
    plain = {
        "name": "算力券",
        "issuer": {"name": "市科技局", "level": "city"},
        "pools": [{"year": 2026, "amount": "100000000.00"}],
        "rates": [{"rate": 3000}],
    }
    return ProgrammeDraft.model_validate(plain | YEAR | changes)


def office(world: World) -> Person:
    return world.service.person("office", "platform:programmes")


async def drafted(world: World, **terms: Any) -> Json:
    return ok(await office(world).post("/programmes", programme(**terms)), 201)


async def published(world: World, **terms: Any) -> Json:
    draft = await drafted(world, **terms)
    return ok(await office(world).post(f"/programmes/{draft['id']}/publish", headers=FIRST))


def asked(world: World, programme: Json, amount: str = "1000.00", **changes: Any) -> Json:
    """What the world's organization applies with."""
    plain = {"programme": programme["id"], "organization": world.organization, "enterprise": ENTERPRISE}
    return plain | {"amount": amount} | changes


def key(value: str) -> dict[str, str]:
    return {"Idempotency-Key": value}


async def applied(world: World, programme: Json, amount: str = "1000.00", **changes: Any) -> Json:
    body = asked(world, programme, amount, **changes)
    return ok(await world.admin.post("/voucher-applications", body, key(ids.new("req"))), 201)


PASSES = {"passed": True, "reason": "材料齐全"}


async def reviewed(world: World, application: Json, *reviews: Json) -> Json:
    """By one reviewer after the other."""
    for number, review in enumerate(reviews, start=1):
        reviewer = world.service.person(f"reviewer-{number}", "platform:programmes")
        version = {"If-Match": f'"{application["version"]}"'}
        path = f"/voucher-applications/{application['id']}/review"
        application = ok(await reviewer.post(path, review, version))
    return application


async def issued(world: World, programme: Json, amount: str = "1000.00", **changes: Any) -> Json:
    """The voucher."""
    approved = await reviewed(world, await applied(world, programme, amount, **changes), PASSES, PASSES)
    return ok(await office(world).post(f"/voucher-applications/{approved['id']}/issue"))


async def committed(world: World, programme: Json) -> dict[int, str]:
    pools = ok(await world.member.get(f"/programmes/{programme['id']}"))["pools"]
    return {pool["year"]: pool["committed"] for pool in pools}
