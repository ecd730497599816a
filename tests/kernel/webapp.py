"""A small service that shows every manner of the web layer, and a client for it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any, Self

import httpx
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from caravan.kernel.money import Money
from caravan.kernel.pages import Page, PageParams
from caravan.kernel.problems import Problem, Stale
from caravan.kernel.settings import Settings
from caravan.kernel.tokens import create_signer
from caravan.kernel.web import (
    BATCH_BYTES,
    Anyone,
    Finance,
    IdempotencyKey,
    IfMatch,
    OrgMember,
    Public,
    Request,
    Response,
    Router,
    Service,
    ServiceApp,
    answer_of,
    create_service_app,
    etag,
    problems,
    provided,
    started,
    stored,
)


class TooWild(Problem):
    """The thing is wilder than its stable allows. Ask for less; `fits` would do."""

    status, code = 402, "too_wild"
    title, title_zh = "Too wild", "过于狂野"
    fits: Money


class NotDone(Problem):
    """This installation doesn't do that. Leave it out."""

    status, code = 422, "not_done"
    title, title_zh = "Not done here", "暂不支持"


def _even(value: int) -> int:
    if value % 2:
        raise ValueError(f"{value} is odd")  # quotes the input, which no answer may
    return value


class Legs(BaseModel):
    model_config = ConfigDict(extra="forbid")

    count: Annotated[int, Field(ge=1, le=1000, strict=True), AfterValidator(_even)]


class Animal(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: Annotated[str, Field(min_length=1, examples=["Bactrian"])]
    legs: Legs = Field(default_factory=lambda: Legs(count=4))
    tags: dict[str, str] = {}
    notes: dict[str, Any] = {}
    price: Money | None = None

    @model_validator(mode="before")
    @classmethod
    def _done_here(cls, data: Any) -> Any:
        if isinstance(data, dict) and "wings" in data:
            raise PydanticCustomError("not_done_here", "Not done here: wings")
        return data

    @model_validator(mode="after")
    def _no_snakes(self) -> Self:
        if self.name == "snake":
            raise PydanticCustomError("snake", "A snake has no legs")
        return self


class Stable:
    """What the endpoints are given."""

    def __init__(self) -> None:
        self.version = 3
        self.keys: list[str] = []


class Uninvited(Exception):
    pass


router = Router(prefix="/v1", tags=["animals"])
Stables = Annotated[Stable, provided(Stable)]


@router.post("/animals", status_code=201, response_model=Animal, responses=problems(TooWild, NotDone))
async def add_animal(animal: Animal, caller: OrgMember, stable: Stables, key: IdempotencyKey) -> Response:
    """Add an animal."""
    stable.keys.append(f"{key.scope}|{key.key}|{key.fingerprint}")
    if animal.name == "tiger":
        raise TooWild(fits=Money(150))
    return stored(answer_of(animal))


@router.get("/animals")
async def list_animals(page: PageParams, caller: Anyone, kind: str | None = None) -> Page[int]:
    """List the numbers below 120, smallest first."""
    listing = page.listing("animals", caller, (int,), kind=kind)
    first = int(listing.after[0]) + 1 if listing.after else 0
    return listing.page(list(range(first, min(first + listing.fetch, 120))), key=lambda number: (number,))


@router.put("/animals/{id}", responses=problems(NotDone))
async def change_animal(
    id: int, animal: Animal, caller: OrgMember, version: IfMatch, stable: Stables, response: Response
) -> Animal:
    """Change an animal."""
    if version != stable.version:
        raise Stale
    response.headers["ETag"] = etag(version + 1)
    return animal


@router.post("/animals/{id}/wash")
async def wash_animal(id: int, caller: OrgMember, request: Request) -> int:
    """Wash it; takes no body that matters."""
    return len(await request.body())


@router.post("/flocks", max_body_size=BATCH_BYTES)
async def add_flock(animals: list[Animal], caller: Service) -> int:
    """Add many."""
    return len(animals)


@router.get("/till")
async def read_till(caller: Finance) -> str:
    """For finance."""
    return caller.subject


@router.get("/hello")
async def say_hello(_: Public) -> str:
    """For everybody."""
    return "hello"


@router.get("/failure")
async def fail(caller: Anyone) -> int:
    """Fails unexpectedly."""
    raise Uninvited("the password is hunter2")


MEMBER = ["org/org_1:member"]


def create_app(folder: Path, **options: Any) -> ServiceApp:
    settings = Settings(mode="development", data_dir=folder)
    return create_service_app(
        "catalog",
        "Stables",
        settings,
        routers=[router],
        provide=[Stable()],
        problem_types={"not_done_here": NotDone},
        **options,
    )


@asynccontextmanager
async def client_of(app: ServiceApp, permissions: list[str] | None = None) -> AsyncIterator[httpx.AsyncClient]:
    """A client whose token has `permissions` (a member of org_1 by default), with the app started."""
    token = create_signer(app.settings).sign("alice", MEMBER if permissions is None else permissions)
    async with (
        started(app),
        httpx.AsyncClient(
            transport=httpx.ASGITransport(app),
            base_url="http://stables",
            headers={"Authorization": f"Bearer {token}", "Idempotency-Key": "k-1"},
        ) as client,
    ):
        yield client
