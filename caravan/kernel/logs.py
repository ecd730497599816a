"""Structured logs: one JSON object per line (or console lines in development), each with the request it belongs to.

The request's id, operation and subject come from a context variable that the web layer sets, so no caller passes them.
Values of keys that name secrets are never written.
"""

import logging
import sys
from collections.abc import MutableMapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Literal, TextIO

import structlog

SECRET_KEYS = frozenset(
    {"token", "authorization", "password", "secret", "private_key", "service_key", "credential", "cookie"}
)


@dataclass(slots=True)
class RequestContext:
    """The request being served: `subject` and `operation` are filled in as they become known."""

    request_id: str
    operation: str | None = None
    subject: str | None = None


current_request: ContextVar[RequestContext | None] = ContextVar("caravan_request", default=None)


def current_request_id() -> str | None:
    """The id of the request being served, to pass on in `X-Request-Id` to the next service."""
    context = current_request.get()
    return context.request_id if context else None


def _with_request(logger: Any, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    context = current_request.get()
    if context is not None:
        event.setdefault("request_id", context.request_id)
        if context.operation:
            event.setdefault("operation", context.operation)
        if context.subject:
            event.setdefault("subject", context.subject)
    return event


def _without_secrets(logger: Any, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for key in event.keys() & SECRET_KEYS:
        event[key] = "[not logged]"
    return event


def configure_logs(
    level: str = "info", form: Literal["json", "console"] = "json", stream: TextIO | None = None
) -> None:
    """Set up logging for this process, to stderr; the standard library's loggers (uvicorn, alembic) go the same way."""
    stream = stream or sys.stderr
    shared: list[Any] = [
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _with_request,
        _without_secrets,
    ]
    ending: list[Any]
    if form == "json":
        # without local variables: a frame may hold a token
        tracebacks = structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
        ending = [
            structlog.processors.ExceptionRenderer(tracebacks),
            structlog.processors.JSONRenderer(ensure_ascii=False),
        ]
    else:
        ending = [
            structlog.dev.ConsoleRenderer(colors=stream.isatty(), exception_formatter=structlog.dev.plain_traceback)
        ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.stdlib.add_logger_name,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *ending],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    # httpx logs each call's URL at INFO, uvicorn each request: both say less than our own line and cost more.
    for name in ("httpx", "httpcore", "uvicorn.access"):
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    """The logger of a module; safe to make at import, since it looks up the configuration when it is used."""
    logger: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(name)
    return logger
