"""One conversation with the platform per command: where it is, as whom, and what a person sees when it answers or refuses.

Answers go to stdout; progress, problems and hints go to stderr, so that `--json` can be piped. Exit codes: 0 done, 1 refused or
unreachable, 2 used wrongly, 3 the job that was waited for did not succeed.
"""

import asyncio
import codecs
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Final, NoReturn, TypeVar
from urllib.parse import urlsplit

import httpx
import typer
from pydantic import BaseModel, ValidationError
from rich.console import Console, RenderableType
from rich.text import Text

from caravan.cli.show import more, when
from caravan.client import AccountingClient, BrokerClient, CatalogClient, Peers, ServiceUnavailable
from caravan.contracts.base import Words
from caravan.contracts.quotes import Refusal
from caravan.kernel.pages import Page
from caravan.kernel.problems import Invalid, NotJson, Problem
from caravan.kernel.wrong_input import fields, told, words

T = TypeVar("T")
M = TypeVar("M", bound=BaseModel)
DEFAULT_URL: Final = "http://127.0.0.1:8000"
REFUSED: Final = 1
MISUSED: Final = 2
NOT_SUCCEEDED: Final = 3
WIDE: Final = 400
"""Columns when nobody's terminal says otherwise: what is piped is not cut."""

AsJson = Annotated[bool, typer.Option("--json", help="Print the API's own JSON, and nothing else.")]
Limit = Annotated[int, typer.Option(min=1, max=200, help="How many at most.")]
Out = Annotated[Path | None, typer.Option("--out", "-o", help="Write it to this file instead of stdout.")]
Cursor = Annotated[str | None, typer.Option(help="`next` of the page before.")]


def _for_a_header(text: str | None) -> str | None:
    if text is not None and not (text.isascii() and text.isprintable()):
        raise typer.BadParameter("A key is made of printable ASCII characters.")
    return text


Key = Annotated[
    str | None,
    typer.Option(
        "--key",
        callback=_for_a_header,
        help="Idempotency-Key: the same key again does nothing twice, and gives the same answer.",
    ),
]


def console(*, stderr: bool = False) -> Console:
    """Where people read: as wide as their terminal, or wide enough for whole ids where there is none."""
    made = Console(stderr=stderr, highlight=False, emoji=False, markup=False)
    return made if made.is_terminal else Console(stderr=stderr, highlight=False, emoji=False, markup=False, width=WIDE)


@dataclass(frozen=True)
class Connection:
    """Where the three services answer, and as whom to ask."""

    catalog: str
    broker: str
    accounting: str
    token: str | None

    @classmethod
    def given(
        cls, url: str, catalog: str | None, broker: str | None, accounting: str | None, token: str | None
    ) -> "Connection":
        """All under one URL, unless a service has one of its own."""
        token = token.strip() if token is not None else None
        if token and not (token.isascii() and token.isprintable() and " " not in token):
            misused("The token has characters that no token has: copy it again, as one line.")
        base = url.rstrip("/")
        for one in (base, catalog, broker, accounting):
            if one is not None and not _is_url(one):
                misused(f"{one!r} is no URL of a platform; it looks like https://caravan.example")
        return cls(
            catalog=catalog or f"{base}/catalog",
            broker=broker or f"{base}/broker",
            accounting=accounting or f"{base}/accounting",
            token=token,
        )


def connect(
    ctx: typer.Context,
    url: Annotated[
        str, typer.Option(envvar="CARAVAN_URL", help="The platform, with /catalog, /broker and /accounting below it.")
    ] = DEFAULT_URL,
    catalog_url: Annotated[str | None, typer.Option(envvar="CARAVAN_CATALOG_URL", show_default=False)] = None,
    broker_url: Annotated[str | None, typer.Option(envvar="CARAVAN_BROKER_URL", show_default=False)] = None,
    accounting_url: Annotated[str | None, typer.Option(envvar="CARAVAN_ACCOUNTING_URL", show_default=False)] = None,
    token: Annotated[
        str | None,
        typer.Option(envvar="CARAVAN_TOKEN", show_default=False, show_envvar=True, help="Your token, for the client."),
    ] = None,
) -> None:
    ctx.obj = Connection.given(url, catalog_url, broker_url, accounting_url, token)


def ask(ctx: typer.Context, conversation: Callable[[Peers], Awaitable[T]], *, as_json: bool = False) -> T:
    """Have the conversation and return its outcome; a problem is shown, and ends the command with exit code 1."""
    connection: Connection = ctx.obj
    if not connection.token:
        misused("Who are you? Set CARAVAN_TOKEN, or give --token before the command.")

    async def converse() -> T:
        token = connection.token or ""
        async with AsyncExitStack() as stack:
            return await conversation(
                Peers(
                    catalog=await stack.enter_async_context(CatalogClient(connection.catalog, token)),
                    broker=await stack.enter_async_context(BrokerClient(connection.broker, token)),
                    accounting=await stack.enter_async_context(AccountingClient(connection.accounting, token)),
                )
            )

    try:
        return asyncio.run(converse())
    except Problem as problem:
        refused(problem, as_json)
    except ServiceUnavailable as error:
        unreachable(error)
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


def _is_url(text: str) -> bool:
    try:
        return urlsplit(text).scheme in ("http", "https") and bool(httpx.URL(text).host)
    except (ValueError, httpx.InvalidURL):
        return False


def answer(model: BaseModel) -> None:
    """Print an answer as the API gave it."""
    typer.echo(model.model_dump_json(by_alias=True, indent=2))


def print_one(found: M, shown: Callable[[M], RenderableType], *, as_json: bool) -> None:
    """Print an answer as the API gave it, or as `shown` to a person."""
    if as_json:
        answer(found)
    else:
        console().print(shown(found))


def print_page(page: Page[T], shown: Callable[[list[T]], RenderableType], none: str, *, as_json: bool) -> None:
    """Print a page as the API gave it, or its items as `shown` to a person; `none`: the words where there are no items."""
    if as_json:
        answer(page)
        return
    out = console()
    out.print(shown(page.items) if page.items else none)
    more(out, page.next)


def misused(words: str) -> NoReturn:
    typer.echo(words, err=True)
    raise typer.Exit(MISUSED)


def refused(problem: Problem, as_json: bool) -> NoReturn:
    """Show a problem: its title in both languages, what to do, the fields, and the figures that come with it."""
    if as_json:
        typer.echo(_problem_json(problem))
        raise typer.Exit(REFUSED)
    err = console(stderr=True)
    err.print(
        Text.assemble((f"{problem.title_zh} {problem.title}", "bold red"), f"  ({problem.status} {problem.code})")
    )
    err.print(problem.detail)
    for error in problem.errors:
        err.print(f"  {error.pointer or '/'}: {error.detail}")
    for name, value in problem.members.items():
        if name == "refused" and isinstance(value, tuple):
            for refusal in value:
                _refusal(err, refusal)
        elif name == "unmet" and isinstance(value, tuple):
            for lack in value:
                err.print(f"  - {lack.words.zh}\n    {lack.words.en}")
        elif isinstance(value, Words):
            err.print(f"  {value.zh}\n  {value.en}")
        elif value is not None:
            err.print(f"  {name.replace('_', ' ')}: {_member(value)}")
    raise typer.Exit(REFUSED)


def _member(value: object) -> str:
    """Times are in the reader's own zone, as everywhere."""
    if isinstance(value, tuple):
        return ", ".join(map(_member, value))
    return when(value) if isinstance(value, datetime) else str(value)


def _refusal(err: Console, refusal: Refusal) -> None:
    err.print(f"  {refusal.offering_name} ({refusal.offering})")
    for reason in refusal.reasons:
        err.print(f"    - {reason.detail}")


def _problem_json(problem: Problem) -> str:
    import json

    return json.dumps(problem.body(), ensure_ascii=False, indent=2)


def unreachable(error: ServiceUnavailable) -> NoReturn:
    """One line: who does not answer, and what to look at."""
    cause = error.__cause__
    if isinstance(cause, (httpx.ConnectError, httpx.ConnectTimeout)):
        where = urlsplit(str(cause.request.url))
        typer.echo(
            f"Nothing answers at {where.scheme}://{where.netloc}. "
            "Is the platform running (caravan serve), and is CARAVAN_URL where it is?",
            err=True,
        )
    else:
        typer.echo(str(error), err=True)
    raise typer.Exit(REFUSED)


def wrong_input(error: ValidationError) -> NoReturn:
    """What a person gave does not make a request; says where."""
    for one in told(error.errors(include_url=False)):
        place = ".".join(fields(one["loc"]))
        typer.echo(f"{place}: {words(one)}" if place else words(one), err=True)
    raise typer.Exit(MISUSED)


def text_of(path: Path) -> str:
    """A file's text without a byte order mark, `-` for stdin; ends the command when it can't be read."""
    try:
        return bytes_of(path).removeprefix(codecs.BOM_UTF8).decode()
    except UnicodeDecodeError as error:
        misused(f"{path}: not UTF-8 at byte {error.start}")


def json_of(path: Path) -> Any:
    """What a file says in JSON, read as the services read it; ends the command where it is none, or says a key twice."""
    from caravan.kernel.bodies import parse_json

    text = text_of(path)
    try:
        return parse_json(text.encode())
    except NotJson as problem:
        misused(f"{path}, at byte {problem.offset}: {problem.detail}")
    except Invalid as problem:
        for one in problem.errors:
            typer.echo(f"{path}, {one.pointer}: {one.detail}", err=True)
        raise typer.Exit(MISUSED) from None


def model_of(model: type[M], path: Path) -> M:
    """What a file says, as a request's body; ends the command where it is none."""
    import json

    try:
        return model.model_validate_json(json.dumps(json_of(path)))
    except ValidationError as error:
        wrong_input(error)


def put(document: bytes, out: Path | None) -> None:
    """Write it to a file, or None: to stdout; ends the command when it can't be written."""
    if out is None:
        typer.get_binary_stream("stdout").write(document)
        return
    try:
        out.write_bytes(document)
    except OSError as error:
        misused(f"{out}: {error.strerror}")


def bytes_of(path: Path) -> bytes:
    """A file's bytes, `-` for stdin; ends the command when it can't be read."""
    try:
        return typer.get_binary_stream("stdin").read() if str(path) == "-" else path.read_bytes()
    except OSError as error:
        misused(f"{path}: {error.strerror}")
