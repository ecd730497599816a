"""Problems (RFC 9457): the class that every refusal is, and the framework's own.

A subclass's docstring is what a person reads; its annotated fields are members of the answer. All domain problems stand in
`caravan/contracts/problems.py`. How a problem becomes an HTTP answer is in `caravan/kernel/web.py`.
"""

from typing import Any, ClassVar, get_type_hints

from pydantic import BaseModel, TypeAdapter


class Unreachable(Exception):
    """A peer can't be reached now. Loops note it in a line and try again."""


class FieldError(BaseModel):
    """One thing wrong with the input: where (RFC 6901 pointer, or `query/limit`, `header/…`), what, and what to do."""

    pointer: str
    code: str
    detail: str


class Problem(Exception):
    """Something the caller asked for can't be done. `detail` says why, and what to do next."""

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal_error"
    title: ClassVar[str] = "Something went wrong"
    title_zh: ClassVar[str] = "出错了"
    headers: ClassVar[dict[str, str]] = {}
    ordinary: ClassVar[bool] = False
    """It is asked for again and again until it isn't refused: worth no line in the log."""
    _member_types: ClassVar[dict[str, Any]]
    _adapters: ClassVar[dict[str, TypeAdapter[Any]]]

    detail: str
    errors: list[FieldError]

    def __init__(self, detail: str | None = None, *, errors: list[FieldError] | None = None, **members: object) -> None:
        known = self.member_types()
        if set(members) != set(known):
            raise TypeError(f"{type(self).__name__} takes exactly {sorted(known)}, got {sorted(members)}")
        self.detail = detail if detail is not None else " ".join((self.__doc__ or "").split())
        self.errors = errors or []
        self.members = members
        for name, value in members.items():
            setattr(self, name, value)
        super().__init__(self.detail)

    @classmethod
    def member_types(cls) -> dict[str, Any]:
        """Name and type of each member beyond RFC 9457's own."""
        if "_member_types" not in cls.__dict__:
            own = get_type_hints(Problem)
            cls._member_types = {k: v for k, v in get_type_hints(cls).items() if k not in own}
        return cls._member_types

    @classmethod
    def type_uri(cls) -> str:
        """A relative reference to the problem's documentation."""
        return f"/problems/{cls.code}"

    def body(self) -> dict[str, Any]:
        """The `application/problem+json` members, JSON-ready; nothing of refused input is in it."""
        kind = type(self)
        if "_adapters" not in kind.__dict__:
            kind._adapters = {k: TypeAdapter(v) for k, v in self.member_types().items()}
        members = {k: kind._adapters[k].dump_python(v, mode="json", by_alias=True) for k, v in self.members.items()}
        out: dict[str, Any] = {
            "type": self.type_uri(),
            "title": self.title,
            "title_zh": self.title_zh,
            "status": self.status,
            "code": self.code,
            "detail": self.detail,
        }
        if self.errors:
            out["errors"] = [e.model_dump() for e in self.errors]
        return out | members

    def response_headers(self) -> dict[str, str]:
        """Headers of the answer, for example Retry-After."""
        return dict(self.headers)


class Invalid(Problem):
    """The request is understood but wrong; `errors` names each field and what is expected there."""

    status, code = 422, "invalid"
    title, title_zh = "The request has errors", "请求有误"


class NotJson(Problem):
    """The body is not JSON as RFC 8259 has it, or it repeats a key. `offset` is the byte where that was noticed."""

    status, code = 400, "not_json"
    title, title_zh = "The body is not JSON", "请求体不是合法的 JSON"
    offset: int


class TooLarge(Problem):
    """The body is larger than this route takes. Send less, or use the batch route."""

    status, code = 413, "too_large"
    title, title_zh = "The body is too large", "请求体过大"
    limit_bytes: int


class BodyTimeout(Problem):
    """The rest of the body did not come. Send it again, without pauses."""

    status, code = 408, "body_timeout"
    title, title_zh = "The rest of the body did not come", "请求体未能按时收全"


class UnsupportedMediaType(Problem):
    """The body is not marked as JSON. Send `Content-Type: application/json`."""

    status, code = 415, "unsupported_media_type"
    title, title_zh = "The body is not marked as JSON", "请求体未标明为 JSON"


class NotFound(Problem):
    """There is no such thing, or you may not see it."""

    status, code = 404, "not_found"
    title, title_zh = "Not found", "未找到"


class MethodNotAllowed(Problem):
    """This path exists, but not with this method. The Allow header names those that do."""

    status, code = 405, "method_not_allowed"
    title, title_zh = "Method not allowed", "不支持该方法"


class Unauthenticated(Problem):
    """The request carries no valid token. Send `Authorization: Bearer <token>`; `detail` says what was wrong with it."""

    status, code = 401, "unauthenticated"
    title, title_zh = "A valid token is needed", "需要有效令牌"
    headers = {"WWW-Authenticate": "Bearer"}


class Stale(Problem):
    """The thing has changed since you read it. Read it again, and send its new ETag in If-Match."""

    status, code = 412, "stale"
    title, title_zh = "It has changed since", "数据已被更新"


class VersionNeeded(Problem):
    """A change needs If-Match with the ETag that you last read."""

    status, code = 428, "version_needed"
    title, title_zh = "If-Match is needed", "需要 If-Match"


class KeyReused(Problem):
    """This Idempotency-Key was used with another body. Use a new key for a new request."""

    status, code = 422, "idempotency_key_reused"
    title, title_zh = "The key belongs to another request", "幂等键已用于其他请求"


class StillRunning(Problem):
    """The first request with this Idempotency-Key is still running. Send the same again after Retry-After."""

    status, code = 409, "still_running"
    title, title_zh = "Still running", "仍在处理"
    ordinary = True
    headers = {"Retry-After": "1"}


class CursorGone(Problem):
    """The cursor is of another generation of this feed (its database was restored). Take a snapshot and follow from there."""

    status, code = 410, "cursor_gone"
    title, title_zh = "The cursor is of another generation", "游标已失效"


class Busy(Problem):
    """Too many things wanted the same rows at once. Nothing was done; send the same again after Retry-After."""

    status, code = 503, "busy"
    title, title_zh = "Busy", "繁忙"
    headers = {"Retry-After": "1"}


class NotReady(Problem):
    """This process can't do its work now; `failing` names the checks that say so. Ask again after Retry-After."""

    status, code = 503, "not_ready"
    title, title_zh = "Not ready", "尚未就绪"
    headers = {"Retry-After": "1"}
    failing: list[str]


class Internal(Problem):
    """Something unexpected failed. It was logged under the request id; nothing of it is shown here."""

    status, code = 500, "internal_error"
