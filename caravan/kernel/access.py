"""Who may call a route, as a type in its signature.

    async def read_budget(id: BudgetId, caller: OrgReader, budgets: Budgets) -> Budget: ...

The type lets a caller in whose token has the role; which organization, provider or site it has it for is the service's question
(`caller.is_org_member(...)`). A caller without the role gets the same 404 as for a thing that doesn't exist.

| type            | lets in                                                                           |
|-----------------|-----------------------------------------------------------------------------------|
| `Public`        | everybody, without a token                                                        |
| `Anyone`        | every valid token                                                                 |
| `OrgMember`     | a member or admin of some organization                                            |
| `OrgAdmin`      | an admin of some organization                                                     |
| `OrgReader`     | as OrgMember; platform admin and finance too                                      |
| `ProviderAdmin` | an admin of some provider                                                         |
| `PlatformAdmin`, `Finance`, `Office` | who has exactly this; none implies another                |
| `Service`       | another service of the platform                                                   |

For other mixes: `Annotated[Caller, allow("words", predicate, "scope", ...)]`.
"""

from collections.abc import Callable, Iterator
from typing import Annotated, Any

from fastapi import Depends, Security
from fastapi.dependencies.models import Dependant
from fastapi.openapi.models import HTTPBearer
from fastapi.security.base import SecurityBase
from starlette.requests import Request

from caravan.kernel.problems import NotFound, Problem, Unauthenticated
from caravan.kernel.tokens import Caller, Verifier

CALLER = "caravan.caller"


class Authorization(SecurityBase):
    """A role that a route asks for. As a dependency it gives the caller, whom the route has already checked."""

    scheme_name = "token"
    model = HTTPBearer(
        bearerFormat="JWT", description="A JWT signed by a key that the platform trusts (RS256 or ES256)."
    )

    def __init__(self, name: str, allows: Callable[[Caller], bool], restricts: bool = True) -> None:
        self.name = name
        self.allows = allows
        self.restricts = restricts

    async def __call__(self, request: Request) -> Caller:
        caller: Caller = request.scope[CALLER]
        return caller

    async def check(self, request: Request, verifier: Verifier) -> Caller:
        """Authenticate and authorize. Raises Unauthenticated or NotFound."""
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if not scheme:
            raise Unauthenticated("There is no token. Send `Authorization: Bearer <token>`.")
        if scheme.lower() != "bearer" or not token.strip():
            raise Unauthenticated("The Authorization header is not `Bearer <token>`.")
        caller = await verifier.verify(token.strip())
        if not self.allows(caller):
            raise NotFound()
        request.scope[CALLER] = caller
        return caller


class _Public:
    """The mark of a route that asks for no token."""

    async def __call__(self) -> None:
        return None


def allow(name: str, allows: Callable[[Caller], bool], *scopes: str) -> Any:
    """A role as a dependency; `scopes` name the permissions that have it, in the OpenAPI document."""
    return Security(Authorization(name, allows, restricts=bool(scopes)), scopes=scopes)


Public = Annotated[None, Depends(_Public())]
Anyone = Annotated[Caller, allow("any valid token", lambda caller: True)]
PlatformAdmin = Annotated[Caller, allow("platform admin", lambda caller: caller.is_admin, "platform:admin")]
Finance = Annotated[Caller, allow("finance", lambda caller: caller.is_finance, "platform:finance")]
Office = Annotated[Caller, allow("programmes office", lambda caller: caller.is_office, "platform:programmes")]
OrgMember = Annotated[
    Caller,
    allow("organization member", lambda caller: bool(caller.organizations()), "org/<id>:admin", "org/<id>:member"),
]
OrgAdmin = Annotated[
    Caller,
    allow(
        "organization admin",
        lambda caller: any(p.startswith("org/") and p.endswith(":admin") for p in caller.permissions),
        "org/<id>:admin",
    ),
]
OrgReader = Annotated[
    Caller,
    allow(
        "organization reader",
        lambda caller: caller.is_platform_reader or bool(caller.organizations()),
        *("org/<id>:admin", "org/<id>:member", "platform:admin", "platform:finance"),
    ),
]
ProviderAdmin = Annotated[
    Caller, allow("provider admin", lambda caller: bool(caller.providers()), "provider/<id>:admin")
]
Service = Annotated[Caller, allow("service of the platform", lambda caller: caller.is_service(), "service:<name>")]


def walk(dependant: Dependant) -> Iterator[Dependant]:
    """All dependencies of a route, at any depth."""
    for inner in dependant.dependencies:
        yield inner
        yield from walk(inner)


def authorizations(dependant: Dependant) -> tuple[list[Authorization], bool]:
    """The roles that a route asks for, and whether it is marked public."""
    calls = [inner.call for inner in walk(dependant)]
    return [call for call in calls if isinstance(call, Authorization)], any(isinstance(call, _Public) for call in calls)


def declared_problems(dependant: Dependant) -> list[type[Problem]]:
    """Problems that a route's dependencies may raise: those that have an attribute `problems` (a tuple of classes)."""
    return [problem for inner in walk(dependant) for problem in getattr(inner.call, "problems", ())]
