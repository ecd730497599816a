"""Request bodies: read up to a limit, and parsed as strict JSON.

Stricter than the standard library where that would lose or invent something: a repeated key, `NaN`, `Infinity`, a number that
no float holds, lone surrogates, NUL characters and nesting bombs are problems here, with the byte or the field where they stand.
The common path is one pass of the C scanner; exact positions are searched only once something is known to be wrong.
"""

import asyncio
import json
import re
from collections.abc import Iterator
from itertools import islice
from typing import Any, Final

from starlette.requests import Request
from starlette.types import Message, Receive, Scope

from caravan.kernel.problems import BodyTimeout, FieldError, Invalid, NotJson, TooLarge, UnsupportedMediaType

ONE_MIB: Final = 1024 * 1024
BATCH_BYTES: Final = 32 * ONE_MIB
"""The limit of routes that take many records at once: `Router.post(..., max_body_size=BATCH_BYTES)`."""
MAX_DEPTH: Final = 64
SILENCE_SECONDS: Final = 30.0
"""How long a client may be silent in the middle of its body."""


class RequestWithBody(Request):
    """A request whose body was read, and parsed where it is JSON, before FastAPI asks for it."""

    _body: bytes
    _json: Any

    def __init__(self, request: Request, body: bytes) -> None:
        super().__init__(request.scope, request.receive)
        self._body = body


async def read_body(request: Request, limit: int) -> bytes:
    """The whole body. Raises TooLarge as soon as it is known to pass `limit` bytes, by its header or by counting; BodyTimeout."""
    declared = request.headers.get("content-length")
    if declared is not None and declared.isdecimal() and int(declared[:20]) > limit:
        raise _too_large(limit)
    first = await _receive(request)
    if first["type"] == "http.request" and not first.get("more_body", False):
        body: bytes = first.get("body", b"")
        request.scope[_COMPLETE] = True
        if len(body) > limit:
            raise _too_large(limit)
        return body
    chunks, size = [], 0
    message = first
    while message["type"] == "http.request":
        chunks.append(message.get("body", b""))
        size += len(chunks[-1])
        if size > limit:
            raise _too_large(limit)
        if not message.get("more_body", False):
            request.scope[_COMPLETE] = True
            return b"".join(chunks)
        message = await _receive(request)
    raise ClientGone


async def _receive(request: Request) -> Message:
    try:
        async with asyncio.timeout(SILENCE_SECONDS):
            return await request.receive()
    except TimeoutError:
        raise BodyTimeout from None


_COMPLETE: Final = "caravan.body_complete"
DRAIN_BYTES: Final = 32 * ONE_MIB
DRAIN_SECONDS: Final = 5.0


async def drain(scope: Scope, receive: Receive) -> None:
    """Read away what a refused request still sends, within bounds: a client that is cut off while it sends may never see why.

    One that waits for "100 Continue" sends nothing until it is told to, so it is not.
    """
    if (
        scope["method"] in ("GET", "HEAD")
        or scope.get(_COMPLETE)
        or any(name == b"expect" for name, _ in scope["headers"])
    ):
        return
    left = DRAIN_BYTES
    try:
        async with asyncio.timeout(DRAIN_SECONDS):
            while left > 0:
                message = await receive()
                left -= len(message.get("body", b""))
                if message["type"] != "http.request" or not message.get("more_body", False):
                    return
    except TimeoutError:
        return


class ClientGone(Exception):
    """The client went away before its body was complete: there is nobody to answer."""


def _too_large(limit: int) -> TooLarge:
    return TooLarge(f"The body is larger than {limit:,} bytes, the most that this route takes.", limit_bytes=limit)


_JSON_TYPE = re.compile(r"application/(?:[a-z0-9.!#$&^_-]+\+)?json\s*(?:;.*)?", re.IGNORECASE)


async def read_json(request: Request, limit: int) -> RequestWithBody:
    """Read and parse the body of `request`, and give the request to hand on. An empty body is left to the endpoint's model."""
    body = await read_body(request, limit)
    known = RequestWithBody(request, body)
    if body:
        content_type = request.headers.get("content-type")
        if content_type != "application/json" and not (content_type and _JSON_TYPE.fullmatch(content_type)):
            raise UnsupportedMediaType()
        known._json = parse_json(body)
    return known


class _RepeatedKey(ValueError):
    pass


class _Unrepresentable(ValueError):
    def __init__(self, words: str, literal: str) -> None:
        self.words, self.literal = words, literal


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _RepeatedKey
    return found


def _constant(literal: str) -> Any:
    raise _Unrepresentable(f"{literal} is not a JSON value", literal)


def _float(literal: str) -> float:
    value = float(literal)
    if value in (float("inf"), float("-inf")):
        raise _Unrepresentable("This number is too large", literal)
    return value


_decode = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_constant, parse_float=_float).decode
_ESCAPED_TROUBLE = re.compile(rb"\\u(?:[dD][89a-fA-F]|0000)")


def parse_json(body: bytes) -> Any:
    """`body` as RFC 8259 has it: objects as dict, arrays as list.

    Raises:
        NotJson: it isn't, or repeats a key, nests deeper than 64, or has a number that can't be held; with the byte offset.
        Invalid: a string has a lone surrogate or a NUL character; with the pointer to it.
    """
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise NotJson("The body is not UTF-8 at this byte.", offset=error.start) from None
    try:
        value = _decode(text)
    except json.JSONDecodeError as error:
        raise NotJson(f"{_words(error.msg)}.", offset=_offset(text, error.pos)) from None
    except _RepeatedKey:
        raise NotJson("The object repeats a key here.", offset=_offset(text, _repeated_key(text))) from None
    except _Unrepresentable as error:
        raise NotJson(f"{error.words}.", offset=_offset(text, _literal(text, error.literal))) from None
    except RecursionError:
        raise _too_deep(text) from None
    except ValueError:  # int() refuses more digits than sys.get_int_max_str_digits()
        raise NotJson("This number has too many digits.", offset=_offset(text, _long_integer(text))) from None
    if body.count(b"[") + body.count(b"{") > MAX_DEPTH and _deeper_than(value, MAX_DEPTH):
        raise _too_deep(text)
    if _ESCAPED_TROUBLE.search(body):
        errors = list(islice(_bad_strings(value), 10))
        if errors:
            raise Invalid(errors=errors)
    return value


def _words(message: str) -> str:
    return "The body begins with a byte order mark" if "BOM" in message else message.removesuffix(" at")


def _offset(text: str, position: int) -> int:
    return len(text[:position].encode("utf-8"))


def _deeper_than(value: Any, limit: int) -> bool:
    level = [value] if isinstance(value, dict | list) else []
    for _ in range(limit):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if type(outer) is dict else outer)
            if type(inner) is dict or type(inner) is list
        ]
        if not level:
            return False
    return True


_TOKEN = re.compile(
    r"""(?P<string>"(?:[^"\\]|\\.)*")|(?P<open>[\[{])|(?P<close>[\]}])|(?P<other>[^\s"\[\]{},:]+)|(?P<mark>[,:])""",
    re.DOTALL,
)


def _tokens(text: str) -> Iterator[tuple[str, str, int]]:
    """Kind, text and position of each token; only as exact as text that the scanner has accepted so far needs."""
    for match in _TOKEN.finditer(text):
        yield match.lastgroup or "", match.group(), match.start()


def _too_deep(text: str) -> NotJson:
    depth = 0
    for kind, _, position in _tokens(text):
        depth += (kind == "open") - (kind == "close")
        if depth > MAX_DEPTH:
            return NotJson(f"The body nests deeper than {MAX_DEPTH} levels here.", offset=_offset(text, position))
    raise AssertionError("text that nested too deeply does not")


def _repeated_key(text: str) -> int:
    """Where the first key stands that its object already has. Escapes count as what they stand for: "a" and "\\u0061"."""
    objects: list[set[str] | None] = []
    previous = ""
    for kind, token, position in _tokens(text):
        if kind == "open":
            objects.append(set() if token == "{" else None)
        elif kind == "close":
            objects.pop()
        elif kind == "string" and previous in ("{", ",") and objects and (keys := objects[-1]) is not None:
            key = json.loads(token)
            if key in keys:
                return position
            keys.add(key)
        previous = token
    raise AssertionError("no key is repeated")


def _literal(text: str, literal: str) -> int:
    return next(position for kind, token, position in _tokens(text) if kind == "other" and token == literal)


def _long_integer(text: str) -> int:
    for kind, token, position in _tokens(text):
        if kind == "other" and re.fullmatch(r"-?[0-9]+", token):
            try:
                int(token)
            except ValueError:
                return position
    raise AssertionError("no integer is too long")


def escape_pointer(part: str) -> str:
    """One reference token of an RFC 6901 pointer; what UTF-8 can't carry is shown as U+FFFD."""
    return _UNSHOWABLE.sub("\ufffd", part).replace("~", "~0").replace("/", "~1")


_UNSHOWABLE = re.compile("[\x00\ud800-\udfff]")


def _bad_strings(value: Any, pointer: str = "") -> Iterator[FieldError]:
    if isinstance(value, str):
        if "\0" in value:
            yield FieldError(pointer=pointer, code="nul_character", detail="A NUL character is not allowed.")
        elif not value.isascii() and any("\ud800" <= c <= "\udfff" for c in value):
            yield FieldError(
                pointer=pointer,
                code="string_unicode",
                detail="Half of a surrogate pair stands alone here; send whole characters.",
            )
    elif isinstance(value, dict):
        for key, inner in value.items():
            where = f"{pointer}/{escape_pointer(key)}"
            yield from _bad_strings(key, where)
            yield from _bad_strings(inner, where)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _bad_strings(inner, f"{pointer}/{index}")
