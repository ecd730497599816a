"""Facts of a tiny city, in the words of bench/city/README.md, and what the script that is written from docs/ alone makes of them."""

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from bench.city.independent.city import City
from bench.city.independent.lines import Key
from bench.city.independent.tax import Row
from bench.city.independent.windows import month

ROOT = Path(__file__).parents[2]
XIAN = timedelta(hours=8)
Fact = dict[str, Any]


def block(page: str, mark: str) -> Any:
    """The JSON of a docs page behind the comment `<!-- mark: … -->`."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    found = re.search(rf"<!-- {mark}:.*?-->\n```json\n(.*?)```", text, re.DOTALL)
    assert found, mark
    return json.loads(found[1])


def at(text: str) -> datetime:
    """A local time of Xi'an, `2026-03-06 21:00`."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC) - XIAN


def utc(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def event(kind: str, **data: Any) -> Fact:
    return {"event": kind, "data": data}


def request(operation: str, body: Fact | None = None, answer: str = "", **path: str) -> Fact:
    return {"operation": operation, "by": "finance", "path": path, "body": body or {}, "answer": {"id": answer}}


def price_list(name: str = "prl_1", offering: str = "off_1", revision: int = 1, **terms: Any) -> Fact:
    known = {"id": name, "offering": offering, "revision": revision, "created_at": "2026-01-01T00:00:00.5Z"}
    return event("price_list.changed", **(known | terms))


def flat(price: str, component: str = "cpu_core_hour", **more: Any) -> Fact:
    """Terms of a list with one tariff."""
    return {"tariffs": [{"name": "t", "starts_at": "2025-01-01T00:00:00Z", "prices": {component: price}} | more]}


def placed(attempt: str = "att_1", job: str = "job_1", hold: str = "1000000.00", **more: Any) -> list[Fact]:
    """An attempt with the hold of its job."""
    known = {
        "attempt": attempt,
        "job": job,
        "organization": "org_1",
        "project": "prj_1",
        "offering": "off_1",
        "site": "sit_1",
        "provider": "prv_1",
        "price_list": "prl_1",
        "price_class": None,
        "options": {},
        "grant": None,
        "resale": None,
        "preempted_borne_by": "provider",
    } | more
    body: Fact = {"revision": 1, "organization": known["organization"], "project": known["project"], "amount": hold}
    if known["resale"]:
        reseller = known["resale"]
        amount = reseller.pop("hold")
        body["resale"] = {"organization": reseller["reseller"], "project": reseller["project"], "amount": amount}
    return [event("attempt.placed", **known), request("put_hold", body, job=job)]


def used(start: str, length: int, *, run: str = "run_1", revision: int = 1, **shape: Any) -> list[Fact]:
    """Usage from a local time of Xi'an on, cut into hours; `job` and `attempt` are the first ones unless told."""
    known = {"attempt": shape.pop("attempt", "att_1"), "job": shape.pop("job", "job_1"), "run": run}
    begin, facts = at(start), []
    end = begin + timedelta(seconds=length)
    held = {"nodes": 0, "cpus": 0, "memory_mib": 0} | shape
    while begin < end:
        hour = begin.replace(minute=0, second=0)
        stop = min(end, hour + timedelta(hours=1))
        span = {"start": utc(begin), "end": utc(stop)} | held
        facts.append(event("usage.stated", **known, hour=utc(hour), revision=revision, spans=[span]))
        begin = stop
    return facts


def final(outcome: str, run: str = "run_1", attempt: str = "att_1", job: str = "job_1") -> Fact:
    return event("run.final", run=run, attempt=attempt, job=job, outcome=outcome)


def play(*facts: Fact | list[Fact]) -> City:
    """A city of which the periods' ids are `2026-03` and the like."""
    months = {f"2026-{number:02}": month(int(at(f"2026-{number:02}-01").timestamp())) for number in range(1, 13)}
    city = City(months)
    city.play(fact for some in facts for fact in (some if isinstance(some, list) else [some]))
    city.open_rows = city.closing.open_rows()
    return city


def close(name: str) -> Fact:
    return request("close_period", period=name)


def rows(city: City) -> list[Row]:
    return [*city.closing.rows, *city.open_rows]


def charged(city: City, **wanted: str | None) -> dict[Any, tuple[int, int]]:
    """(quantity, fen) of the lines whose key has all that is wanted, by (component, window, bearer, reason)."""
    found: dict[Any, tuple[int, int]] = {}
    for row in rows(city):
        if all(getattr(row.key, name) == value for name, value in wanted.items()):
            key: Key = row.key
            name = key.component, key.window, key.bearer, key.reason
            quantity, amount = found.get(name, (0, 0))
            found[name] = quantity + row.quantity, amount + row.amount
    return found


def fen_of(city: City, bearer: str = "organization", **wanted: str | None) -> int:
    return sum(amount for _, amount in charged(city, bearer=bearer, **wanted).values())
