"""Claims of the platform that are sums, beside what was computed: statements, funds, the ledger; contests and corrections."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from bench.city.independent.books import Note, Statement, funds, ledger, statements
from bench.city.independent.city import City
from bench.city.independent.previews import Preview
from bench.city.independent.reading import Unreadable, records, yuan
from bench.city.independent.report import Report, name

FUNDS = ("deposited", "credit", "charged", "held", "available")


def _section(counterparty: str, treatment: str, rate: int, gross: str, net: str, tax: str) -> str:
    return f"{counterparty} {treatment} {rate}: {gross} = {net} + {tax}"


def _statement(found: Statement, sells: bool) -> dict[str, Any]:
    """As claims have it."""
    fee = found.fee
    return {
        "party": found.party,
        "sections": sorted(
            _section(counterparty, *taxed, yuan(gross), yuan(gross - tax), yuan(tax))
            for (counterparty, taxed), (gross, tax) in found.sections.items()
        ),
        "gross": yuan(found.gross),
        "tax": yuan(found.tax),
        "net": yuan(found.gross - found.tax),
        "adjustments": yuan(found.adjustments),
        "borne_by_provider": yuan(found.borne_by_provider),
        "notional": yuan(found.notional),
        "line_count": found.line_count,
        "fee": fee
        and {
            "agreement": fee.agreement,
            "rate": fee.rate,
            "floor": yuan(fee.floor),
            "amount": yuan(fee.amount),
            "net": yuan(fee.amount - fee.tax),
            "tax": yuan(fee.tax),
            "tax_treatment": fee.taxed[0],
            "tax_rate": fee.taxed[1],
            "due": fee.due,
        },
        "payout": yuan(found.gross - (fee.amount if fee else 0)) if sells else None,
    }


def hold_statements(claims: Path, city: City, report: Report) -> None:
    """Each statement, with sections, fee and payout."""
    missing = statements(city.closing)
    for claim in records(claims / "statements.jsonl"):
        side = "buys" if claim["party"] == "organization" else "sells"
        place = side, claim["party_id"], city.months[claim["period"]]
        found = missing.pop(place, None)
        claim["sections"] = sorted(
            _section(
                section["counterparty"],
                section["treatment"],
                section["rate"] or 0,
                section["gross"],
                section["net"],
                section["tax"],
            )
            for section in claim["sections"]
        )
        words = f"{claim['party']} {claim['party_id']} {name(place[2])}"
        if found is None:
            report.hold("statement", words, claim["gross"], None)
        else:
            report.hold_some("statement", words, claim, _statement(found, side == "sells"))
    for (side, party, period), found in missing.items():
        report.hold("statement", f"{side} {party} {name(period)}", None, yuan(found.gross))


def hold_contests(claims: Path, city: City, report: Report) -> None:
    """Each contest: its run, how that had ended, and its state."""
    missing = dict(city.world.contests)
    for claim in records(claims / "contests.jsonl"):
        found = missing.pop(claim["id"], None)
        computed = found and {"run": found.run, "outcome": found.outcome, "state": found.state}
        claimed = {"run": claim["run"], "outcome": claim["outcome"], "state": claim["state"]}
        report.hold("contest", claim["id"], claimed, computed)
    for identity in missing:
        report.hold("contest", identity, None, "told")


def _preview(found: Preview) -> dict[str, Any]:
    shares = found.shares
    change = {organization: share.after - share.before for organization, share in shares.items()}
    before, after = (sum(getattr(share, side) for share in shares.values()) for side in ("before", "after"))
    return {
        "jobs": found.jobs,
        "lines": sum(share.lines for share in shares.values()),
        "before": yuan(before),
        "after": yuan(after),
        "difference": yuan(after - before),
        "paying_more": sum(amount > 0 for amount in change.values()),
        "more": yuan(sum(amount for amount in change.values() if amount > 0)),
        "paying_less": sum(amount < 0 for amount in change.values()),
        "less": yuan(-sum(amount for amount in change.values() if amount < 0)),
    } | {
        f"share of {organization}": [
            share.jobs,
            share.lines,
            yuan(share.before),
            yuan(share.after),
            yuan(change[organization]),
        ]
        for organization, share in shares.items()
    }


def hold_corrections(claims: Path, city: City, report: Report) -> None:
    """Each correction: its state and its preview."""
    approved = {correction.id for correction in city.world.corrections}
    missing = dict(city.previews)
    for claim in records(claims / "corrections.jsonl"):
        found = missing.pop(claim["id"], None)
        state = "applied" if claim["id"] in approved else "proposed"
        claimed = dict(claim["preview"])
        for share in claimed.pop("organizations"):
            part = [share["jobs"], share["lines"], share["before"], share["after"], share["difference"]]
            claimed[f"share of {share['organization']}"] = part
        report.hold("correction", claim["id"], claim["state"], state)
        report.hold("preview", claim["id"], claimed, found and _preview(found))
    for identity in missing:
        report.hold("correction", identity, None, "told")


def hold_funds(claims: Path, city: City, report: Report, notes: Iterable[Note]) -> None:
    """Funds of each organization, and the balance of each account."""
    rows = [*city.closing.rows, *city.open_rows]
    found = funds(city.closing, rows, notes)
    missing = dict(found)
    for claim in records(claims / "funds.jsonl"):
        of = missing.pop(claim["organization"], None)
        computed = {field: yuan(getattr(of, field) if of else 0) for field in FUNDS}
        report.hold_some("funds", claim["organization"], claim, computed)
    for organization, of in missing.items():
        if any(getattr(of, field) for field in FUNDS):
            report.hold("funds", organization, None, yuan(of.available))
    try:
        trial = json.loads((claims / "trial_balance.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise Unreadable(f"{claims / 'trial_balance.json'}: {error}") from error
    balances = ledger(city.closing, found, rows, notes)
    for account in trial["accounts"]:
        balance = yuan(balances.pop(account["account"], 0))
        report.hold("account", account["account"], account["balance"], balance)
    for left, fen_left in balances.items():
        report.hold("account", left, None, yuan(fen_left))
    report.hold("trial balance", "sum", trial["sum"], "0.00")
