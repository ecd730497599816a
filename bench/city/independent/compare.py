"""Claims of the platform beside what was computed (bench/city/README.md, `claims/`): periods, lines and credit notes."""

from collections import Counter
from fractions import Fraction
from pathlib import Path
from typing import Any

from bench.city.independent.books import Note
from bench.city.independent.city import City, replay
from bench.city.independent.compare_sums import hold_contests, hold_corrections, hold_funds, hold_statements
from bench.city.independent.lines import Key
from bench.city.independent.reading import Fact, fen, halves_away, records, seconds, yuan
from bench.city.independent.report import Report, money, name
from bench.city.independent.tax import Row
from bench.city.independent.windows import month, month_start


def compare(folder: Path) -> Report:
    """Compute a played city and hold the platform's claims to it."""
    claims = folder / "claims"
    report = Report()
    months = _periods(claims, report)
    city = replay(folder, months)
    for period, number in months.items():
        report.hold("period closed", name(number), _closed(claims)[period], number in city.closing.closed)
    lines = {fact["line"] for fact in city.world.credit_notes.values()}
    noted = _lines(claims, city, report, lines)
    notes = _credit_notes(claims, city, report, noted)
    hold_statements(claims, city, report)
    hold_contests(claims, city, report)
    hold_corrections(claims, city, report)
    hold_funds(claims, city, report, notes)
    return report


def _closed(claims: Path) -> dict[str, bool]:
    return {period["id"]: period["state"] == "closed" for period in records(claims / "periods.jsonl")}


def _periods(claims: Path, report: Report) -> dict[str, int]:
    """Which month each claimed period is."""
    months: dict[str, int] = {}
    for period in records(claims / "periods.jsonl"):
        start = seconds(period["starts_at"])
        number = months[period["id"]] = month(start)
        span = [start, seconds(period["ends_at"])]
        report.hold("period", name(number), span, [month_start(number), month_start(number + 1)])
    return months


def _key(claim: Fact, months: dict[str, int]) -> tuple[int, Key]:
    """In which period a claimed line stands, and its key."""
    period = months[claim["period"]]
    return period, Key(
        months[claim["corrects"]] if claim.get("corrects") else period,
        claim["organization"],
        claim.get("seller") or claim["provider"],
        claim["provider"],
        claim["project"],
        claim["job"],
        claim["component"],
        claim["accelerator"],
        claim["price_list"],
        claim["tariff"],
        claim["window"],
        claim["bearer"],
        claim.get("reason"),
        claim.get("attempt"),
    )


def _words(period: int, key: Key) -> str:
    corrects = f" corrects {name(key.month)}" if key.month != period else ""
    return f"{name(period)}{corrects} " + " ".join(str(part) for part in key[1:] if part is not None)


def _computed(row: Row) -> dict[str, Any]:
    taxed = row.taxed or (None, None)
    return {
        "quantity": row.quantity,
        "amount": yuan(row.amount),
        "basis": money(row.basis),
        "tax": money(row.tax),
        "tax_treatment": taxed[0],
        "tax_rate": taxed[1],
    }


def _claimed(claim: Fact) -> dict[str, Any]:
    treatment = claim.get("tax_treatment")
    return {
        "quantity": claim["quantity"],
        "amount": claim["amount"],
        "basis": claim.get("basis"),
        "tax": claim.get("tax"),
        "tax_treatment": treatment,
        "tax_rate": claim.get("tax_rate") or 0 if treatment else claim.get("tax_rate"),
    }


def _prices(city: City) -> dict[tuple[str, str, str], dict[str, Fraction]]:
    """Of each list's tariffs and windows, what they price."""
    rates = (
        rate
        for known in city.world.lists.values()
        for tariff in known.tariffs
        for rate in (tariff.flat, *(window.rate for window in tariff.windows))
    )
    return {(rate.price_list, rate.tariff, rate.window): rate.prices for rate in rates}


def _lines(claims: Path, city: City, report: Report, wanted: set[str]) -> dict[str, tuple[Key, Fact]]:
    """Hold each line; the claims in `wanted` come back, with their keys, for credit notes."""
    missing = {(row.period, row.key): row for row in (*city.closing.rows, *city.open_rows)}
    prices = _prices(city)
    found: dict[str, tuple[Key, Fact]] = {}
    for claim in records(claims / "lines.jsonl"):
        period, key = _key(claim, city.months)
        row = missing.pop((period, key), None)
        report.hold("line", _words(period, key), _claimed(claim), _computed(row) if row else None)
        if key.tariff is not None and key.component != "minimum_charge" and key.reason != "tracked":
            price = prices.get((key.price_list, key.tariff, str(key.window)), {}).get(key.component, Fraction(0))
            report.hold("unit price", _words(period, key), Fraction(claim["unit_price"]), price)
        if claim["id"] in wanted:
            found[claim["id"]] = key, claim
    for (period, key), row in missing.items():
        report.hold("line", _words(period, key), None, _computed(row))
    return found


def _credit_notes(claims: Path, city: City, report: Report, lines: dict[str, tuple[Key, Fact]]) -> list[Note]:
    """Tax of a note: what all notes of the line until it have by their share of the line's, less that of those before."""
    claimed = {claim["id"]: claim for claim in records(claims / "credit_notes.jsonl")}
    given: Counter[str] = Counter()
    notes = []
    for identity, body in city.world.credit_notes.items():
        if body["line"] not in lines:
            report.hold("credit note", identity, f"of {body['line']}", "no such line is claimed")
            continue
        key, line = lines[body["line"]]
        amount, whole = fen(body["amount"]), fen(line["amount"])
        tax = fen(line["tax"]) if line.get("tax") is not None else None
        before = given[body["line"]]
        given[body["line"]] = before + amount
        shares = [halves_away(tax * part, whole) for part in (before, before + amount)] if tax is not None else None
        notes.append(Note(key.organization, key.seller, amount))
        computed = {
            "statement": body["statement"],
            "line": body["line"],
            "amount": yuan(amount),
            "organization": key.organization,
            "provider": key.provider,
            "seller": key.seller,
            "period": line["period"],
            "tax": money(shares[1] - shares[0]) if shares else None,
        }
        report.hold_some("credit note", identity, claimed.pop(identity, None), computed)
    for identity, claim in claimed.items():
        report.hold("credit note", identity, claim["amount"], None)
    return notes
