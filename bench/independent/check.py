"""Charge exported usage again from scratch and compare with the platform's lines, statements and trial balance.

Standard library only, nothing of the platform: `python -m bench.independent.check FOLDER [--json]`. FOLDER holds
usage.json (UsageExport), periods.json, lines.json (all periods) and, where there, statements.json and
trial_balance.json, as the public API gives them; a list may also be a page that is the last. Exit code 0: all equal;
1: something differs; 2: unusable input.
"""

import argparse
import json
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import Any

from bench.independent.compare import (
    HOUR,
    Difference,
    Line,
    Report,
    compare_lines,
    compare_statements,
    compare_trial_balance,
    newest,
)
from bench.independent.discounts import Discount, as_line, compare_discounts, discount_of
from bench.independent.recharge import (
    BORNE_BY,
    DAYS,
    Granted,
    Key,
    Period,
    PriceList,
    Rules,
    Slot,
    Span,
    Tariff,
    Unusable,
    Usage,
    Window,
    fen_of,
    fen_text,
    first_charged,
    recompute,
)
from bench.independent.taxes import compare_taxes

ROWS_SHOWN = 40


@lru_cache(maxsize=1_000_000)
def second(text: str) -> int:
    """RFC 3339 -> seconds since 1970."""
    at = datetime.fromisoformat(text)
    if at.tzinfo is None or at.microsecond:
        raise Unusable(f"{text} is not a whole second with an offset")
    return _floor(at)


def _floor(at: datetime) -> int:
    since = at.astimezone(UTC) - datetime(1970, 1, 1, tzinfo=UTC)
    return since.days * 86_400 + since.seconds


def _no_float(text: str) -> float:
    raise Unusable(f"{text}: a number with a fraction; money, prices and quantities have none")


def _read(path: Path) -> Any:
    found = json.loads(path.read_text(encoding="utf-8"), parse_float=_no_float)
    if isinstance(found, dict) and "items" in found:
        if found.get("next"):
            raise Unusable(f"{path.name} is one page of several; give all of them as one list")
        return found["items"]
    return found


def _preempted_and_charged(e: Any) -> bool:
    by = e.get("preempted_borne_by", "provider")
    if by not in ("provider", "organization"):
        raise Unusable(f"preempted_borne_by {by!r} of {e['record']['attempt']} is not known")
    return bool(e["outcome"] == "preempted" and by == "organization")


def _usage(e: Any) -> Usage:
    r, hold = e["record"], fen_of(e["hold_amount"])
    if e["outcome"] not in BORNE_BY:
        raise Unusable(f"outcome {e['outcome']!r} of {r['run']} is not known")
    stated = (
        r["run"],
        second(r["hour"]),
        r["revision"],
        r["job"],
        second(r["run_started_at"]),
        tuple(map(_span, r["spans"])),
    )
    who = (e["organization"], e["project"], e["provider"], e["offering"], e["price_list"])
    outcome = None if e.get("contest_upheld") or _preempted_and_charged(e) else e["outcome"]
    return Usage(*stated, *who, outcome, hold, r["attempt"], e.get("attempt_ended", False), _granted(e.get("grant")))


def _granted(g: Any) -> Granted | None:
    if g is None:
        return None
    most = {
        "cpu_core_hour": g["cpus"],
        "memory_gib_hour": g["memory_mib"],
        "node_hour": g["nodes"],
        "accelerator_hour": g["accelerators"],
    }
    return Granted(most, g["max_seconds"])


def _span(s: Any) -> Span:
    held = (s["nodes"], s["cpus"], s["memory_mib"], s.get("accelerators", 0), s.get("accelerator"))
    return Span(second(s["start"]), second(s["end"]), *held)


def _price_list(p: Any) -> PriceList:
    tariffs = tuple(map(_tariff, p["tariffs"]))
    prices = {
        (t["name"], window, component): Fraction(price)
        for t in p["tariffs"]
        for window, own in _prices(t)
        for component, price in (t["prices"] | own).items()
    }
    tiers = {
        component: tuple((tier["above"], Fraction(tier["percent_off"])) for tier in own)
        for component, own in p.get("volume_discounts", {}).items()
    }
    created = _floor(datetime.fromisoformat(p["created_at"]))
    modes = tuple((second(one["starts_at"]), one["mode"]) for one in p.get("modes", ()))
    zone = p.get("zone", "Asia/Shanghai")
    return PriceList(p["revision"], p["offering"], tariffs, prices, zone, created, tiers, modes)


def _tariff(t: Any) -> Tariff:
    ends = None if t.get("ends_at") is None else second(t["ends_at"])
    minimum = fen_of(t.get("minimum_charge") or "0.00")
    return Tariff(t["name"], second(t["starts_at"]), ends, tuple(map(_window, t.get("windows", []))), minimum)


def _prices(t: Any) -> list[tuple[str, Any]]:
    """Of each part of a tariff, what it prices otherwise."""
    windows = t.get("windows")
    return [("flat", {}), *((w["name"], w["prices"]) for w in windows)] if windows else [("all", {})]


def _window(w: Any) -> Window:
    times = w.get("times", [{"starts": "00:00", "ends": "24:00"}])
    return Window(
        w["name"],
        frozenset(w.get("days", DAYS)),
        tuple((_minute(one["starts"]), _minute(one["ends"])) for one in times),
    )


def _minute(text: str) -> int:
    """HH:MM -> minutes since midnight."""
    hours, minutes = text.split(":")
    return 60 * int(hours) + int(minutes)


def _line(e: Any) -> Line:
    corrects, mode = e.get("corrects"), e["reason"] if e["bearer"] == "nobody" else "billed"
    facts = e | {"period": corrects or e["period"], "mode": mode, "attempt": e.get("attempt")}
    slot = Slot(*(facts[name] for name in Slot._fields))
    key = Key(slot, e["bearer"], e.get("reason"))
    price, amount = Fraction(e["unit_price"]), fen_of(e["amount"])
    return Line(key, e["period"], corrects, price, e["price_list_revision"], e["quantity"], amount)


@dataclass(frozen=True)
class Given:
    """The files of a folder, read."""

    rules: Rules
    stated: list[Usage]
    lines: list[Line]
    discounts: list[Discount]
    statements: list[Any] | None
    trial_balance: Any | None


def read(folder: Path) -> Given:
    export = _read(folder / "usage.json")
    periods = tuple(
        Period(p["id"], second(p["starts_at"]), second(p["ends_at"]), p["state"] == "closed")
        for p in _read(folder / "periods.json")
    )
    optional = (folder / "statements.json", folder / "trial_balance.json")
    statements, trial_balance = (_read(path) if path.exists() else None for path in optional)
    rules = Rules({p["id"]: _price_list(p) for p in export["price_lists"]}, periods)
    lines = _read(folder / "lines.json")
    return Given(
        rules=rules,
        stated=[_usage(e) for e in export["usage"]],
        lines=[_line(e) for e in lines if e.get("kind", "usage") == "usage"],
        discounts=[discount_of(e, rules) for e in lines if e.get("kind") == "volume_discount"],
        statements=statements,
        trial_balance=trial_balance,
    )


def check(folder: Path) -> Report:
    """All comparisons over the files in `folder`. Raises Unusable, OSError and ValueError for what can't be read."""
    try:
        return compare(read(folder))
    except KeyError as missing:
        raise Unusable(f"{missing} is referred to, or needed as a field, and not there") from missing


def compare(given: Given) -> Report:
    rules, report = given.rules, Report(checked=["lines"])
    in_force = newest(given.stated, report)
    for usage in in_force:
        offering = rules.lists[usage.price_list].offering
        report.expect("usage", (usage.run, "the price list's offering"), offering, usage.offering)
    quantities = recompute(in_force, rules)
    compare_lines(quantities, given.lines, rules, report)
    amounts = {key: rules.amount(key.slot, quantity) for key, quantity in quantities.items()}
    payable: Counter[str] = Counter()
    for key, amount in amounts.items():
        payable[key.slot.provider] += amount if key.bearer == "organization" else 0
    for provider, amount in compare_discounts(given.lines, given.discounts, rules, report).items():
        payable[provider] += amount
    due, fees = Counter(payable), None
    if given.statements is not None:
        report.checked.append("statements")
        billed = [*given.lines, *map(as_line, given.discounts)]
        compare_statements(given.statements, billed, rules, report)
        taken = compare_taxes(given.statements, billed, report)
        due.subtract(taken)
        fees = sum(taken.values())
    if given.trial_balance is not None:
        report.checked.append("trial balance")
        compare_trial_balance(given.trial_balance, due, fees, report)
    priced = _priced_jobs(in_force, rules)
    report.counts = {
        "usage_records": len(given.stated),
        "usage_records_in_force": len(in_force),
        "lines_found": len(given.lines),
        "adjustments": sum(line.corrects is not None for line in given.lines),
        "lines_compared": len({*quantities, *(line.key for line in given.lines)}),
        "lines_in_windows": sum(key.slot.window not in ("all", "flat") for key in quantities),
        "lines_in_flat_time": sum(key.slot.window == "flat" for key in quantities),
        "lines_of_nobody": sum(key.bearer == "nobody" for key in quantities),
        "lines_of_minimum_charges": sum(key.slot.component == "minimum_charge" for key in quantities),
        "lines_of_overrun": sum(key.reason == "overrun" for key in quantities),
        "lines_nonzero": sum(amount != 0 for amount in amounts.values()),
        "lines_on_half_a_fen": sum(rules.exact(key.slot, q).denominator == 2 for key, q in quantities.items()),
        "jobs_priced_after_the_start": sum(started < first for started, first in priced),
        "jobs_priced_in_a_later_hour": sum(started // HOUR < first // HOUR for started, first in priced),
    }
    report.nonzero_share = round(report.counts["lines_nonzero"] / max(1, report.counts["lines_compared"]), 4)
    report.totals = {
        "recomputed": _by_bearer(amounts.items()),
        "found": _by_bearer((line.key, line.amount) for line in given.lines),
        "payable": {provider: fen_text(fen) for provider, fen in sorted(payable.items())},
    }
    return report


def _priced_jobs(in_force: Iterable[Usage], rules: Rules) -> list[tuple[int, int]]:
    """Of each job whose price per job isn't zero: when the backend started the run that has it, and in which second it falls."""
    jobs: defaultdict[str, list[Usage]] = defaultdict(list)
    for usage in in_force:
        jobs[usage.job].append(usage)
    runs = {usage.run: usage for usage in in_force}
    found = [
        (first.second, runs[first.run]) for of_job in jobs.values() if (first := first_charged(of_job)) is not None
    ]
    return [
        (u.run_started, at)
        for at, u in found
        if rules.lists[u.price_list].prices.get((*rules.part_at(u.price_list, at), "job"))
    ]


def _by_bearer(amounts: Iterable[tuple[Key, int]]) -> dict[str, str]:
    """What the organizations bear, and what providers bear by reason."""
    totals: Counter[str] = Counter()
    for key, amount in amounts:
        totals[key.reason or key.bearer] += amount
    return {bearer: fen_text(fen) for bearer, fen in sorted(totals.items())}


def as_text(report: Report) -> str:
    rows = [(name.replace("_", " "), f"{count:,}") for name, count in report.counts.items()]
    rows.append(("share of lines that are not zero", f"{report.nonzero_share:.2%}"))
    rows += [(f"{side}: {who}", fen) for side, total in report.totals.items() for who, fen in total.items()]
    width = max(len(name) for name, _ in rows)
    text = ["Independent check of " + ", ".join(report.checked), ""]
    text += [f"  {name:<{width}}  {value:>16}" for name, value in rows] + [""]
    if not report.differences:
        return "\n".join([*text, "No difference, to the fen."])
    table = [Difference("kind", "where", "recomputed", "found"), *report.differences[:ROWS_SHOWN]]
    short = [Difference(*(re.sub(r"_[0-9a-f]{26}([0-9a-f]{6})", r"_..\1", cell) for cell in row)) for row in table]
    widths = [max(len(row[column]) for row in short) for column in range(3)]
    text.append(f"{len(report.differences):,} differences:")
    text += ["  " + "  ".join([*map(str.ljust, row[:3], widths), row.found]) for row in short]
    more = len(report.differences) - ROWS_SHOWN
    return "\n".join([*text, f"  and {more:,} more (--json has all of them)"] if more > 0 else text)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("folder", type=Path, help="where usage.json, periods.json and lines.json lie")
    parser.add_argument("--json", action="store_true", help="for machines")
    asked = parser.parse_args(arguments)
    try:
        report = check(asked.folder)
    except (Unusable, OSError, ValueError) as problem:
        print(f"unusable input: {problem}", file=sys.stderr)
        return 2
    if asked.json:
        differences = [d._asdict() for d in report.differences]
        found = asdict(report) | {"equal": not differences, "differences": differences}
        print(json.dumps(found, indent=2))
    else:
        print(as_text(report))
    return 1 if report.differences else 0


if __name__ == "__main__":
    sys.exit(main())
