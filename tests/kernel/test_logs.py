"""Logs: one JSON object per line, with the request it belongs to and without secrets."""

import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from caravan.kernel.logs import RequestContext, configure_logs, current_request, current_request_id, get_logger


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    written = io.StringIO()
    configure_logs("info", "json", written)
    yield written
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def read(lines: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in lines.getvalue().splitlines()]


def test_a_line_is_json_with_its_request(lines: io.StringIO) -> None:
    before = current_request.set(RequestContext("req-1", "submit_job", "alice"))
    assert current_request_id() == "req-1"
    get_logger("caravan.test").info("placed", job="job_1", name="模拟")
    current_request.reset(before)
    get_logger("caravan.test").info("later")
    first, second = read(lines)
    assert {k: v for k, v in first.items() if k != "timestamp"} == {
        "event": "placed",
        "level": "info",
        "logger": "caravan.test",
        "job": "job_1",
        "name": "模拟",
        "request_id": "req-1",
        "operation": "submit_job",
        "subject": "alice",
    }
    assert "request_id" not in second


def test_secrets_are_never_written(lines: io.StringIO) -> None:
    get_logger("caravan.test").info(
        "calling", token="eyJ.secret", authorization="Bearer eyJ.secret", password="hunter2"
    )
    written = lines.getvalue()
    assert "secret" not in written
    assert "hunter2" not in written


def test_a_failure_carries_its_traceback_and_other_libraries_log_the_same_way(
    lines: io.StringIO,
) -> None:
    try:
        raise ValueError("broken")
    except ValueError:
        get_logger("caravan.test").exception("failed")
    logging.getLogger("uvicorn.error").warning("stopping")
    logging.getLogger("caravan.test").debug("unseen")
    first, second = read(lines)
    assert "ValueError" in json.dumps(first["exception"])
    assert second["event"] == "stopping"
    assert second["level"] == "warning"


def test_tracebacks_show_no_local_variables(lines: io.StringIO) -> None:
    def inner(token: str) -> None:
        raise ValueError("broken")

    try:
        inner("eyJ.secret")
    except ValueError:
        get_logger("caravan.test").exception("failed")
    assert "broken" in lines.getvalue()
    assert "eyJ.secret" not in lines.getvalue()
