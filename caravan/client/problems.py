"""What a call can raise: the problem that the server meant, as the same class, or that no answer came."""

import json
from functools import cache
from typing import Any

from pydantic import TypeAdapter, ValidationError

import caravan.contracts.problems  # noqa: F401  (makes the domain's classes known)
from caravan.client.inprocess import Reply
from caravan.kernel.problems import FieldError, Problem, Unreachable

__all__ = ["ServiceUnavailable", "UnknownProblem", "problem_of"]


class ServiceUnavailable(Unreachable):
    """No answer came: refused, broken off, timed out, or something in between answered for the service.

    What was sent may have been done. Repeat it the way its operation allows (an Idempotency-Key, a revision, an epoch).
    """


class UnknownProblem(Problem):
    """A problem with a code that this version of the client has no class for. `status`, `code` and `members` are as answered."""

    def __init__(self, status: int, answered: dict[str, Any]) -> None:
        super().__init__(str(answered.get("detail", "")))
        self._answered = answered
        self.members = {k: v for k, v in answered.items() if k not in _ENVELOPE}
        vars(self).update(
            status=status,
            code=str(answered.get("code", "unknown")),
            title=str(answered.get("title", "")),
            title_zh=str(answered.get("title_zh", "")),
        )

    def body(self) -> dict[str, Any]:
        return dict(self._answered)


_ENVELOPE = frozenset({"type", "title", "title_zh", "status", "code", "detail", "errors", "request_id", "instance"})


@cache
def _classes() -> dict[str, type[Problem]]:
    found: dict[str, type[Problem]] = {}
    waiting = list(Problem.__subclasses__())
    while waiting:
        kind = waiting.pop()
        waiting.extend(kind.__subclasses__())
        if kind is not UnknownProblem:
            found[kind.code] = kind
    return found


def problem_of(reply: Reply) -> Problem | ServiceUnavailable:
    """The exception for an answer that isn't a success."""
    try:
        answered = json.loads(reply.content)
    except ValueError:
        answered = None
    if not isinstance(answered, dict) or "code" not in answered:
        return ServiceUnavailable(f"{reply.url} answered {reply.status} without a problem")
    kind = _classes().get(str(answered["code"]))
    if kind is None:
        return UnknownProblem(reply.status, answered)
    try:
        members = {
            name: TypeAdapter(type_).validate_python(answered[name], strict=False)
            for name, type_ in kind.member_types().items()
        }
        errors = [FieldError.model_validate(error) for error in answered.get("errors", [])]
    except (KeyError, ValidationError):
        return UnknownProblem(reply.status, answered)
    return kind(answered.get("detail"), errors=errors, **members)
