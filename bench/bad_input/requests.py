"""Requests with one thing wrong, beside the same without it."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from bench.platform import Market

JOBS: Final = "/broker/v1/jobs"
FEED: Final = "/broker/v1/feed"
BODY_BYTES: Final = 1 << 20
SCRIPT_BYTES: Final = 524_288


@dataclass(frozen=True)
class Request:
    path: str
    body: bytes | None = None
    """JSON to POST; None: it is a GET."""


@dataclass(frozen=True)
class Bad:
    """A request, and what must be said of it: status, code, and the pointer or the offset that is named. And its good twin."""

    what: str
    bad: Request
    good: Request
    status: int
    code: str
    pointer: str | None = None
    offset: int | None = None


def job(market: Market, **changes: Any) -> Request:
    """A good one, but for `changes`: `resources__nodes` is a field within."""
    spec: dict[str, Any] = {
        "name": "n",
        "project": market.project,
        "script": "true",
        "resources": {"walltime_seconds": 60},
    }
    for path, value in changes.items():
        target = spec
        *way, last = path.split("__")
        for part in way:
            target = target[part]
        target[last] = value
    return Request(JOBS, json.dumps(spec).encode())


def bad_requests(market: Market, cursor: str, position: str) -> Sequence[Bad]:
    """Every kind of bad input; ids are a market's, so that nothing else is wrong. `cursor` is of a list of jobs, `position` of the feed."""
    prices = f"/catalog/v1/offerings/{market.offering}/price-lists"
    good = job(market)
    plain = good.body or b""
    invalid_utf8, valid_utf8 = (plain.replace(b'"true"', text) for text in (b'"\xff\xfe"', '"true # 真"'.encode()))
    repeated, once = plain[:-1] + b', "name": "again"}', plain[:-1] + b', "max_attempts": 2}'
    tariff = {"name": "a", "starts_at": "2026-01-01T00:00:00Z", "prices": {"cpu_core_hour": "1.00"}}
    then = {**tariff, "name": "b", "starts_at": "2026-02-01T00:00:00Z"}
    overlap, in_turn = (
        Request(prices, json.dumps({"tariffs": [first, then]}).encode())
        for first in (tariff, {**tariff, "ends_at": "2026-02-01T00:00:00Z"})
    )
    number, text = (
        Request(
            "/accounting/v1/deposits",
            json.dumps({"organization": market.organization, "amount": amount, "reference": "r"}).encode(),
        )
        for amount in (100.5, "100.50")
    )
    return (
        Bad("a walltime of 0", job(market, resources__walltime_seconds=0), job(market, resources__walltime_seconds=1),
            422, "invalid", "/resources/walltime_seconds"),
        Bad("10^9 CPUs", job(market, resources__cpus_per_task=10**9), job(market, resources__cpus_per_task=9),
            422, "invalid", "/resources/cpus_per_task"),
        Bad("a NUL byte in a script", job(market, script="echo \0"), job(market, script="echo \x01"), 422, "invalid", "/script"),
        Bad("a lone surrogate in a script", job(market, script="echo \ud83d"), job(market, script="echo \U0001f42a"),
            422, "invalid", "/script"),
        Bad("invalid UTF-8", Request(JOBS, invalid_utf8), Request(JOBS, valid_utf8), 400, "not_json", offset=invalid_utf8.index(b"\xff")),
        Bad("a repeated key", Request(JOBS, repeated), Request(JOBS, once), 400, "not_json", offset=repeated.rindex(b'"name"')),
        Bad("a body of 1 MiB and a byte", Request(JOBS, plain.ljust(BODY_BYTES + 1)), Request(JOBS, plain.ljust(BODY_BYTES)),
            413, "too_large"),
        Bad("5 MB of script", job(market, script="#" * 5_000_000), good, 413, "too_large"),
        Bad("a script of 512 KiB and a byte", job(market, script="#" * (SCRIPT_BYTES + 1)), job(market, script="#" * SCRIPT_BYTES),
            422, "invalid", "/script"),
        Bad("an unknown field", job(market, colour="red"), job(market, max_cost="9.00"), 422, "invalid", "/colour"),
        Bad("an unknown field within", job(market, resources__gpus=1), job(market, resources__nodes=1), 422, "invalid", "/resources/gpus"),
        Bad("not JSON at all", Request(JOBS, b'{"name": nope}'), good, 400, "not_json", offset=9),
        Bad("overlapping tariffs", overlap, in_turn, 422, "invalid", ""),
        Bad("a made-up cursor", Request(f"{JOBS}?cursor=abcdef"), Request(f"{JOBS}?cursor={cursor}"), 422, "invalid", "query/cursor"),
        Bad("a page size of -1", Request(f"{JOBS}?limit=-1"), Request(f"{JOBS}?limit=1"), 422, "invalid", "query/limit"),
        Bad("money as a number", number, text, 422, "invalid", "/amount"),
        Bad("a script and a container", job(market, container={"image": "/a.sif"}), job(market, container=None), 422, "invalid", ""),
        Bad("a deadline", job(market, deadline="2030-01-01T00:00:00Z"), good, 422, "not_supported_here", ""),
        Bad("a made-up feed cursor", Request(f"{FEED}?after=nonsense"), Request(f"{FEED}?after={position}"), 422, "invalid", "query/after"),
    )  # fmt: skip
